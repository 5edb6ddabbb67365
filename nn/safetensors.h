// The safetensors format, read and written: 8 bytes header length, a JSON header, the tensors' bytes.
// Source: https://huggingface.co/docs/safetensors, section "Format". The project's own checkpoint format.
// Next: pth.h (PyTorch's formats), checkpoint_file.h (either).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/tensor_reader.h"

namespace asap::nn {

// F32, F64, I32 and U8 are read as they are; F16 and BF16 widen to f32; the other integers become i32 and BOOL u8.
// asap::Error naming, where there is one, the tensor: truncated; a header that is not the format's (limit 100 MB); bytes
// that overlap, leave a gap or do not fit the shape; and when it is read, a tensor that we cannot hold: other dtypes,
// integers beyond 32 bits. `bytes` must outlive the reader.
std::unique_ptr<TensorReader> open_safetensors(std::span<const uint8_t> bytes);

// True if the bytes start like a safetensors file (which may still turn out to be damaged).
bool looks_like_safetensors(std::span<const uint8_t> bytes);

// A tensor's elements under a dtype that the format knows.
struct RawTensor {
  std::string name, dtype;
  std::vector<int64_t> sizes;
  std::vector<uint8_t> bytes;
};

// Replaces the file whole or not at all (see file_io.h). Equal input gives equal bytes; tensors keep their order and may
// have any strides and device. asap::Error: a name or metadata that is not UTF-8, a tensor named __metadata__, an
// undefined tensor, and everything write_file throws.
void write_safetensors(const std::filesystem::path& path, const StateDict& tensors,
                       const std::map<std::string, std::string>& metadata = {});
void write_safetensors(const std::filesystem::path& path, const std::vector<RawTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace asap::nn
