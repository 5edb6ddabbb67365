// A checkpoint file that is open: what it says about its tensors, then the values of those that are asked for. So one tensor
// that we cannot hold spoils neither a listing nor the others. Implemented by pth_tensors.cpp and safetensors.cpp.
// Next: checkpoint_file.h, which opens either format.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "nn/state_dict.h"

namespace asap::nn {

// What the file says about a tensor; nothing of it is checked but what a listing needs.
struct TensorInfo {
  std::string name;
  std::string dtype;              // PyTorch's name ("float32", "float8_e4m3fn"), or the file's for one that has none
  std::string safetensors_dtype;  // "F32"; "" for what safetensors cannot hold
  std::vector<int64_t> sizes;
  std::string refusal = {};  // why a Tensor cannot hold it: "dtype complex64 is not supported"; else empty
};

// "(2,3)".
std::string shape_text(std::span<const int64_t> sizes);
// The number of elements, or the largest int64 if there are more.
int64_t element_count(std::span<const int64_t> sizes);

class TensorReader {
 public:
  virtual ~TensorReader() = default;
  TensorReader() = default;
  TensorReader(const TensorReader&) = delete;
  TensorReader& operator=(const TensorReader&) = delete;

  // In the file's order.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // Indices into tensors() in an order that reads every part of the file once.
  const std::vector<size_t>& reading_order() const { return order_; }
  // Values beside the tensors of classes that we do not know, the first hundred: "'args': an object of argparse.Namespace".
  const std::vector<std::string>& skipped() const { return skipped_; }
  // Text beside the tensors; only safetensors has any.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // The values, contiguous, of the type that tensor_dtype (file_dtype.h) says. asap::Error naming the tensor: its
  // refusal; elements outside of the file; integers beyond 32 bits; a file that unfolds to far more than its size.
  Tensor read(size_t index);
  // Its elements as they are in the file, one after another. asap::Error as read, but for any dtype with a
  // safetensors_dtype.
  std::vector<uint8_t> raw(size_t index);
  // Several, in the order given.
  StateDict read(const std::vector<size_t>& indices);
  StateDict read_all();

 protected:
  virtual Tensor read_values(size_t index) = 0;
  virtual std::vector<uint8_t> read_raw(size_t index) = 0;

  std::vector<TensorInfo> tensors_;
  std::vector<size_t> order_;
  std::vector<std::string> skipped_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace asap::nn
