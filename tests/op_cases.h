// The table of op cases: ONE list of shapes and parameters that drives the comparison of every kernel variant with `naive`,
// the gradient check, the benchmark, and the check of a kernel of your own. op_cases_*.cpp hold the rows, family by
// family; op_cases.cpp makes inputs, runs and compares. Readers: test_op_cases.cpp, bench/bench_ops.cpp, and check_kernels.h for
// kernels from outside.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "tensor/precision.h"

namespace asap::tests {

// How an input is filled. Kinks and poles are kept away from where the gradient check looks.
enum class Values {
  normal,    // standard normal times `scale`
  positive,  // uniform in 0.5..2
  off_zero,  // uniform in +-(0.1..1.5)
  unit,      // uniform in 0..1
  ties,      // -1, 0 or 1: many equal values
  indices,   // i32, uniform in 0..classes-1
};

struct OpInput {
  Shape shape;
  Values values = Values::normal;
  double scale = 1;
  int64_t classes = 0;
  bool differentiable = true;
  bool compact = false;  // numbers are bf16 (in f64 runs rounded to bf16), indices u8
  Layout layout = Layout::row_major;
  bool parameter = false;  // of channels: f32 where the others are bf16
};

inline OpInput normal(const Shape& shape, double scale = 1) { return {.shape = shape, .scale = scale}; }
inline OpInput positive(const Shape& shape) { return {.shape = shape, .values = Values::positive}; }
inline OpInput off_zero(const Shape& shape) { return {.shape = shape, .values = Values::off_zero}; }
inline OpInput unit(const Shape& shape) { return {.shape = shape, .values = Values::unit}; }
inline OpInput ties(const Shape& shape) { return {.shape = shape, .values = Values::ties}; }
inline OpInput indices(const Shape& shape, int64_t classes) {
  return {.shape = shape, .values = Values::indices, .classes = classes, .differentiable = false};
}
inline OpInput constant(OpInput input) {
  input.differentiable = false;
  return input;
}

inline OpInput compact(OpInput input) {
  input.compact = true;
  return constant(input);
}
inline OpInput parameter(OpInput input) {
  input.parameter = true;
  return input;
}

// How a row's numbers are given to it. The same ones (exact in f32) in every dtype, but for the rounding.
struct Setting {
  Setting(DType type = DType::f32, Layout place = Layout::row_major, bool round = false)
      : dtype(type), layout(place), rounded(round || type == DType::bf16) {}
  DType dtype;
  Layout layout;  // of what has 4 dimensions, the cotangent included; NaN lies behind a pixel's channels
  bool rounded;   // to bf16, the parameters apart
};

// The same values lying channels last, without gaps between pixels.
inline Variable channels_last(const Variable& x) {
  const Variable pixels = permute(x, {0, 2, 3, 1});
  return permute(reshape(pixels, pixels.shape()), {0, 3, 1, 2});
}

// Tolerances of results that were rounded to bf16 once, and of those made of such.
inline constexpr double kBf16Rounding = 0x1p-8, kBf16Roundings = 0x1p-7;

// A row is small (compared and gradient-checked) or large (the benchmark's: one slot, nothing differentiable, so that
// the time is the kernel's).
struct OpCase {
  std::string name;  // "conv2d/3x3_s2_odd"
  std::vector<OpInput> inputs;
  // Inputs to one result; what has no gradient is computed on tensors and wrapped.
  std::function<Variable(const std::vector<Variable>&)> run;
  std::vector<KernelSlotBase*> slots = {};  // those this row puts to the test, forward and backward
  // f32 against naive in f64: largest difference over largest magnitude of each result. 2e-6 is 16 roundings; rows
  // that set more say why.
  double tolerance = 2e-6;
  // The same for variants that round their operands (names ending in _tf32, _bf16): a rounding of 2^-11 or 2^-8 in each
  // factor of a product. Of bf16 tensors, every result is rounded, too.
  double tf32_tolerance = 2e-3, bf16_tolerance = 2e-2;
  bool gradcheck = true;  // false where the function has kinks at these inputs, or for size
  const char* not_bf16 = nullptr;   // why the row is not run on bf16 tensors
  const char* row_major = nullptr;  // why its result does not lie channels-last where its inputs do
  bool large = false;
  double flops = 0;  // floating-point operations of the definition, large rows only
  double bytes = 0;  // memory traffic; 0 means every input read and the output written once
};

// A large row: times one kernel; nothing is differentiable.
OpCase timed(const std::string& name, std::vector<OpInput> inputs, KernelSlotBase& slot, double flops,
             std::function<Variable(const std::vector<Variable>&)> run);

const std::vector<OpCase>& op_cases();

std::vector<OpCase> elementwise_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> shape_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> conv2d_cases();
std::vector<OpCase> conv2d_instance_norm_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> pad_cases();
std::vector<OpCase> pool_cases();
std::vector<OpCase> resize_cases();
std::vector<OpCase> grid_sample_cases();
std::vector<OpCase> tile_mlp_cases();
std::vector<OpCase> label_planes_cases();
std::vector<OpCase> loss_cases();
std::vector<OpCase> optim_cases();
std::vector<OpCase> collective_cases();
std::vector<OpCase> composition_cases();
std::vector<OpCase> empty_cases();

std::vector<Variable> make_inputs(const OpCase& row, const Setting& setting, Device device);

// The result, then, if an input is differentiable, the gradient of each such input under a random cotangent.
std::vector<Tensor> evaluate(const OpCase& row, const Setting& setting, Device device);
// What evaluate() gave that is not of its input's dtype, or was packed though it came from channels-last pictures; "" if nothing.
std::string misplaced(const OpCase& row, const Setting& setting, const std::vector<Tensor>& results);

// Largest |a - reference| over largest |reference|; infinite where shapes differ or a value is not finite.
double relative_difference(const Tensor& a, const Tensor& reference);
// The largest of the list's.
double relative_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& reference);

