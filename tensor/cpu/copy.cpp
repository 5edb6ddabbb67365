// fill and copy: any strides, any pair of dtypes. Next: elementwise.cpp.
#include <cstring>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

void fill_naive(double value, Tensor& y) {
  dispatch_all(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* to = y.data<T>();
    for (int64_t i = 0; i < y.numel(); ++i) to[offset_of(i, y.shape(), y.strides())] = static_cast<T>(value);
  });
}

void copy_naive(const Tensor& x, Tensor& y) {
  dispatch_all(x.dtype(), [&](auto from_tag) {
    dispatch_all(y.dtype(), [&](auto to_tag) {
      using From = decltype(from_tag);
      using To = decltype(to_tag);
      const From* from = x.data<From>();
      To* to = y.data<To>();
      for (int64_t i = 0; i < x.numel(); ++i) {
        to[offset_of(i, y.shape(), y.strides())] = static_cast<To>(from[offset_of(i, x.shape(), x.strides())]);
      }
    });
  });
}

}  // namespace

void register_copy() {
  kernels::fill.add(Device::cpu, "naive", fill_naive);
  kernels::copy.add(Device::cpu, "naive", copy_naive);
}

}  // namespace asap::cpu
