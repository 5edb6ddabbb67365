// The tensor handle and the ops on hand-computed numbers: views, strided copies, dtypes, memory, versions, error texts,
// choice of kernel variants. test_op_cases.cpp compares variants; test_op_goldens.cpp compares with PyTorch.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>

#include "tensor/backend.h"
#include "tensor/cpu/isa.h"
#include "tensor/ops.h"
#include "tensor/threads.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using tests::error_of;

namespace {

const float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

void unpool_nothing(const Tensor&, const Tensor&, const Pool2dParams&, Tensor&) {}

// Before a slot is used, as a program does it that brings variants of its own; ASAP_KERNEL names one of them.
const bool registered_early = [] {
  const char* given = std::getenv("ASAP_KERNEL");
  setenv("ASAP_KERNEL", str(given ? given : "", given ? "," : "", "max_pool2d_backward=early").c_str(), 1);
  register_also([] { kernels::max_pool2d_backward.add(Device::cpu, "early", unpool_nothing); });
  return true;
}();

// 0, 1, 2, ... in the shape given.
Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Tensor::from(values, shape);
}

using Floats = std::vector<float>;
Floats floats(const Tensor& x) { return x.to_vector<float>(); }

}  // namespace

TEST_CASE("views share memory and show the right elements") {
  tests::ran();
  Tensor x = counting({2, 3, 4});
  CHECK(x.is_contiguous());
  CHECK(x.strides() == Shape{12, 4, 1});

  const Tensor t = x.transpose(0, 2);
  CHECK(t.shape() == Shape{4, 3, 2});
  CHECK(t.shares_storage(x));
  CHECK_FALSE(t.is_contiguous());
  CHECK(floats(t) == Floats{0, 12, 4, 16, 8, 20, 1, 13, 5, 17, 9, 21, 2, 14, 6, 18, 10, 22, 3, 15, 7, 19, 11, 23});

  CHECK(floats(x.permute({1, 0, 2}).slice(2, 1, 2)) == Floats{1, 13, 5, 17, 9, 21});
  CHECK(floats(x.slice(-1, 0, 4, 2).slice(1, 1, 3)) == Floats{4, 6, 8, 10, 16, 18, 20, 22});
  CHECK(floats(x.slice(2, -1, 4).squeeze(-1)) == Floats{3, 7, 11, 15, 19, 23});
  CHECK(floats(x.select(1, -1)) == Floats{8, 9, 10, 11, 20, 21, 22, 23});
  CHECK(floats(counting({2, 1}).expand({2, 2, 3})) == Floats{0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1});
  CHECK(x.reshape({-1, 6}).shape() == Shape{4, 6});
  CHECK(x.unsqueeze(0).shape() == Shape{1, 2, 3, 4});
  CHECK(x.unsqueeze(-1).shape() == Shape{2, 3, 4, 1});

  x.select(0, 1).fill(7);  // through the view into x
  CHECK(floats(x.slice(0, 1, 2).slice(1, 0, 1)) == Floats{7, 7, 7, 7});
  CHECK(x.slice(0, 0, 1).contiguous().shares_storage(x));
  CHECK_FALSE(x.slice(2, 0, 1).contiguous().shares_storage(x));
}

TEST_CASE("copies between strided tensors, every variant") {
  tests::ran();
  for (const auto& variant : kernels::copy.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::copy, variant);
    // Into every second column of the transpose of a larger tensor, whose other elements stay.
    Tensor base = Tensor::zeros({4, 6});
    Tensor target = base.transpose(0, 1).slice(1, 0, 4, 2);  // (6,2)
    target.copy_from(counting({6, 2}));
    CHECK(floats(base) == Floats{0, 2, 4, 6, 8, 10, 0, 0, 0, 0, 0, 0, 1, 3, 5, 7, 9, 11, 0, 0, 0, 0, 0, 0});
    // NCHW -> NHWC, larger than a tile and not a multiple of it.
    const int64_t C = 5, H = 37, W = 41;
    const Tensor x = counting({2, C, H, W});
    const Floats y = floats(x.permute({0, 2, 3, 1}).contiguous());
    bool equal = true;
    for (int64_t k = 0; k < x.numel(); ++k) {
      const int64_t c = k % C, w = k / C % W, h = k / (C * W) % H, n = k / (C * W * H);
      equal &= y[static_cast<size_t>(k)] == static_cast<float>(((n * C + c) * H + h) * W + w);
    }
    CHECK(equal);
    CHECK(kernels::copy.last_variant() == variant);
  }
}

