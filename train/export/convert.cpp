// Choosing tensors of a file and writing them. Declared in convert.h.
#include "train/export/convert.h"

#include <map>

#include "nn/file_io.h"
#include "nn/safetensors.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/run/built_in.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

const char* file_of(NetworkKind kind) {
  return kind == NetworkKind::generator       ? "G.safetensors"
         : kind == NetworkKind::discriminator ? "D.safetensors"
                                              : "E.safetensors";
}

// The tensors of one network, or all, and what is said beside them.
struct Source {
  fs::path path;
  std::map<size_t, std::string> names = {};  // of what is written, by its index in the file
  std::map<std::string, std::string> metadata = {};
};

nn::RawTensor as_stored(nn::TensorReader& contents, size_t i, const std::string& name,
                        std::optional<nn::FileDType> weights) {
  const nn::TensorInfo& info = contents.tensors()[i];
  const auto own = nn::file_dtype_of_torch(info.dtype);
  if (!weights || !own || !nn::is_readable(*own) || !is_floating(nn::tensor_dtype(*own)))
    return {name, info.safetensors_dtype, info.sizes, contents.raw(i)};
  const nn::FileDType stored = stored_as(*weights, info.sizes.size());
  const Tensor values = contents.read(i);
  return {name, nn::safetensors_name(stored), info.sizes,
          nn::with_prefix("tensor '" + nn::printable(name) + "'", [&] { return nn::pack_values(values, stored); })};
}

void write(nn::CheckpointFile& file, const Source& source, std::optional<nn::FileDType> weights, const fs::path& to) {
  nn::TensorReader& contents = file.contents();
  std::map<size_t, nn::RawTensor> tensors;  // in the file's order
  for (const size_t i : contents.reading_order()) {
    const auto name = source.names.find(i);
    if (name == source.names.end()) continue;
    if (const nn::TensorInfo& info = contents.tensors()[i]; info.safetensors_dtype.empty()) {
      warn(source.path.string() + ": left out tensor '" + nn::printable(info.name) + "': " + info.refusal);
      continue;
    }
    tensors[i] = nn::with_prefix(source.path.string(), [&] { return as_stored(contents, i, name->second, weights); });
  }
  std::vector<nn::RawTensor> in_order;
  for (auto& [i, tensor] : tensors) in_order.push_back(std::move(tensor));
  nn::write_safetensors(to, in_order, source.metadata);
}

void take_all(nn::CheckpointFile& file, Source& source) {
  const auto& tensors = file.contents().tensors();
  for (size_t i = 0; i < tensors.size(); ++i) source.names[i] = tensors[i].name;
  for (const std::string& value : file.contents().skipped()) warn(source.path.string() + ": left out " + value);
}

void take_network(nn::CheckpointFile& file, NetworkKind kind, Source& source) {
  ASAP_CHECK(nn::holds_network(file, signature(kind)), source.path.string(), ": there is no ", name(kind), " in it");
  const nn::NetworkWeights weights(file, signature(kind));
  say_notes(file, weights);
  for (size_t i = 0; i < weights.tensors().size(); ++i) source.names[weights.indices()[i]] = weights.tensors()[i].name;
  source.metadata["network"] = name(kind);
}

}  // namespace

nn::FileDType parse_weight_dtype(const std::string& text) {
  if (text == "f32") return nn::FileDType::f32;
  if (text == "f16") return nn::FileDType::f16;
  ASAP_CHECK(text == "bf16", "--dtype: expected f32, f16 or bf16, got '", text, "'");
  return nn::FileDType::bf16;
}

void convert(const fs::path& from, const fs::path& to, const ConvertOptions& options) {
  ASAP_CHECK(to.extension() == ".safetensors", "convert: the file to write must end in .safetensors, got ",
             to.string());
  ASAP_CHECK(!is_there(to), to.string(),
             " is there already; convert writes over no weights: choose another name, or remove it first");
  std::error_code ignored;
  const bool folder = fs::is_directory(from, ignored);
  const std::optional<NetworkKind> kind = folder && !options.network ? NetworkKind::generator : options.network;
  Source source{.path = from};
  std::string config;
  if (kind && (folder || kind == NetworkKind::generator)) {
    const WeightSource found = find_weights(from, options.wishes);
    for (const std::string& clause : found.assumed) warn("assumed " + clause);
    config = config_to_json(found.options.model);
    source.path = kind == NetworkKind::generator ? found.generator : found.generator.parent_path() / file_of(*kind);
    ASAP_CHECK(is_built_in(source.path) || is_there(source.path), from.string(), ": there is no ", name(*kind), " in it");
  }
  check_unchanged(source.path);
  nn::CheckpointFile file = open_weights(source.path);
  source.metadata = file.contents().metadata();
  source.metadata.try_emplace("format", "pt");
  if (!config.empty()) source.metadata["config"] = config;
  kind ? take_network(file, *kind, source) : take_all(file, source);
  write(file, source, options.dtype, to);
}

}  // namespace asap::train
