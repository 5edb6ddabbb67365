// Biases and scales beside what they belong to: f32 where that is bf16 (tensor/operands.h). Used by ops_*.cpp only.
#pragma once

#include "autograd/variable.h"
#include "tensor/operands.h"

namespace asap {

// y + p and y * p; p is sum_dtype(y.dtype()) and broadcasts to y's shape. p is rounded to y's dtype, its gradient is not.
Variable add_parameter(const char* op, const Variable& y, const Variable& p);
Variable mul_parameter(const char* op, const Variable& y, const Variable& p);

}  // namespace asap