TEST_CASE("dtype conversion is static_cast") {
  tests::ran();
  const Tensor x = Tensor::from(Floats{0.0f, 1.9f, 254.99f, 3.0f}, {4});
  CHECK(x.to(DType::u8).to_vector<uint8_t>() == std::vector<uint8_t>{0, 1, 254, 3});
  CHECK(affine(x, -1, 0).to(DType::i32).to_vector<int32_t>() == std::vector<int32_t>{0, -1, -254, -3});
  CHECK(x.to(DType::f64).to_vector<double>()[1] == static_cast<double>(1.9f));
  CHECK(x.to(DType::f32).shares_storage(x));
  const Tensor u = Tensor::from(std::vector<uint8_t>{200, 255}, {2});
  CHECK(floats(u.to(DType::f32)) == Floats{200, 255});
  CHECK(Tensor::full({}, 2.5, DType::f64).item() == 2.5);
  CHECK(Tensor::full({1, 1}, 300, DType::i32).item() == 300);
  CHECK(error_of([&] { x.data<double>(); }) == "Tensor: asked for f64 data of a f32 tensor of shape (4)");
  CHECK(error_of([&] { x.item(); }) == "item: expected one element, got shape (4)");
}

TEST_CASE("memory: bytes in use, peak, reuse, alignment") {
  tests::ran();
  const MemoryUse before = memory_use(Device::cpu);
  const void* address = nullptr;
  {
    const Tensor x = Tensor::empty({1024, 1024});
    address = x.raw();
    CHECK(reinterpret_cast<uintptr_t>(address) % 64 == 0);
    CHECK(memory_use(Device::cpu).current >= before.current + x.bytes());
    CHECK(memory_use(Device::cpu).current <= before.current + x.bytes() + x.bytes() / 8 + 4096);
    const Tensor view = x.transpose(0, 1);  // a view costs nothing
    CHECK(memory_use(Device::cpu).current <= before.current + x.bytes() + x.bytes() / 8 + 4096);
  }
  CHECK(memory_use(Device::cpu).current == before.current);
  reset_peak_memory(Device::cpu);
  CHECK(memory_use(Device::cpu).peak == before.current);
  { const Tensor a = Tensor::empty({1000}), b = Tensor::empty({1000}); }
  CHECK(memory_use(Device::cpu).peak >= before.current + 8000);
  CHECK(memory_use(Device::cpu).current == before.current);
  if (memory_use(Device::cpu).cached > 0) {  // the sanitizer builds do not keep blocks
    CHECK(Tensor::empty({1024, 1024}).raw() == address);
    release_cached_memory(Device::cpu);
    CHECK(memory_use(Device::cpu).cached == 0);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which end the program on an impossible size
  CHECK(error_of([] { Tensor::empty({int64_t{1} << 60}); }).rfind("memory: could not get", 0) == 0);
#endif
}

TEST_CASE("in-place writes bump the version, through views too") {
  tests::ran();
  Tensor x = counting({2, 2});
  CHECK(x.version() == 0);
  x.fill(1);
  CHECK(x.version() == 1);
  Tensor row = x.select(0, 0);
  row.copy_from(Tensor::zeros({2}));
  CHECK(x.version() == 2);
  add_into(Tensor::ones({2, 2}), x);
  CHECK(x.version() == 3);
  CHECK(floats(x) == Floats{1, 1, 2, 2});
  unary(UnaryOp::relu, x);
  CHECK(x.version() == 3);
}

TEST_CASE("slots: order, forcing, errors") {
  tests::ran();
  KernelSlotBase& slot = find_kernel_slot("unary");
  CHECK(slot.variants(Device::cpu).back() == "naive");
  CHECK(slot.variants(Device::cpu).size() >= 2);
  const std::string first = slot.variants(Device::cpu).front();
  const std::string before = slot.forced();  // ASAP_KERNEL may have set it
  slot.force("");
  unary(UnaryOp::relu, counting({3}));
  CHECK(slot.last_variant() == first);
  {
    const ForcedVariant guard(slot, "naive");
    unary(UnaryOp::relu, counting({3}));
    CHECK(slot.last_variant() == "naive");
  }
  CHECK(slot.forced() == "");
  CHECK(error_of([&] { slot.force("fastest"); }).rfind("kernel: unary has no variant 'fastest'; it has ", 0) == 0);
  CHECK(error_of([&] { find_kernel_slot("unray"); }).rfind("kernel: there is no slot 'unray'; the slots are ", 0) == 0);
  slot.force(before);

  static KernelSlot<CopyFn> own{"test_own_slot"};  // a slot lives as long as the program
  CHECK(error_of([&] {
          Tensor y = Tensor::empty({1});
          own.run(Device::cpu, y, y);
        }).rfind("test_own_slot: no variant on cpu takes these arguments", 0) == 0);
  int calls = 0;
  own.add(
      Device::cpu, "picky", [&](const Tensor&, Tensor&) { calls += 100; },
      [](const Tensor& x, Tensor&) { return x.numel() > 1; });
  own.add(Device::cpu, "any", [&](const Tensor&, Tensor&) { calls += 1; });
  Tensor small = Tensor::empty({1}), large = Tensor::empty({2});
  own.run(Device::cpu, small, small);
  CHECK(calls == 1);
  own.run(Device::cpu, large, large);
  CHECK(calls == 101);
  CHECK(error_of([&] { own.add(Device::cpu, "any", [](const Tensor&, Tensor&) {}); }) ==
        "kernel: test_own_slot already has a variant 'any' on cpu");

  CHECK(registered_early);
  CHECK(kernels::max_pool2d_backward.variants(Device::cpu).back() == "early");
  CHECK(kernels::max_pool2d_backward.forced() == "early");
  register_also([] { kernels::max_pool2d_backward.add(Device::cpu, "late", unpool_nothing); });
  CHECK(kernels::max_pool2d_backward.variants(Device::cpu).back() == "late");
}

TEST_CASE("binary broadcasts; comparisons, NaN and division") {
  tests::ran();
  const Tensor x = counting({2, 3}), row = Tensor::from(Floats{10, 20, 30}, {3}),
               column = Tensor::from(Floats{1, 2}, {2, 1});
  for (const auto& variant : kernels::binary.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::binary, variant);
    CHECK(floats(add(x, row)) == Floats{10, 21, 32, 13, 24, 35});
    CHECK(floats(mul(column, x)) == Floats{0, 1, 2, 6, 8, 10});
    CHECK(floats(sub(row, column)) == Floats{9, 19, 29, 8, 18, 28});
    CHECK(floats(div(x, Tensor::full({}, 2))) == Floats{0, 0.5f, 1, 1.5f, 2, 2.5f});
    CHECK(floats(div(Tensor::from(Floats{1, -1}, {2}), Tensor::zeros({2}))) == Floats{kInf, -kInf});
    CHECK(floats(binary(BinaryOp::less, x, Tensor::full({1}, 2))) == Floats{1, 1, 0, 0, 0, 0});
    CHECK(floats(binary(BinaryOp::equal, x, Tensor::full({1}, 2))) == Floats{0, 0, 1, 0, 0, 0});
    const Tensor a = Tensor::from(Floats{1, kNan, 3}, {3}), b = Tensor::from(Floats{2, 1, kNan}, {3});
    for (const BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum}) {
      const Floats m = floats(binary(op, a, b));
      CHECK(m[0] == (op == BinaryOp::maximum ? 2 : 1));
      CHECK(std::isnan(m[1]));
      CHECK(std::isnan(m[2]));
    }
  }
}

