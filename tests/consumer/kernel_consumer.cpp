// Links asap::bench (and through it asap::testing): adds a kernel in the program itself, compares it with the definition on the table of
// op cases, and times it beside the built-in ones.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "bench/kit/shape_rows.h"
#include "bench/verified_row.h"
#include "tests/check_kernels.h"

using namespace asap;

static void my_relu(UnaryOp, const Tensor& x, const UnaryParams&, Tensor& y) {
  for (int64_t i = 0; i < x.numel(); ++i) y.data<float>()[i] = std::max(x.data<float>()[i], 0.f);
}
static bool takes(UnaryOp op, const Tensor& x, const UnaryParams&, const Tensor&) {
  return op == UnaryOp::relu && x.dtype() == DType::f32;
}

int main() {
  kernels::unary.add(Device::cpu, "mine", my_relu, takes);
  int compared = 0;
  for (const tests::KernelCheck& check : tests::kernel_checks(kernels::unary, {"mine"}, Device::cpu)) {
    const tests::CheckResult result = tests::run_check(check);
    compared += result.ran;
    if (!result.passed()) return std::printf("%s\n", result.text(check).c_str()), 1;
  }
  tests::OpCase row = bench::row_of_shape(kernels::unary, "n=100000");
  row.run = [](const std::vector<Variable>& in) { return relu(in[0]); };
  bench::VerifiedRow verified(row, Device::cpu, DType::f32);
  for (const std::string& variant : kernels::unary.variants(Device::cpu)) {
    const std::string verdict = verified.verify(kernels::unary, variant);
    const ForcedVariant forced(kernels::unary, variant);
    const auto start = std::chrono::steady_clock::now();
    row.run(verified.inputs());
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    std::printf("%-12s %-10s %.3f ms\n", variant.c_str(), verdict.c_str(), time.count());
  }
  return compared > 0 ? 0 : 1;
}
