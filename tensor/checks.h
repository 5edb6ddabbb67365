// Argument checks that the ops_*.cpp files share. Each throws asap::Error that begins with the op's name.
// Used by ops_*.cpp only.
#pragma once

#include "tensor/tensor.h"

namespace asap::checks {

inline void is_floating(const char* op, const char* what, const Tensor& x) {
  ASAP_CHECK(x.defined(), op, ": expected a tensor for ", what, ", got an undefined one");
  ASAP_CHECK(asap::is_floating(x.dtype()), op, ": expected ", what, " to be f32, f64 or bf16, got ", x.dtype());
}

inline void one_device(const char* op, const Tensor& a, const Tensor& b) {
  ASAP_CHECK(a.device() == b.device(), op, ": expected both on one device, got ", a.device(), " and ", b.device(),
             "; move one with to(Device)");
}

// b may share a kernel call with a: both defined, one device, one dtype.
inline void alike(const char* op, const Tensor& a, const Tensor& b) {
  ASAP_CHECK(a.defined() && b.defined(), op, ": expected tensors, got an undefined one");
  one_device(op, a, b);
  ASAP_CHECK(a.dtype() == b.dtype(), op, ": expected equal dtypes, got ", a.dtype(), " and ", b.dtype());
}

inline void has_rank(const char* op, const char* what, const Shape& x, int rank) {
  ASAP_CHECK(x.rank() == rank, op, ": expected ", what, " of ", rank, " dimensions, got shape ", x);
}

// Class numbers [N,H,W].
inline void is_labels(const char* op, const Tensor& labels) {
  ASAP_CHECK(labels.defined() && (labels.dtype() == DType::i32 || labels.dtype() == DType::u8), op,
             ": expected i32 or u8 labels, got ", labels.defined() ? name(labels.dtype()) : "an undefined tensor");
  has_rank(op, "labels", labels.shape(), 3);
}

inline void has_shape(const char* op, const char* what, const Tensor& x, const Shape& expected) {
  ASAP_CHECK(x.shape() == expected, op, ": expected ", what, " of shape ", expected, ", got ", x.shape());
}

}  // namespace asap::checks