TEST_CASE("unary: special values and derivatives at the corners, every variant") {
  tests::ran();
  const Tensor x = Tensor::from(Floats{-kInf, -100, -0.5f, 0, 0.5f, 100, kInf, kNan}, {8}), ones = Tensor::ones({8});
  const auto check = [&](const Tensor& y, const Floats& expected) {
    const Floats got = floats(y);
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO(i, ": ", got[i], " instead of ", expected[i]);
      const bool equal = std::isnan(expected[i]) ? std::isnan(got[i]) : got[i] == expected[i];
      const float smallest = std::numeric_limits<float>::denorm_min();  // nothing lies between its multiples
      CHECK((equal || std::abs(got[i] - expected[i]) <= std::max(1e-6f * std::abs(expected[i]), smallest)));
    }
  };
  for (const auto& variant : kernels::unary.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::unary, variant);
    check(unary(UnaryOp::relu, x), {0, 0, 0, 0, 0.5f, 100, kInf, kNan});
    check(unary(UnaryOp::leaky_relu, x, {.a = 0.2}), {-kInf, -20, -0.1f, 0, 0.5f, 100, kInf, kNan});
    check(unary(UnaryOp::tanh, x), {-1, -1, -0.46211716f, 0, 0.46211716f, 1, 1, kNan});
    check(unary(UnaryOp::sigmoid, x), {0, 3.8e-44f, 0.37754067f, 0.5f, 0.62245933f, 1, 1, kNan});
    check(unary(UnaryOp::exp, x), {0, 3.8e-44f, 0.60653066f, 1, 1.6487213f, kInf, kInf, kNan});
    check(unary(UnaryOp::log, x), {kNan, kNan, kNan, -kInf, -0.69314718f, 4.6051702f, kInf, kNan});
    check(unary(UnaryOp::softplus, x), {0, 3.8e-44f, 0.47407698f, 0.69314718f, 0.97407698f, 100, kInf, kNan});
    check(unary(UnaryOp::sign, x), {-1, -1, -1, 0, 1, 1, 1, kNan});
    check(unary(UnaryOp::erf, x), {-1, -1, -0.52049988f, 0, 0.52049988f, 1, 1, kNan});
    check(unary(UnaryOp::clamp, x, {.a = -0.5, .b = 2}), {-0.5f, -0.5f, -0.5f, 0, 0.5f, 2, 2, kNan});
    check(unary(UnaryOp::pow, x, {.a = 2}), {kInf, 10000, 0.25f, 0, 0.25f, 10000, kInf, kNan});
  }
  for (const auto& variant : kernels::unary_backward.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::unary_backward, variant);
    check(unary_backward(UnaryOp::relu, x, ones), {0, 0, 0, 0, 1, 1, 1});
    check(unary_backward(UnaryOp::leaky_relu, x, ones, {.a = 0.2}), {0.2f, 0.2f, 0.2f, 0.2f, 1, 1, 1});
    check(unary_backward(UnaryOp::abs, x, ones), {-1, -1, -1, 0, 1, 1, 1});
    check(unary_backward(UnaryOp::clamp, x, ones, {.a = -0.5, .b = 0.5}), {0, 0, 1, 1, 1, 0, 0});
    check(unary_backward(UnaryOp::sign, x, ones), {0, 0, 0, 0, 0, 0, 0});
    check(unary_backward(UnaryOp::softplus, x, ones), {0, 3.8e-44f, 0.37754067f, 0.5f, 0.62245933f, 1, 1});
  }
}

