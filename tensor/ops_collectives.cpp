// Checked collectives. Declared in ops.h; what reaches other ranks is registered by train/ranks/ and by the CUDA backend.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

void check(const char* op, const World& world, const Tensor& x) {
  ASAP_CHECK(world.size >= 1 && world.rank >= 0 && world.rank < world.size, op, ": expected a rank from 0 to ",
             world.size - 1, ", got ", world.rank);
  ASAP_CHECK(x.defined() && x.is_contiguous(), op, ": expected a contiguous tensor, got ",
             x.defined() ? str("strides ", x.strides()) : "an undefined one");
}

}  // namespace

void all_reduce(const World& world, DType wire, Tensor& x) {
  check("all_reduce", world, x);
  ASAP_CHECK(x.dtype() == DType::f32 || x.dtype() == DType::f64, "all_reduce: expected f32 or f64, got ", x.dtype());
  ASAP_CHECK(wire == x.dtype() || wire == DType::bf16, "all_reduce: expected ", x.dtype(), " or bf16 on the wire, got ", wire);
  x.check_writable("all_reduce");
  kernels::all_reduce.run(x.device(), world, wire, x);
  x.bump_version();
}

void broadcast(const World& world, Tensor& x) {
  check("broadcast", world, x);
  x.check_writable("broadcast");
  kernels::broadcast.run(x.device(), world, x);
  x.bump_version();
}

Tensor all_gather(const World& world, const Tensor& x) {
  check("all_gather", world, x);
  Shape shape{world.size};
  for (const int64_t size : x.shape()) shape.push_back(size);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  kernels::all_gather.run(x.device(), world, x, y);
  return y;
}

}  // namespace asap