// Forces `naive` in every slot for its life.
class NaiveEverywhere {
 public:
  NaiveEverywhere();
  ~NaiveEverywhere();
  NaiveEverywhere(const NaiveEverywhere&) = delete;
  NaiveEverywhere& operator=(const NaiveEverywhere&) = delete;

 private:
  std::vector<std::string> before_;
};

// A forced variant that does not take its arguments says so on stderr; silent for the life of this, where every variant is
// tried on every row.
class QuietErrors {
 public:
  QuietErrors();
  ~QuietErrors();
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  std::ostringstream nowhere_;
  std::streambuf* before_;
};

// What a variant's name says of its products: f32 unless it ends in _tf32 or _bf16.
Precision precision_of(const std::string& variant);

// For its life, memory that this thread asks for is full of NaN and ends in guard bytes: a kernel that leaves an output
// unwritten or writes past its end is found out.
class PoisonedMemory {
 public:
  PoisonedMemory();

 private:
  ScopedAllocator cpu_, cuda_;
};
// How many blocks of poisoned memory were freed with their guard bytes overwritten.
int64_t overwritten_guards();

// What a row's results in a dtype may differ by at a precision.
double tolerance_at(const OpCase& row, DType dtype, Precision precision);

// naive everywhere, in f64 on the CPU: what everything else is compared with.
std::vector<Tensor> reference(const OpCase& row);

struct VariantCheck {
  bool ran = false;  // false: the variant does not take this row in this dtype
  double difference = 0, tolerance = 0;
  bool passed() const { return difference <= tolerance; }
};
// Runs the row with this variant of this slot, at its precision, naive elsewhere, on poisoned memory. Also used with kernels of your own.
VariantCheck check_variant(const OpCase& row, const std::vector<Tensor>& expected, KernelSlotBase& slot,
                           const std::string& variant, const Setting& setting, Device device);

}  // namespace asap::tests