// Units in the last place between float results and the same function in double, over all magnitudes. The limits are
// the largest errors found over every 37th float (0.99, 1.31, 2.31, 0.81, 2.75, 1.08), rounded up.
TEST_CASE("float exp, tanh, sigmoid, log, softplus and erf are accurate to 3 units in the last place") {
  tests::ran();
  Floats values;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973) {
    const uint32_t pattern = static_cast<uint32_t>(bits);
    float value;
    std::memcpy(&value, &pattern, sizeof value);
    if (std::isfinite(value)) values.push_back(value);
  }
  const Tensor x = Tensor::from(values, {static_cast<int64_t>(values.size())});
  const ForcedVariant guard(kernels::unary, "vectorized");
  const auto worst = [&](UnaryOp op) {
    const Floats got = floats(unary(op, x));
    const std::vector<double> expected = unary(op, x.to(DType::f64)).to_vector<double>();
    double most = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const float rounded = static_cast<float>(expected[i]);
      if (std::isnan(rounded) && std::isnan(got[i])) continue;
      if (rounded == got[i]) continue;
      const double unit = static_cast<double>(std::nextafter(std::abs(rounded), kInf)) - std::abs(rounded);
      const double error = std::abs(got[i] - expected[i]) / unit;
      most = error <= most ? most : error;  // a NaN wins
    }
    return most;
  };
  CHECK(worst(UnaryOp::exp) <= 1.0);
  CHECK(worst(UnaryOp::tanh) <= 1.5);
  CHECK(worst(UnaryOp::sigmoid) <= 2.5);
  CHECK(worst(UnaryOp::log) <= 1.0);
  CHECK(worst(UnaryOp::softplus) <= 3.0);
  CHECK(worst(UnaryOp::erf) <= 1.5);
}

