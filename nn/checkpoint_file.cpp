// Chooses the reader of a checkpoint. Declared in checkpoint_file.h.
#include "nn/checkpoint_file.h"

#include <algorithm>
#include <cmath>

#include "nn/file_io.h"
#include "nn/pth.h"
#include "nn/safetensors.h"

namespace asap::nn {
namespace {

template <class T>
bool all_finite(const Tensor& x) {
  const T* data = x.data<T>();
  return std::all_of(data, data + x.numel(), [](T value) { return std::isfinite(value); });
}

}  // namespace

CheckpointFile::CheckpointFile(const std::filesystem::path& path) : path_(path), file_(path), bytes_(file_->bytes()) { open(); }

CheckpointFile::CheckpointFile(std::span<const uint8_t> bytes, const std::string& name) : path_(name), bytes_(bytes) { open(); }

void CheckpointFile::open() {
  is_pth_ = looks_like_pth(bytes_);
  with_prefix(path_.string(), [&] {
    ASAP_CHECK(is_pth_ || looks_like_safetensors(bytes_), "not a checkpoint (expected safetensors or PyTorch .pth",
               bytes_.empty() ? ", the file is empty)" : ")");
    reader_ = is_pth_ ? open_pth(bytes_) : open_safetensors(bytes_);
  });
}

StateDict read_state_dict(const std::filesystem::path& path) {
  CheckpointFile file(path);
  return with_prefix(path.string(), [&] { return file.contents().read_all(); });
}

bool is_finite(const Tensor& x) {
  if (x.dtype() == DType::f32) return all_finite<float>(x.contiguous());
  if (x.dtype() == DType::f64) return all_finite<double>(x.contiguous());
  return true;
}

void check_finite(const Tensor& tensor, const std::string& name, const std::string& source) {
  ASAP_CHECK(is_finite(tensor), source, ": tensor '", printable(name),
             "' holds NaN or infinity; such weights can only give more of them");
}

void check_finite(const StateDict& state, const std::string& source) {
  for (const auto& [name, tensor] : state) check_finite(tensor, name, source);
}

}  // namespace asap::nn
