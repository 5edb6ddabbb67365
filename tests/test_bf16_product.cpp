// Every form of bf16_product (tensor/cpu/bf16_product.h) that this machine executes, and the kernel of AMX's tiles on portable
// ones, against sums in double. A form that the machine lacks is skipped; ctest says so, one entry a form.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/bf16_product_tiles.h"
#include "tensor/error.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::cpu;
using namespace asap::tests;

namespace {

struct Case {
  const char* name;
  int64_t steps;
  std::vector<int64_t> offsets;  // of the runs
  int64_t right;                 // where columns 16..31 begin
  int64_t row_step, ldc;
  bool accumulate;
  int64_t last_pairs = kProductDepth / 2;  // behind them A is zero
};

const std::vector<Case> kCases{
    {"one step", 1, {0}, 16, 32, 32, false},
    {"steps beyond a chunk", 9, {0}, 16, 48, 32, false},
    {"accumulate", 2, {0}, 16, 32, 32, true},
    {"rows of sums with gaps", 3, {1}, 16, 33, 47, false},
    {"gaps, accumulate", 5, {3}, 16, 37, 101, true},
    {"halves far apart", 2, {0}, 1717, 41, 32, false},
    {"halves overlap", 2, {0}, 7, 29, 32, false},
    {"taps of a convolution", 1, {0, 1, 2, 67, 68, 69, 134, 135, 136}, 16, 201, 96, false},
    {"taps, accumulate, halves in two rows of pixels", 2, {5, 7, 44, 46}, 39, 139, 33, true},
    {"runs backwards", 4, {300, 7, 0}, 19, 23, 32, true},
    {"deep", 40, {0, 11}, 16, 32, 32, false},
    {"one pair in the last step", 2, {0, 5, 44}, 16, 37, 32, true, 1},
    {"a step of nine pairs", 1, {0, 3}, 16, 32, 32, false, 9},
};

constexpr float kUntouched = 12345.0f;  // between the rows of sums

// Operands where each number is random(), sums that are there random_sum(), and what must come out.
struct Problem {
  std::vector<bf16> a_memory;
  std::vector<bf16_pair> b;
  std::vector<float> c;
  std::vector<double> expected, magnitude;  // [32][32]: the sums, and those of absolute values
  Bf16Product product;
  int64_t terms = 0;  // of a sum

  template <class Random>
  Problem(const Case& test, const Random& random) {
    const int64_t runs = static_cast<int64_t>(test.offsets.size()), rows = test.steps * kProductDepth / 2;
    terms = runs * test.steps * kProductDepth + (test.accumulate ? 1 : 0);
    a_memory.resize(static_cast<size_t>(runs * test.steps * kProductRows * kProductDepth + 32));
    for (bf16& x : a_memory) x = bf16(random());
    const int64_t last_offset = *std::max_element(test.offsets.begin(), test.offsets.end());
    b.resize(static_cast<size_t>(last_offset + (rows - 1) * test.row_step + test.right + kTileColumns));
    for (bf16_pair& x : b) x = {bf16(random()), bf16(random())};
    c.assign(static_cast<size_t>(kProductRows * test.ldc), kUntouched);
    for (int64_t r = 0; r < kProductRows; ++r) {
      for (int64_t j = 0; j < kProductColumns; ++j) c[static_cast<size_t>(r * test.ldc + j)] = random();
    }
    const auto misaligned = reinterpret_cast<uintptr_t>(a_memory.data()) % 64;
    product = {.runs = runs,
               .steps = test.steps,
               .last_pairs = test.last_pairs,
               .a = a_memory.data() + (64 - misaligned) % 64 / sizeof(bf16),
               .offsets = test.offsets.data(),
               .b = {b.data(), b.data() + test.right},
               .row_step = test.row_step,
               .c = c.data(),
               .ldc = test.ldc,
               .accumulate = test.accumulate};
    for (int64_t run = 0; run < runs; ++run) {
      bf16* last = a_memory.data() + (product.a - a_memory.data()) + ((run + 1) * test.steps - 1) * kProductRows * kProductDepth;
      for (int64_t r = 0; r < kProductRows; ++r) {
        std::fill(last + r * kProductDepth + 2 * test.last_pairs, last + (r + 1) * kProductDepth, bf16());
      }
    }
    for (int64_t r = 0; r < kProductRows; ++r) {
      for (int64_t j = 0; j < kProductColumns; ++j) expect(r, j);
    }
  }

