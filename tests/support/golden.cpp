// Reading golden files. Declared in golden.h.
#include "tests/support/golden.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "nn/checkpoint_file.h"
#include "tests/support/skip.h"

namespace asap::tests {

Golden::Golden(const std::string& name) : name_(name) {
  nn::CheckpointFile file(source_folder() + "/tests/golden/" + name + ".safetensors");
  tensors_ = file.contents().read_all();
  metadata_ = file.contents().metadata();
}

const Tensor& Golden::at(const std::string& key) const {
  const Tensor* found = tensors_.find(key);
  ASAP_CHECK(found, "golden ", name_, ": no tensor ", key);
  return *found;
}

const std::string& Golden::meta(const std::string& key) const {
  const auto found = metadata_.find(key);
  ASAP_CHECK(found != metadata_.end(), "golden ", name_, ": no metadata ", key);
  return found->second;
}

double Golden::meta_number(const std::string& key) const { return std::stod(meta(key)); }

double Golden::meta_number(const std::string& key, const std::string& item) const {
  const std::string& text = meta(key);
  const size_t start = text.find("'" + item + "': ");
  ASAP_CHECK(start != std::string::npos, "golden ", name_, ": ", key, " has no ", item);
  return std::stod(text.substr(start + item.size() + 4));
}

nn::StateDict Golden::with_prefix(const std::string& prefix) const {
  nn::StateDict found;
  for (const auto& [key, tensor] : tensors_) {
    if (key.starts_with(prefix)) found.set(key.substr(prefix.size()), tensor);
  }
  ASAP_CHECK(!found.empty(), "golden ", name_, ": no tensors ", prefix, "*");
  return found;
}

asapnet::Config Golden::config() const {
  auto number = [&](const char* key) { return static_cast<int64_t>(meta_number(key)); };
  auto flag = [&](const char* key) { return meta(key) == "True"; };
  asapnet::Config config;
  config.label_nc = number("label_nc");
  config.crop_size = number("crop_size");
  config.aspect_ratio = meta_number("aspect_ratio");
  config.output_nc = number("output_nc");
  config.learned_ds_factor = number("learned_ds_factor");
  config.lr_width = number("lr_width");
  config.lr_max_width = number("lr_max_width");
  config.lr_depth = number("lr_depth");
  config.hr_width = number("hr_width");
  config.hr_depth = number("hr_depth");
  config.reflection_pad = flag("reflection_pad");
  config.replicate_pad = flag("replicate_pad");
  config.lr_instance = flag("lr_instance");
  config.no_instance_edge = flag("no_instance_edge");
  config.norm_D = meta("norm_D");
  config.num_D = number("num_D");
  config.n_layers_D = number("n_layers_D");
  config.ndf = number("ndf");
  config.ndf_max = number("ndf_max");
  return config;
}

double golden_difference(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
  const auto va = a.to(DType::f64).to_vector<double>(), vb = b.to(DType::f64).to_vector<double>();
  double worst = 0, largest = 0;
  for (size_t i = 0; i < va.size(); ++i) {
    const double difference = std::abs(va[i] - vb[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    largest = std::max(largest, std::abs(vb[i]));
  }
  return worst == 0 ? 0 : worst / largest;
}

}  // namespace asap::tests
