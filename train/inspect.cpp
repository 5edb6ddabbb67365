// inspect and convert. Declared in inspect.h.
#include "train/inspect.h"

#include <algorithm>
#include <iomanip>

#include "nn/checkpoint_file.h"
#include "nn/file_io.h"
#include "nn/safetensors.h"
#include "train/architecture.h"
#include "train/checkpoint.h"
#include "train/config_json.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

struct WeightFile {
  nn::StateDict tensors;
  std::string format;
  std::string config;  // JSON, from the metadata
};

WeightFile read_weight_file(const fs::path& file) {
  check_unchanged(file);
  const auto bytes = nn::read_file(file);
  if (!nn::looks_like_safetensors(bytes)) return {nn::read_state_dict(file), "PyTorch .pth", ""};
  return nn::with_prefix(file.string(), [&] {
    nn::SafetensorsFile read = nn::parse_safetensors(bytes);
    return WeightFile{std::move(read.tensors), "safetensors",
                      read.metadata.contains("config") ? read.metadata.at("config") : ""};
  });
}

std::string with_commas(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto place = static_cast<int64_t>(digits.size()) - 3; place > 0; place -= 3)
    digits.insert(static_cast<size_t>(place), ",");
  return digits;
}

// Spectral norm's vectors are state, not parameters.
bool is_buffer(const std::string& key) { return key.ends_with(".weight_u") || key.ends_with(".weight_v"); }

void print_tensors(const nn::StateDict& tensors, std::ostream& out) {
  size_t widest = 0;
  for (const auto& [key, tensor] : tensors) widest = std::max(widest, key.size());
  int64_t parameters = 0, buffers = 0;
  for (const auto& [key, tensor] : tensors) {
    out << "  " << std::left << std::setw(static_cast<int>(widest)) << nn::printable(key) << "  " << tensor.dtype()
        << "  " << tensor.shape() << "\n";
    (is_buffer(key) ? buffers : parameters) += tensor.numel();
  }
  out << tensors.size() << " tensors, " << with_commas(parameters) << " parameters";
  if (buffers > 0) out << " and " << with_commas(buffers) << " numbers of spectral-norm state";
  out << "\n";
}

void print_group(const asapnet::Config& config, std::initializer_list<OptionGroup> groups, std::ostream& out) {
  Options options{.model = config, .train = {}};
  for (const OptionField& field : option_fields(options)) {
    if (std::find(groups.begin(), groups.end(), field.group) != groups.end())
      out << "  " << field.key << " = " << to_text(field) << "\n";
  }
}

void print_generator_config(const fs::path& file, const WeightFile& read, std::ostream& out) {
  Options options;
  std::vector<std::string> assumed;
  if (!read.config.empty()) {
    options_from_json(read.config, file.string() + " (metadata)", options);
    out << "configuration, from the file's metadata:\n";
  } else {
    InferredConfig inferred = infer_generator(read.tensors, file.string(), [](asapnet::Config&) {});
    options.model = inferred.config;
    assumed = inferred.assumed;
    out << "configuration, from names and shapes:\n";
  }
  print_group(options.model, {OptionGroup::input, OptionGroup::generator}, out);
  for (const std::string& clause : assumed) out << "  assumed: " << clause << "\n";
}

void print_discriminator_config(const nn::StateDict& tensors, std::ostream& out) {
  const asapnet::Config config = infer_discriminator(tensors);
  out << "configuration, from names and shapes:\n";
  print_group(config, {OptionGroup::discriminator}, out);
  out << "  input: " << config.label_nc + config.output_nc << " channels (labels, instance channel, picture)\n";
}

void inspect_file(const fs::path& file, std::ostream& out) {
  const WeightFile read = read_weight_file(file);
  const NetworkKind kind = network_kind(read.tensors);
  out << file.string() << ": " << read.format << ", " << with_commas(static_cast<int64_t>(fs::file_size(file)))
      << " bytes, network: " << name(kind) << "\n";
  print_tensors(read.tensors, out);
  if (kind == NetworkKind::generator) print_generator_config(file, read, out);
  if (kind == NetworkKind::discriminator) print_discriminator_config(read.tensors, out);
}

}  // namespace

void inspect(const fs::path& path, std::ostream& out) {
  ASAP_CHECK(fs::exists(path), path.string(), ": there is no such file or folder");
  if (!fs::is_directory(path)) return inspect_file(path, out);
  const bool is_run = fs::exists(path / "checkpoints");
  const fs::path checkpoint = is_run ? latest_checkpoint(path) : path;
  ASAP_CHECK(!checkpoint.empty() && fs::exists(checkpoint / "G.safetensors"), path.string(),
             ": expected a weight file, a run folder with a checkpoint or a checkpoint folder, found none of them");
  for (const char* file : {"G.safetensors", "D.safetensors", "E.safetensors"}) {
    if (fs::exists(checkpoint / file)) inspect_file(checkpoint / file, out);
  }
}

void convert(const fs::path& from, const fs::path& to) {
  ASAP_CHECK(to.extension() == ".safetensors", "convert: the file to write must end in .safetensors, came ",
             to.string());
  const WeightFile read = read_weight_file(from);
  std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (!read.config.empty()) metadata["config"] = read.config;
  nn::write_safetensors(to, read.tensors, metadata);
}

}  // namespace asap::train
