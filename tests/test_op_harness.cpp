// The comparison behind test_op_cases.cpp must fail where a kernel is wrong: three broken copies are added as a user would
// add a kernel, in a program of their own so that nothing else runs them.
#include <doctest/doctest.h>

#include <algorithm>

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
