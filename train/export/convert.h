// Weights from one file to another: .pth to .safetensors, one network of a run or of a larger file as a file of its own, and
// weights of two bytes. Sits on nn/network_weights.h and generate.h.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "nn/file_dtype.h"
#include "train/infer/generate.h"
#include "train/run/architecture.h"

namespace asap::train {

struct ConvertOptions {
  std::optional<NetworkKind> network =
      {};  // that network alone, under its own names; of a folder the generator unless another is named
  std::optional<nn::FileDType> dtype = {};  // f32, f16 or bf16 for floating tensors, else as they are in the file
  Wishes wishes;                            // for a generator: what its file does not tell of its configuration
};

// Writes what `from`, a .pth or .safetensors file, a run's or a checkpoint's folder, holds as safetensors. Without network and
// dtype a file keeps its keys, dtypes, bytes and metadata. A network has its configuration in the metadata, so that generate
// takes a generator with no further options. With f16 and bf16, tensors of less than two dimensions become f32. What
// safetensors cannot hold is left out and named on standard error.
// asap::Error: `to` is there already or no NAME.safetensors; no such network; a number that float16 cannot hold.
void convert(const std::filesystem::path& from, const std::filesystem::path& to, const ConvertOptions& options);

// "f32", "f16" or "bf16"; asap::Error otherwise.
nn::FileDType parse_weight_dtype(const std::string& text);
inline constexpr const char* kWeightDTypeHelp =
    "weights' type in the file: f32, f16 or bf16; biases, norms and other vectors stay f32";
// What the tensors of a file of such weights are stored as.
inline nn::FileDType stored_as(nn::FileDType weights, size_t rank) { return rank >= 2 ? weights : nn::FileDType::f32; }

}  // namespace asap::train