TEST_CASE("reductions over any dimensions") {
  tests::ran();
  const Tensor x = counting({2, 3, 4});
  CHECK(sum(x).item() == 276);
  CHECK(sum(x).shape() == Shape{});
  CHECK(floats(sum(x, {1})) == Floats{12, 15, 18, 21, 48, 51, 54, 57});
  CHECK(floats(sum(x, {0, 2})) == Floats{60, 92, 124});
  CHECK(floats(mean(x, {-1, 0})) == Floats{7.5f, 11.5f, 15.5f});
  CHECK(mean(x, {1, 2}, true).shape() == Shape{2, 1, 1});
  CHECK(floats(max(x, {1, 2})) == Floats{11, 23});
  CHECK(floats(sum(x.transpose(0, 2), {0})) == Floats{6, 54, 22, 70, 38, 86});
  CHECK(std::isnan(max(Tensor::from(Floats{1, kNan, 3}, {3})).item()));
  CHECK(max(Tensor::from(Floats{-3, -1, -2}, {3})).item() == -1);
  CHECK(sum(Tensor::zeros({0, 3}), {0}).to_vector<float>() == Floats{0, 0, 0});
  const Tensor scalar = Tensor::full({}, 5);
  CHECK(sum(scalar).item() == 5);
  CHECK_FALSE(sum(scalar).shares_storage(scalar));
  CHECK(error_of([&] { mean(Tensor::zeros({0, 3}), {0}); }) == "mean: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] { sum(x, {1, 1}); }) == "reduce: dimension 1 appears twice");
  CHECK(error_of([&] { sum(x, {3}); }) == "reduce: dimension 3 is out of range for rank 3");

  // 2^24 + 1 ones: a float running sum would stop at 2^24.
  CHECK(sum(Tensor::ones({(1 << 24) + 1}), {0}).to(DType::f64).item() == (1 << 24));  // the nearest float
  CHECK(sum(Tensor::ones({4098, 4098})).item() == 4098 * 4098);
}

TEST_CASE("results do not depend on the number of threads") {
  tests::ran();
  const int before = num_threads();
  const Tensor x = unary(UnaryOp::sin, affine(counting({1, 2, 300, 500}), 0.37, 1));
  const Tensor gamma = Tensor::ones({2}), beta = Tensor::zeros({2});
  std::vector<Floats> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const NormResult y = instance_norm(x, gamma, beta);
    const NormGrads g = instance_norm_backward(x, gamma, beta, y.mean, y.rstd, x, {});
    Floats all;
    for (const Tensor& t : {sum(x), sum(x, {2}), y.y, y.mean, g.dx, g.dgamma, unary(UnaryOp::exp, x)}) {
      const Floats values = floats(t);
      all.insert(all.end(), values.begin(), values.end());
    }
    results.push_back(all);
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("sum_to undoes broadcasting") {
  tests::ran();
  const Tensor x = counting({2, 3, 2});
  CHECK(floats(sum_to(x, {3, 1})) == Floats{14, 22, 30});
  CHECK(floats(sum_to(x, {2})) == Floats{30, 36});
  CHECK(sum_to(x, {}).item() == 66);
  CHECK(sum_to(x, {1, 1, 1}).shape() == Shape{1, 1, 1});
  CHECK(sum_to(x, {2, 3, 2}).shares_storage(x));
  CHECK(error_of([&] { sum_to(x, {4}); }) == "sum_to: shapes (2,3,2) and (4) do not broadcast");
  CHECK(error_of([&] { sum_to(counting({1, 2}), {3, 2}); }) == "sum_to: (3,2) does not broadcast to (1,2)");
}

TEST_CASE("channels-last operands are not repacked, and results lie as they do") {
  tests::ran();
  const Tensor rows = counting({2, 8, 3, 5}), x = rows.to(Layout::channels_last), half = x.to(DType::bf16);
  const Tensor one = counting({2, 1, 3, 5}), index = Tensor::full({2, 1, 3, 5}, 5, DType::i32);
  const Adaptations before = adaptations();
  for (const Tensor& y :
       {unary(UnaryOp::tanh, x), unary_backward(UnaryOp::tanh, x, rows), add(x, rows), mul(counting({8, 1, 1}), x),
        sum(x, {0}, true), cat({one, x}, 1), unary(UnaryOp::tanh, half), unary_backward(UnaryOp::tanh, half, half),
        add(half, half)}) {
    CHECK(y.layout() == Layout::channels_last);
  }
  for (const std::vector<int>& dims : {std::vector<int>{}, {0, 2, 3}, {1}, {0}, {2, 3}}) {
    CHECK(floats(sum(x, dims)) == floats(sum(rows, dims)));
  }
  CHECK(floats(gather(x, 1, index)) == floats(rows.slice(1, 5, 6)));
  CHECK(adaptations() == before);
  CHECK(sum(half).dtype() == DType::bf16);
  CHECK(sum(half, {}, false, DType::f32).item() == 239 * 240 / 2);
}

TEST_CASE("cat, gather, one_hot") {
  tests::ran();
  const Tensor a = counting({2, 2}), b = affine(counting({2, 1}), 1, 10);
  CHECK(floats(cat({a, b, a}, 1)) == Floats{0, 1, 10, 0, 1, 2, 3, 11, 2, 3});
  CHECK(floats(cat({a, a.transpose(0, 1)}, 0)) == Floats{0, 1, 2, 3, 0, 2, 1, 3});
  CHECK(floats(cat({a, Tensor::zeros({0, 2})}, 0)) == Floats{0, 1, 2, 3});
  CHECK(error_of([&] {
          cat({a, b}, 0);
        }) == "cat: expected shapes that agree except along dimension 0, got (2,2) and (2,1)");
  CHECK(error_of([&] { cat({}, 0); }) == "cat: expected at least one tensor, got none");

  const Tensor x = counting({2, 3}), index = Tensor::from(std::vector<int32_t>{2, 0, 2, 1, 1, 1, 0, 2}, {2, 4});
  CHECK(floats(gather(x, 1, index)) == Floats{2, 0, 2, 1, 4, 4, 3, 5});
  CHECK(floats(gather_backward(counting({2, 4}), 1, index, {2, 3})) == Floats{1, 3, 2, 6, 9, 7});
  CHECK(error_of([&] {
          gather(x, 0, index);
        }).rfind("gather: expected an index of shape (2,3) except along dimension 0", 0) == 0);
  CHECK(error_of([&] {
          gather(x, 1, Tensor::full({2, 1}, 3, DType::i32));
        }) == "gather: index 3 is outside 0..2 of dimension 1");
  CHECK(error_of([&] { gather(x, 1, x); }) == "gather: expected an i32 index, got f32");

  const Tensor labels = Tensor::from(std::vector<uint8_t>{1, 0, 2, 1}, {1, 2, 2});
  CHECK(floats(one_hot(labels, 3)) == Floats{0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0});
  CHECK(error_of([&] { one_hot(labels, 2); }) == "one_hot: label 2 is outside 0..1");
  CHECK(error_of([&] { one_hot(Tensor::full({1, 1, 1}, -1, DType::i32), 2); }) == "one_hot: label -1 is outside 0..1");
}

TEST_CASE("normalisation of single pixels gives beta; planes with a large mean stay accurate") {
  tests::ran();
  const Tensor gamma = Tensor::from(Floats{2, 3}, {2}), beta = Tensor::from(Floats{-1, 5}, {2});
  for (const auto& variant : kernels::norm_forward.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::norm_forward, variant);
    CHECK(floats(instance_norm(counting({1, 2, 1, 1}), gamma, beta).y) == Floats{-1, 5});
    // 10000 +- 1: the variance is 1.
    const Tensor x = Tensor::from(Floats{9999, 10001, 10001, 9999}, {1, 1, 2, 2});
    const NormResult y = instance_norm(x, {}, {}, {.eps = 0, .activation_slope = 0});
    CHECK(floats(y.y) == Floats{0, 1, 1, 0});
    CHECK(y.mean.item() == 10000);
  }
}

TEST_CASE("a convolution's padding mode, bias and activation are those of the separate ops") {
  tests::ran();
  const Tensor x = counting({1, 2, 5, 6}), w = counting({3, 2, 3, 3}), bias = Tensor::from(Floats{-30000, 0, 5}, {3});
  for (const PadMode mode : {PadMode::zero, PadMode::reflect, PadMode::replicate}) {
    const Tensor sums = conv2d(pad2d(x, {.mode = mode, .left = 1, .right = 1, .top = 1, .bottom = 1}), w, {});
    const Tensor expected = unary(UnaryOp::leaky_relu, add(sums, bias.reshape({3, 1, 1})), {.a = 0.5});
    CHECK(floats(conv2d(x, w, bias, {.padding = 1, .pad_mode = mode, .activation_slope = 0.5})) == floats(expected));
  }
}

TEST_CASE("convolutions go to the variants that are fastest for them on the CPU") {
  tests::ran();
  const bool native = cpu::has_bf16_products(), tiles = cpu::isa() == cpu::Isa::amx;  // for bf16
  struct Row {
    DType dtype;
    int64_t channels, side, stride;
    const char *forward, *input_grad, *weight_grad;
  };
  const char *gemm = "implicit_gemm", *winograd = "winograd", *blocks = "bf16_blocks";
  for (const Row& row : {
           Row{DType::f32, 64, 3, 1, winograd, winograd, winograd},
           Row{DType::f32, 64, 3, 2, gemm, winograd, gemm},
           Row{DType::f32, 64, 4, 2, winograd, winograd, gemm},
           Row{DType::f32, 32, 3, 1, gemm, gemm, gemm},
           Row{DType::bf16, 64, 3, 1, tiles ? blocks : winograd, tiles ? blocks : winograd, tiles ? blocks : winograd},
           Row{DType::bf16, 64, 4, 2, native ? blocks : winograd, native ? blocks : winograd, native ? blocks : gemm},
       }) {
    CAPTURE(row.channels);
    CAPTURE(row.side);
    CAPTURE(row.stride);
    const Conv2dParams params{.stride = row.stride, .padding = 1};
    const Tensor x = Tensor::zeros({1, row.channels, 30, 30}, row.dtype), w = Tensor::zeros({row.channels, row.channels, row.side, row.side}, row.dtype);
    const Tensor y = conv2d(x, w, {}, params);
    conv2d_input_grad(y, w, x.shape(), params);
    conv2d_weight_grad(x, y, w.shape(), params);
    CHECK(kernels::conv2d_forward.last_variant() == row.forward);
    CHECK(kernels::conv2d_input_grad.last_variant() == row.input_grad);
    CHECK(kernels::conv2d_weight_grad.last_variant() == row.weight_grad);
  }
}

TEST_CASE("empty tensors pass through") {
  tests::ran();
  const Tensor x = Tensor::empty({0, 3, 8, 8});
  CHECK(unary(UnaryOp::exp, x).shape() == x.shape());
  CHECK(add(x, Tensor::ones({3, 1, 1})).shape() == x.shape());
  CHECK(pad2d(x, {.mode = PadMode::reflect, .left = 1}).shape() == Shape{0, 3, 8, 9});
  CHECK(avg_pool2d(x, {}).shape() == Shape{0, 3, 4, 4});
  CHECK(max_pool2d(x, {}).y.shape() == Shape{0, 3, 4, 4});
  CHECK(resize2d(x, 4, ResizeMode::bilinear).shape() == Shape{0, 3, 4, 4});
  CHECK(instance_norm(x, {}, {}).y.shape() == x.shape());
  CHECK(floats(instance_norm_backward(x, Tensor::ones({3}), Tensor::ones({3}), Tensor::empty({0, 3}),
                                      Tensor::empty({0, 3}), x, {})
                   .dgamma) == Floats{0, 0, 0});
  CHECK(conv2d(x, Tensor::ones({2, 3, 3, 3}), {}).shape() == Shape{0, 2, 6, 6});
  // Sums of no terms: the bias alone, activated.
  const Tensor bias = Tensor::from(Floats{1, -2}, {2});
  CHECK(floats(conv2d(Tensor::empty({1, 0, 1, 1}), Tensor::empty({2, 0, 1, 1}), bias, {.activation_slope = 0.5})) ==
        Floats{1, -1});
  CHECK(floats(conv2d_weight_grad(x, Tensor::empty({0, 1, 8, 8}), {1, 3, 1, 1}, {})) == Floats{0, 0, 0});
  CHECK(floats(matmul(Tensor::empty({2, 0}), Tensor::empty({0, 2}))) == Floats{0, 0, 0, 0});
  CHECK(cat({x, x}, 2).shape() == Shape{0, 3, 16, 8});
  CHECK(x.transpose(1, 2).contiguous().shape() == Shape{0, 8, 3, 8});
}

TEST_CASE("adam_step takes any list of parameters, and refuses one that does not fit together") {
  tests::ran();
  using List = std::vector<Tensor>;
  const auto step = [](const List& grads, List values, List m, List v) {
    const AdamParams params{.beta1 = 0.5, .beta2 = 0};
    Tensor state = adam_state(0.5);
    adam_begin({}, params, state);
    adam_step(grads, params, state, values, m, v);
  };
  const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape); };
  step({}, {}, {}, {});
  // Empty parameters, and a gradient that is not packed; the step is lr * sign(gradient).
  const Tensor a = counting({2, 2}), b = counting({3}), empty = zeros({0, 4});
  const Tensor a_grad = Tensor::from(Floats{1, -2, -3, 4}, {2, 2}).transpose(0, 1), b_grad = Tensor::from(Floats{-1, 1, 1}, {3});
  const Tensor m = zeros({2, 2});
  step({empty, a_grad, empty, b_grad}, {empty, a, empty, b}, {empty, m, empty, zeros({3})},
       {empty, zeros({2, 2}), empty, zeros({3})});
  CHECK(floats(a) == Floats{-0.5f, 1.5f, 2.5f, 2.5f});
  CHECK(floats(b) == Floats{0.5f, 0.5f, 1.5f});
  CHECK(a.version() == 1);
  CHECK(m.version() == 1);

  const Tensor x = zeros({3}), y = zeros({3});
  CHECK(error_of([&] { step({x}, {x, y}, {x, y}, {x, y}); }) ==
        "adam_step: expected equally many gradients, parameters and moments, got 1, 2, 2 and 2");
  CHECK(error_of([&] { step({x, y}, {x, y}, {x, zeros({4})}, {x, y}); }) ==
        "adam_step, parameter 1: expected m of shape (3), got (4)");
  CHECK(error_of([&] { step({x, Tensor()}, {x, y}, {x, y}, {x, y}); }) ==
        "adam_step, parameter 1: expected a tensor for grad, got an undefined one");
  const Tensor wide = Tensor::zeros({3}, DType::f64);
  CHECK(error_of([&] { step({x, wide}, {x, wide}, {x, wide}, {x, wide}); }) ==
        "adam_step, parameter 1: expected equal dtypes, got f64 and f32");
  CHECK(error_of([&] { step({x, y}, {x, x}, {x, y}, {x, y}); }) == "adam_step: expected every parameter once, got one twice");
}

