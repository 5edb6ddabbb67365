// Element types and devices: what a tensor's bytes mean and where they live.
// Next: shape.h, storage.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>

#include "tensor/bfloat16.h"
#include "tensor/error.h"

namespace asap {

// f32 is the working type; f64 is for gradient checks; i32 and u8 hold labels, indices and pictures; bf16 halves the memory of
// activations and weights: sums of bf16 numbers are carried in f32 or better and rounded once.
enum class DType : uint8_t { f32, f64, i32, u8, bf16 };

enum class Device : uint8_t { cpu, cuda };
inline constexpr int kDeviceCount = 2;

inline const char* name(DType dtype) {
  constexpr const char* names[] = {"f32", "f64", "i32", "u8", "bf16"};
  return names[static_cast<int>(dtype)];
}
inline const char* name(Device device) { return device == Device::cpu ? "cpu" : "cuda"; }
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }
inline std::ostream& operator<<(std::ostream& out, Device device) { return out << name(device); }

// Bytes of one element.
inline size_t size_of(DType dtype) {
  constexpr size_t sizes[] = {4, 8, 4, 1, 2};
  return sizes[static_cast<int>(dtype)];
}
inline bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::bf16; }
// What statistics and sums of such numbers are kept in.
inline DType sum_dtype(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <>
struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <>
struct DTypeOf<int32_t> { static constexpr DType value = DType::i32; };
template <>
struct DTypeOf<uint8_t> { static constexpr DType value = DType::u8; };
template <>
struct DTypeOf<asap::bf16> { static constexpr DType value = DType::bf16; };
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

// Calls f(T{}) with the C++ type behind a floating dtype. `op` names the caller in the error.
template <class F>
decltype(auto) dispatch_floating(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    default: fail(op, ": expected f32 or f64, got ", dtype);
  }
}

// Calls f(X{}, T{}): the C++ type behind a floating dtype, and the one to compute in, which for bf16 is float.
template <class F>
decltype(auto) dispatch_stored(DType dtype, const char* op, F&& f) {
  if (dtype == DType::bf16) return f(bf16{}, float{});
  return dispatch_floating(dtype, op, [&](auto x) { return f(x, x); });
}

// Calls f(T{}) with the C++ type behind any dtype.
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::i32: return f(int32_t{});
    case DType::u8: return f(uint8_t{});
    case DType::bf16: return f(bf16{});
  }
  fail("dispatch_all: unknown dtype ", static_cast<int>(dtype));
}

}  // namespace asap
