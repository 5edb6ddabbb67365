// What definitions are written on: tensors as views that know their element type and strides, so that one definition takes
// f64, f32, bf16 and integers in any layout, on the CPU and in a kernel of a card. Every number is read as f64 and rounded
// once, where it is stored. Next: conv2d.h beside this file for a definition, definitions.h for how they become kernels.
#pragma once

#include <type_traits>

#include "tensor/tensor.h"

#if defined(__CUDACC__)
#define ASAP_HOST_DEVICE __host__ __device__
#else
#define ASAP_HOST_DEVICE
#endif

namespace asap::definitions {

// One index for each dimension; those behind the rank are not looked at.
struct Position {
  int64_t index[Shape::kMaxRank];
  ASAP_HOST_DEVICE int64_t operator[](int d) const { return index[d]; }
};

// By value: a kernel of a card takes it as it is. An undefined tensor gives an undefined view.
class View {
 public:
  View() = default;
  View(const Tensor& x) {
    if (!x.defined()) return;
    data_ = x.raw();
    dtype_ = x.dtype();
    rank_ = x.rank();
    row_major_ = x.is_contiguous();
    for (int d = 0; d < rank_; ++d) size_[d] = x.size(d), stride_[d] = x.strides()[d];
  }

  ASAP_HOST_DEVICE bool defined() const { return data_ != nullptr; }
  ASAP_HOST_DEVICE DType dtype() const { return dtype_; }
  ASAP_HOST_DEVICE int rank() const { return rank_; }
  ASAP_HOST_DEVICE int64_t size(int d) const { return size_[d]; }
  ASAP_HOST_DEVICE int64_t numel() const {
    int64_t count = 1;
    for (int d = 0; d < rank_; ++d) count *= size_[d];
    return count;
  }

  // Element number i in row-major order, whatever lies where.
  ASAP_HOST_DEVICE Position position(int64_t i) const {
    Position p = {};
    for (int d = rank_ - 1; d > 0; --d) {
      p.index[d] = i % size_[d];
      i /= size_[d];
    }
    p.index[0] = i;
    return p;
  }

  // x(n, c, h, w): the element, one index for each dimension.
  template <class... Index>
  ASAP_HOST_DEVICE double operator()(int64_t first, Index... rest) const {
    return load(offset(first, rest...));
  }
  ASAP_HOST_DEVICE double operator()(const Position& p) const { return load(offset(p)); }
  // x[i]: element number i in row-major order.
  ASAP_HOST_DEVICE double operator[](int64_t i) const { return load(offset_of(i)); }

  ASAP_HOST_DEVICE void set(const Position& p, double value) const { store(offset(p), value); }
  ASAP_HOST_DEVICE void set(int64_t i, double value) const { store(offset_of(i), value); }

 private:
  ASAP_HOST_DEVICE int64_t offset(const Position& p) const {
    int64_t at = 0;
    for (int d = 0; d < rank_; ++d) at += p.index[d] * stride_[d];
    return at;
  }
  template <class... Index>
  ASAP_HOST_DEVICE int64_t offset(int64_t first, Index... rest) const {
    int64_t at = first * stride_[0];
    int d = 0;
    ((at += static_cast<int64_t>(rest) * stride_[++d]), ...);
    return at;
  }
  ASAP_HOST_DEVICE int64_t offset_of(int64_t i) const { return row_major_ ? i : offset(position(i)); }
  template <class T>
  ASAP_HOST_DEVICE T* as() const {
    return static_cast<T*>(data_);
  }
  // Branches, not a switch: a table of jumps costs a loop over one tensor more than branches that it always takes alike.
  ASAP_HOST_DEVICE double load(int64_t at) const {
    if (dtype_ == DType::f32) return static_cast<double>(as<float>()[at]);
    if (dtype_ == DType::f64) return as<double>()[at];
    if (dtype_ == DType::bf16) return static_cast<double>(static_cast<float>(as<bf16>()[at]));
    return dtype_ == DType::i32 ? static_cast<double>(as<int32_t>()[at]) : static_cast<double>(as<uint8_t>()[at]);
  }
  ASAP_HOST_DEVICE void store(int64_t at, double value) const {
    switch (dtype_) {
      case DType::f32: as<float>()[at] = static_cast<float>(value); break;
      case DType::f64: as<double>()[at] = value; break;
      case DType::i32: as<int32_t>()[at] = static_cast<int32_t>(value); break;
      case DType::u8: as<uint8_t>()[at] = static_cast<uint8_t>(static_cast<int64_t>(value)); break;  // of an i32: modulo 256
      case DType::bf16: as<bf16>()[at] = bf16(static_cast<float>(value)); break;
    }
  }

  void* data_ = nullptr;
  DType dtype_ = DType::f32;
  bool row_major_ = false;
  int rank_ = 0;
  int64_t size_[Shape::kMaxRank] = {}, stride_[Shape::kMaxRank] = {};
};

// f of an element of y: by its position, or by its number in row-major order.
template <class F>
ASAP_HOST_DEVICE void set_element(const View& y, int64_t i, const F& f) {
  if constexpr (std::is_invocable_v<const F&, int64_t>) {
    y.set(i, f(i));
  } else {
    const Position p = y.position(i);
    y.set(p, f(p));
  }
}

// Whether a maximum moves on to `value`. NaN counts as the largest value.
template <class T>
ASAP_HOST_DEVICE inline bool is_better(T value, T largest) {
  return value > largest || (value != value && largest == largest);
}

// What a layer does to a value where it is stored: LeakyReLU; slope 1 none, 0 ReLU. NaN stays NaN.
ASAP_HOST_DEVICE inline double activate(double v, double slope) { return v > 0 ? v : slope * v; }

}  // namespace asap::definitions