TEST_CASE("error texts name the op, what was expected and what came") {
  tests::ran();
  const Tensor x = counting({1, 3, 4, 4});
  CHECK(error_of([&] {
          conv2d(x, Tensor::ones({2, 4, 3, 3}), {});
        }) == "conv2d: x has 3 channels, but w (2,4,3,3) with groups=1 needs 4");
  CHECK(error_of([&] {
          conv2d(x, Tensor::ones({2, 3, 7, 7}), {}, {.padding = 1});
        }) == "conv2d: the kernel covers 7 pixels of height, but x has 4 + 2*1 of padding");
  CHECK(error_of([&] {
          conv2d(x, Tensor::ones({2, 3, 1, 1}), Tensor::ones({3}));
        }) == "conv2d: expected bias of shape (2), got (3)");
  CHECK(error_of([&] {
          conv2d(x, Tensor::ones({2, 3, 3, 3}), {}, {.padding = 4, .pad_mode = PadMode::reflect});
        }).rfind("conv2d: reflect padding must be smaller than the picture: height 4", 0) == 0);
  CHECK(error_of([&] {
          conv2d(x, Tensor::ones({2, 3, 1, 1}), {}, {.activation_slope = -0.1});
        }) == "conv2d: expected an activation slope of at least 0, got -0.1");
  CHECK(error_of([&] { add(x, Tensor::ones({5})); }) == "add: shapes (1,3,4,4) and (5) do not broadcast");
  CHECK(error_of([&] { add(x, x.to(DType::f64)); }) == "add: expected equal dtypes, got f32 and f64");
  CHECK(error_of([&] { add(x.to(DType::i32), x.to(DType::i32)); }) == "add: expected a to be f32, f64 or bf16, got i32");
  CHECK(error_of([&] { unary(UnaryOp::tanh, {}); }) == "tanh: expected a tensor for x, got an undefined one");
  CHECK(error_of([&] {
          matmul(counting({2, 3}), counting({2, 3}));
        }) == "matmul: a (2,3) has 3 columns, but b (2,3) has 2 rows");
  CHECK(error_of([&] {
          pad2d(x, {.mode = PadMode::reflect, .left = 4});
        }).rfind("pad2d: reflect padding must be smaller than the picture: left 4", 0) == 0);
  CHECK(error_of([&] { avg_pool2d(x, {.kernel = 3, .stride = 2, .padding = 2}); }) ==
        "pool2d: expected padding of at most half the kernel (3,3), got (2,2)");
  CHECK(error_of([&] {
          resize2d(x, {0, 3}, ResizeMode::nearest);
        }) == "resize2d: expected positive sizes, got x (1,3,4,4) and size (0,3)");
  CHECK(error_of([&] { instance_norm(x, Tensor::ones({3}), {}); }) ==
        "instance_norm: expected gamma and beta both defined or both undefined");
  CHECK(error_of([&] {
          x.transpose(0, 1).transpose(2, 3).reshape({48});
        }).rfind("reshape: expected a contiguous tensor", 0) == 0);
  CHECK(error_of([&] { x.reshape({7, -1}); }) == "reshape: (1,3,4,4) has no whole size for the -1 of (7,1)");
  CHECK(error_of([&] { x.slice(1, 2, 5); }) == "slice: 2:5:1 does not fit dimension 1 of (1,3,4,4)");
  CHECK(error_of([&] { x.expand({2, 4, 4, 4}); }) == "expand: (1,3,4,4) does not broadcast to (2,4,4,4)");
  CHECK(error_of([&] { Tensor::from(Floats{1, 2}, {3}); }) == "Tensor::from: 2 values do not fill shape (3)");
  if (!is_available(Device::cuda)) {
    CHECK(error_of([&] { x.to(Device::cuda); }).rfind("device: cuda is not available: ", 0) == 0);
  }
}