 private:
  void expect(int64_t r, int64_t j) {
    double sum = product.accumulate ? product.c[r * product.ldc + j] : 0, absolute = std::abs(sum);
    for (int64_t run = 0; run < product.runs; ++run) {
      for (int64_t k = 0; k < product.steps * kProductDepth; ++k) {
        const int64_t step = run * product.steps + k / kProductDepth;
        const double factor = product.a[(step * kProductRows + r) * kProductDepth + k % kProductDepth];
        const bf16_pair pair =
            product.b[j / kTileColumns][product.offsets[run] + k / 2 * product.row_step + j % kTileColumns];
        const double term = factor * static_cast<double>(k % 2 ? pair.second : pair.first);
        sum += term;
        absolute += std::abs(term);
      }
    }
    expected.push_back(sum);
    magnitude.push_back(absolute);
  }
};

void check_sums(void (*form)(const Bf16Product&), Problem& problem, double tolerance) {
  {
    const ScopedTiles tiles;
    form(problem.product);
  }
  const Bf16Product& p = problem.product;
  int wrong = 0;
  for (int64_t r = 0; r < kProductRows; ++r) {
    for (int64_t j = 0; j < p.ldc; ++j) {
      const double actual = p.c[r * p.ldc + j];
      const auto i = static_cast<size_t>(r * kProductColumns + j);
      const bool right = j < kProductColumns
                             ? std::abs(actual - problem.expected[i]) <= tolerance * problem.magnitude[i]
                             : actual == static_cast<double>(kUntouched);
      if (!right && ++wrong == 1) MESSAGE("first wrong sum: row ", r, ", column ", j, ": ", actual);
    }
  }
  CHECK(wrong == 0);
}

void check_form(void (*form)(const Bf16Product&)) {
  ran();
  std::mt19937 random(7);
  for (const Case& test : kCases) {
    CAPTURE(test.name);
    // Small integers: every sum is exact, so that nothing but a wrong term can show.
    std::uniform_int_distribution<int> integer(-9, 9);
    Problem exact(test, [&] { return static_cast<float>(integer(random)); });
    check_sums(form, exact, 0);
    // A product of two bf16 is exact in f32, and each of the n - 1 additions rounds by half a unit at most (2^-24 of its result),
    // so that in any order a sum is off by less than n 2^-24 of the sum of absolute values (Higham, Accuracy and Stability of
    // Numerical Algorithms, 2002, section 4.2). Terms of this size are far above the numbers that are flushed to zero.
    std::normal_distribution<float> normal;
    Problem rounded(test, [&] { return normal(random); });
    check_sums(form, rounded, static_cast<double>(rounded.terms) * std::exp2(-24));
  }
}

void check_form(const std::string& name) {
  for (const Bf16ProductForm& form : bf16_product_forms()) {
    if (form.name != name) continue;
    if (isa() >= form.needs) return check_form(form.product);
  }
  skip("this machine, or ASAP_ISA, has no " + name);
}

}  // namespace

TEST_CASE("bf16_product in the form floats") { check_form("floats"); }
TEST_CASE("bf16_product in the form avx512_bf16") { check_form("avx512_bf16"); }
TEST_CASE("bf16_product in the form amx") { check_form("amx"); }
TEST_CASE("bf16_product in the form amx, on portable tiles") { check_form(bf16_product_tiles<PortableTiles>); }
TEST_CASE("bf16_product as kernels call it") { check_form(bf16_product); }

TEST_CASE("portable tiles flush what is below 2^-126, and sum firsts and seconds apart") {
  ran();
  PortableTiles::configure();
  bf16 a[16][32] = {}, b[16][32] = {};
  float sums[16][16] = {};
  a[0][0] = bf16(0x1p-70f), b[0][0] = bf16(0x1p-70f);   // a product of 2^-140
  a[1][0] = bf16(0x1p-130f), b[0][2] = bf16(0x1p100f);  // a factor of 2^-130
  a[2][0] = bf16(1.0f), a[2][1] = bf16(-1.0f), a[2][2] = bf16(1.0f);
  b[0][4] = bf16(1.0f), b[0][5] = bf16(1.0f), b[1][4] = bf16(0x1p-24f);  // 1 + 2^-24 is 1 where firsts are summed
  PortableTiles::load<1>(a, 64);
  PortableTiles::load<2>(b, 64);
  PortableTiles::zero<0>();
  PortableTiles::dot_product<0, 1, 2>();
  PortableTiles::store<0>(sums, 64);
  CHECK(sums[0][0] == 0.0f);
  CHECK(sums[1][1] == 0.0f);
  CHECK(sums[2][2] == 0.0f);
}

TEST_CASE("scopes of tiles nest, and each thread has its own") {
  std::mt19937 random(8);
  std::uniform_int_distribution<int> integer(-9, 9);
  const auto small_integer = [&] { return static_cast<float>(integer(random)); };
  Problem first(kCases[2], small_integer), second(kCases[8], small_integer), other(kCases[7], small_integer);
  const ScopedTiles outer;
  check_sums(bf16_product, first, 0);  // a scope in a scope
  std::thread([&] {
    const ScopedTiles tiles;
    bf16_product(other.product);
  }).join();
  bf16_product(second.product);
  for (Problem* problem : {&second, &other}) {
    for (size_t i = 0; i < problem->expected.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / kProductColumns, column = static_cast<int64_t>(i) % kProductColumns;
      REQUIRE(problem->product.c[row * problem->product.ldc + column] == problem->expected[i]);
    }
  }
}
