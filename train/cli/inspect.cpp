// Listing tensors and configurations. Declared in inspect.h.
#include "train/cli/inspect.h"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>

#include "nn/file_io.h"
#include "train/files/user_text.h"
#include "train/options/config_json.h"
#include "train/run/architecture.h"
#include "train/run/built_in.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

std::string with_commas(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto place = static_cast<int64_t>(digits.size()) - 3; place > 0; place -= 3)
    digits.insert(static_cast<size_t>(place), ",");
  return digits;
}

// Spectral norm's vectors are state, not parameters; either way PyTorch keeps them.
bool is_buffer(const std::string& key) {
  return key.ends_with(".weight_u") || key.ends_with(".weight_v") || key.ends_with("._u") || key.ends_with("._v");
}

// What keeps a tensor from being used; empty if nothing does.
std::string trouble_with(nn::TensorReader& contents, size_t index) {
  const std::string prefix = "tensor '" + nn::printable(contents.tensors()[index].name) + "': ";
  try {
    return nn::is_finite(contents.read(index)) ? "" : "holds NaN or infinity";
  } catch (const Error& e) {
    const std::string text = e.what();
    return "cannot be used: " + (text.starts_with(prefix) ? text.substr(prefix.size()) : text);
  }
}

void print_tensors(nn::TensorReader& contents, std::ostream& out) {
  const auto& tensors = contents.tensors();
  std::vector<std::string> trouble(tensors.size());
  for (const size_t i : contents.reading_order()) trouble[i] = trouble_with(contents, i);
  size_t widest = 0;
  for (const nn::TensorInfo& tensor : tensors) widest = std::max(widest, nn::printable(tensor.name).size());
  int64_t parameters = 0, buffers = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const nn::TensorInfo& tensor = tensors[i];
    out << "  " << std::left << std::setw(static_cast<int>(widest)) << nn::printable(tensor.name) << "  "
        << nn::printable(tensor.dtype) << "  " << nn::shape_text(tensor.sizes)
        << (trouble[i].empty() ? "" : "  " + trouble[i]) << "\n";
    int64_t& sum = is_buffer(tensor.name) ? buffers : parameters;
    sum += std::min(nn::element_count(tensor.sizes), std::numeric_limits<int64_t>::max() - sum);
  }
  out << tensors.size() << " tensors, " << with_commas(parameters) << " parameters";
  if (buffers > 0) out << " and " << with_commas(buffers) << " numbers of spectral-norm state";
  out << "\n";
  for (const std::string& value : contents.skipped()) out << "  not read: " << value << "\n";
}

void print_group(const asapnet::Config& config, std::initializer_list<OptionGroup> groups, std::ostream& out) {
  Options options{.model = config, .train = {}};
  for (const OptionField& field : option_fields(options)) {
    if (std::find(groups.begin(), groups.end(), field.group) != groups.end())
      out << "  " << field.key << " = " << terminal_safe(to_text(field)) << "\n";
  }
}

void print_generator_config(const nn::CheckpointFile& file, const Tensors& tensors, std::ostream& out) {
  Options options;
  std::vector<std::string> assumed;
  const auto config = file.contents().metadata().find("config");
  const bool is_stored = config != file.contents().metadata().end();
  if (is_stored) {
    options_from_json(config->second, file.path().string() + " (metadata)", options);
  } else {
    InferredConfig inferred = infer_generator(tensors, file.path().string(), [](asapnet::Config&) {});
    options.model = inferred.config;
    assumed = inferred.assumed;
  }
  out << "configuration, from " << (is_stored ? "the file's metadata" : "names and shapes") << ":\n";
  print_group(options.model, {OptionGroup::input, OptionGroup::generator}, out);
  for (const std::string& clause : assumed) out << "  assumed: " << clause << "\n";
}

void print_discriminator_config(const Tensors& tensors, std::ostream& out) {
  std::string note;
  const asapnet::Config config = infer_discriminator(tensors, note);
  out << "configuration, from names and shapes:\n";
  print_group(config, {OptionGroup::discriminator}, out);
  out << "  input: " << config.label_nc + config.output_nc << " channels (labels, instance channel, picture)\n";
  if (!note.empty()) out << "  " << note << "\n";
}

// A listing is of use without a configuration too.
void print_network(nn::CheckpointFile& file, NetworkKind kind, std::ostream& out) {
  try {
    const nn::NetworkWeights weights(file, signature(kind));
    for (const std::string& note : weights.notes()) out << name(kind) << ": " << note << "\n";
    if (kind == NetworkKind::generator) print_generator_config(file, weights.tensors(), out);
    if (kind == NetworkKind::discriminator) print_discriminator_config(weights.tensors(), out);
  } catch (const Error& e) {
    out << "no configuration: " << terminal_safe_message(e.what()) << "\n";
  }
}

// Of a run's folder, or the folder itself.
fs::path checkpoint_in(const fs::path& folder) {
  const fs::path checkpoint = fs::exists(folder / "checkpoints") ? latest_checkpoint(folder) : folder;
  ASAP_CHECK(!checkpoint.empty() && fs::exists(checkpoint / "G.safetensors"), folder.string(),
             ": expected a weight file, a run folder with a checkpoint or a checkpoint folder, found none of them");
  return checkpoint;
}

void inspect_file(const fs::path& path, std::ostream& out) {
  check_unchanged(path);
  nn::CheckpointFile file = open_weights(path);
  const std::vector<NetworkKind> kinds = network_kinds(file);
  std::string networks;
  for (NetworkKind kind : kinds) networks += (networks.empty() ? "" : ", ") + std::string(name(kind));
  out << terminal_safe(path.string()) << ": " << file.format() << ", " << with_commas(static_cast<int64_t>(file.bytes()))
      << " bytes, network: " << (networks.empty() ? "unknown" : networks) << "\n";
  print_tensors(file.contents(), out);
  for (NetworkKind kind : kinds) print_network(file, kind, out);
}

}  // namespace

void inspect(const fs::path& path, std::ostream& out) {
  ASAP_CHECK(is_built_in(path) || fs::exists(path), path.string(), ": there is no such file or folder");
  if (!fs::is_directory(path)) return inspect_file(path, out);
  const fs::path checkpoint = checkpoint_in(path);
  for (const char* file : {"G_ema.safetensors", "G.safetensors", "D.safetensors", "E.safetensors"}) {
    if (fs::exists(checkpoint / file)) inspect_file(checkpoint / file, out);
  }
}

}  // namespace asap::train
