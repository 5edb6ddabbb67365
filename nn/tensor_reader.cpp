// What both formats share. Declared in tensor_reader.h.
#include "nn/tensor_reader.h"

#include <limits>
#include <numeric>

#include "nn/file_io.h"

namespace asap::nn {

std::string shape_text(std::span<const int64_t> sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i == 0 ? "" : ",") + std::to_string(sizes[i]);
  return text + ")";
}

int64_t element_count(std::span<const int64_t> sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) {
    if (size == 0) return 0;
    if (__builtin_mul_overflow(count, size, &count)) count = std::numeric_limits<int64_t>::max();
  }
  return count;
}

Tensor TensorReader::read(size_t index) {
  const TensorInfo& info = tensors_.at(index);
  return with_prefix("tensor '" + printable(info.name) + "'", [&] {
    ASAP_CHECK(info.refusal.empty(), info.refusal);
    return read_values(index);
  });
}

std::vector<uint8_t> TensorReader::raw(size_t index) {
  const TensorInfo& info = tensors_.at(index);
  return with_prefix("tensor '" + printable(info.name) + "'", [&] {
    ASAP_CHECK(!info.safetensors_dtype.empty(), "dtype ", printable(info.dtype), " has no place in safetensors");
    return read_raw(index);
  });
}

StateDict TensorReader::read(const std::vector<size_t>& indices) {
  std::vector<Tensor> values(tensors_.size());
  std::vector<bool> wanted(tensors_.size(), false);
  for (const size_t index : indices) wanted.at(index) = true;
  for (const size_t index : order_) {
    if (wanted[index]) values[index] = read(index);
  }
  StateDict state;
  for (const size_t index : indices) state.set(tensors_[index].name, values[index]);
  return state;
}

StateDict TensorReader::read_all() {
  std::vector<size_t> all(tensors_.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return read(all);
}

}  // namespace asap::nn
