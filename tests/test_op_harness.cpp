// The comparison behind test_op_cases.cpp must fail where a kernel is wrong: three broken copies are added as a user would
// add a kernel, in a program of their own so that nothing else runs them. Then what a slot does where no fast variant takes the
// arguments as they lie.
#include <doctest/doctest.h>

#include <algorithm>

#include "tensor/definitions/view.h"
#include "tests/op_cases.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

// Copies all but the last `missing` elements (negative: writes on behind the end); element `wrong` is off by one.
void add_broken_copy(const char* name, int64_t wrong, int64_t missing) {
  kernels::copy.add(
      Device::cpu, name,
      [=](const Tensor& x, Tensor& y) {
        const Tensor packed = x.contiguous();
        const float* from = packed.data<float>();
        for (int64_t i = 0; i < x.numel() - missing; ++i) {
          y.data<float>()[i] = (i < x.numel() ? from[i] : 0.f) + (i == wrong ? 1.f : 0.f);
        }
      },
      [](const Tensor& x, const Tensor& y) {
        return x.dtype() == DType::f32 && y.dtype() == DType::f32 && x.is_contiguous() && y.is_contiguous();
      });
}

}  // namespace

TEST_CASE("the harness notices a kernel that is wrong, unfinished or writes too far") {
  ran();
  add_broken_copy("one_wrong", 3, 0);
  add_broken_copy("unfinished", -1, 1);
  add_broken_copy("too_far", -1, -1);
  const auto& rows = op_cases();
  const auto row = std::find_if(rows.begin(), rows.end(), [](const OpCase& r) { return r.name == "copy/contiguous"; });
  REQUIRE(row != rows.end());
  const std::vector<Tensor> expected = reference(*row);
  const auto check = [&](const char* variant) {
    const VariantCheck result = check_variant(*row, expected, kernels::copy, variant, DType::f32, Device::cpu);
    CHECK(result.ran);
    return result.passed();
  };
  CHECK(check("naive"));
  CHECK_FALSE(check("one_wrong"));
  CHECK_FALSE(check("unfinished"));
  const int64_t before = overwritten_guards();
  CHECK(check("too_far"));  // every element is right: only the guard bytes tell
  CHECK(overwritten_guards() == before + 1);
}

namespace {

const Shape kPictures{2, 3, 2, 2};
using Slot = KernelSlot<CopyFn>;  // here y = 2 x, or y += 2 x

Tensor pictures(DType dtype, Layout layout) {
  std::vector<float> values(static_cast<size_t>(kPictures.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, kPictures).to(dtype).to(layout);
}

// Row-major f32 alone, whatever the variant was said to take.
void double_packed(const Tensor& x, Tensor& y) {
  CHECK(x.is_contiguous());
  CHECK(y.is_contiguous());
  for (int64_t i = 0; i < x.numel(); ++i) y.data<float>()[i] = 2 * x.data<float>()[i];
}
void double_any(const Tensor& x, Tensor& y) {
  const definitions::View from(x), to(y);
  for (int64_t i = 0; i < x.numel(); ++i) to.set(i, 2 * from[i]);
}
void add_double(const Tensor& x, Tensor& y) {
  const definitions::View from(x), to(y);
  for (int64_t i = 0; i < x.numel(); ++i) to.set(i, to[i] + 2 * from[i]);
}

// Runs the slot on such an x and y (full of ones); the variant that ran, what it copied, and whether y is 2 x (+ 1).
struct Call {
  std::string variant;
  Adaptations adapted;
  bool right;
};
Call call(const Slot& slot, DType dtype, Layout x_layout, Layout y_layout, double added = 0) {
  const Tensor x = pictures(dtype, x_layout);
  Tensor y = Tensor::empty(kPictures, dtype, Device::cpu, y_layout);
  y.fill(1);
  const Adaptations before = adaptations();
  slot.run(Device::cpu, x, y);
  const Adaptations after = adaptations();
  const Tensor expected = affine(pictures(DType::f64, Layout::row_major), 2, added);
  return {slot.last_variant(),
          {after.repacked - before.repacked, after.converted - before.converted},
          y.dtype() == dtype && y.layout() == y_layout && relative_difference(y, expected) == 0};
}

constexpr Layout kRows = Layout::row_major, kLast = Layout::channels_last;

}  // namespace

TEST_CASE("where only the definition takes a call as it lies, a fast variant runs on counted copies") {
  ran();
  static Slot slot{"test_adapted"};  // a slot lives as long as the program
  slot.add(Device::cpu, "fast", double_packed, [](const Tensor& x, Tensor&) { return x.dtype() == DType::f32; });
  slot.add_definition(Device::cpu, double_any);
  const auto check = [](DType dtype, Layout x, Layout y, const char* variant, const Adaptations& adapted) {
    INFO(str(dtype, x == kLast ? " last" : " rows", y == kLast ? " last" : " rows"));
    const Call result = call(slot, dtype, x, y);
    CHECK(result.variant == variant);
    CHECK(result.adapted.repacked == adapted.repacked);
    CHECK(result.adapted.converted == adapted.converted);
    CHECK(result.right);
  };
  check(DType::f32, kRows, kRows, "fast", {});
  check(DType::f32, kLast, kRows, "fast", {.repacked = 1});
  check(DType::f32, kRows, kLast, "fast", {.repacked = 1});
  check(DType::f32, kLast, kLast, "fast", {.repacked = 2});
  check(DType::bf16, kRows, kRows, "fast", {.converted = 2});
  check(DType::bf16, kLast, kLast, "fast", {.repacked = 2, .converted = 2});
  check(DType::f64, kRows, kRows, "naive", {});
  check(DType::f64, kLast, kLast, "naive", {});  // copies would help no fast variant
  const ForcedVariant forced(slot, "naive");
  check(DType::bf16, kLast, kLast, "naive", {});
}

TEST_CASE("a variant that takes strides or bf16 gets tensors as they lie") {
  ran();
  static Slot strided{"test_strided"}, narrow{"test_narrow"};
  strided.add(Device::cpu, "fast", double_any, {}, {.strided = true});
  narrow.add(Device::cpu, "fast", double_any, {}, {.bf16 = true});
  for (Slot* slot : {&strided, &narrow}) slot->add_definition(Device::cpu, double_any);
  const auto check = [](const Slot& slot, DType dtype, Layout layout, const Adaptations& adapted) {
    INFO(str(slot.name(), " ", dtype, layout == kLast ? " last" : " rows"));
    const Call result = call(slot, dtype, layout, layout);
    CHECK(result.variant == "fast");
    CHECK(result.adapted == adapted);
    CHECK(result.right);
  };
  check(strided, DType::f32, kLast, {});
  check(strided, DType::bf16, kLast, {.repacked = 2, .converted = 2});
  check(narrow, DType::bf16, kRows, {});
  check(narrow, DType::f32, kLast, {.repacked = 2});
}

TEST_CASE("a kernel that reads what its output held gets no copies") {
  ran();
  static Slot slot{"test_updated", Outputs::updated};
  slot.add(Device::cpu, "fast", add_double);
  slot.add_definition(Device::cpu, add_double);
  CHECK(call(slot, DType::f32, kRows, kRows, 1).variant == "fast");
  for (const auto& [dtype, layout] : {std::pair{DType::f32, kLast}, {DType::bf16, kRows}, {DType::bf16, kLast}}) {
    const Call result = call(slot, dtype, layout, layout, 1);
    CHECK(result.variant == "naive");
    CHECK(result.adapted == Adaptations{});
    CHECK(result.right);
  }
}
