// Scratch memory of the kernels.
#pragma once

#include "tensor/tensor.h"

namespace asap::cpu {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Uninitialised scratch from the caching allocator, 64-byte aligned; lives as long as the object.
template <class T>
class Workspace {
 public:
  explicit Workspace(int64_t count) : memory_(Tensor::empty({count}, dtype_of<T>)), data_(memory_.data<T>()) {}
  T* data() const { return data_; }

 private:
  Tensor memory_;
  T* data_;
};

}  // namespace asap::cpu
