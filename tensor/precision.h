// Precision: how exactly the products inside matrix products and convolutions of f32 tensors are computed. float32 means
// float32 unless a caller asks for less, for the life of a ScopedPrecision on this thread:
//   tf32   operands rounded to 10 bits of significand, sums in f32 (about 3e-4 of the result)
//   bf16   operands rounded to 7 bits of significand, sums in f32 (about 3e-3 of the result)
// A less exact precision is a permission: a device without a fitting variant computes more exactly. With bf16, the model also
// keeps activations in bf16, but for a card's training (activation_dtype in asapnet/lowres_stream.h).
// Variants that round their operands end in _tf32 or _bf16 and take nothing unless the precision allows it.
#pragma once

#include <string>

#include "tensor/scoped.h"

namespace asap {

enum class Precision { f32, tf32, bf16 };

const char* name(Precision precision);
Precision parse_precision(const std::string& text);  // throws naming the three

// The precision of the running thread.
inline constinit thread_local Precision precision_of_thread = Precision::f32;
inline Precision current_precision() { return precision_of_thread; }
// Whether products may be computed as `wanted`: the current precision is `wanted` or less exact.
inline bool precision_allows(Precision wanted) { return current_precision() >= wanted; }

struct ScopedPrecision : Scoped<Precision> {
  explicit ScopedPrecision(Precision precision) : Scoped(precision_of_thread, precision) {}
};

}  // namespace asap
