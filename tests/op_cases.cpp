// Inputs, evaluation and comparison for the rows of op_cases.h.
#include "tests/op_cases.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <utility>

namespace asap::tests {
namespace {

class PoisonedMemory {
 public:
  PoisonedMemory() { set_poison_new_memory(true); }
  ~PoisonedMemory() { set_poison_new_memory(false); }
};

double draw(const OpInput& input, std::mt19937_64& random) {
  const double u = std::uniform_real_distribution<double>()(random);
  switch (input.values) {
    case Values::normal: return input.scale * std::normal_distribution<double>()(random);
    case Values::positive: return 0.5 + 1.5 * u;
    case Values::off_zero: return (random() % 2 ? 1 : -1) * (0.1 + 1.4 * u);
    case Values::unit: return u;
    case Values::ties: return static_cast<double>(random() % 3) - 1;
    case Values::indices: return static_cast<double>(random() % static_cast<uint64_t>(input.classes));
  }
  fail("op_cases: unknown kind of values");
}

// Computed on the host and then converted, so that no kernel under test has a hand in it.
Tensor draw_tensor(const OpInput& input, DType dtype, Device device, std::mt19937_64& random) {
  std::vector<float> values(static_cast<size_t>(input.shape.numel()));
  for (float& value : values) value = static_cast<float>(draw(input, random));
  if (input.values == Values::indices) {
    if (input.compact) return Tensor::from(std::vector<uint8_t>(values.begin(), values.end()), input.shape, device);
    return Tensor::from(std::vector<int32_t>(values.begin(), values.end()), input.shape, device);
  }
  if (input.compact) {
    const std::vector<bf16> rounded(values.begin(), values.end());
    if (dtype == DType::f32) return Tensor::from(rounded, input.shape, device);
    values.assign(rounded.begin(), rounded.end());
  }
  if (dtype == DType::f32) return Tensor::from(values, input.shape, device);
  return Tensor::from(std::vector<double>(values.begin(), values.end()), input.shape, device);
}

std::vector<double> host_values(const Tensor& x) {
  return dispatch_all(x.dtype(), [&](auto tag) {
    const auto values = x.to_vector<decltype(tag)>();
    return std::vector<double>(values.begin(), values.end());
  });
}

}  // namespace

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all = [] {
    std::vector<OpCase> rows;
    for (const auto& family : {elementwise_cases, reduce_cases, shape_cases, linear_cases, conv_cases, conv_norm_cases, norm_cases,
                               spatial_cases, tile_mlp_cases, inference_cases, loss_cases, optim_cases,
                               empty_cases}) {
      for (OpCase& row : family()) rows.push_back(std::move(row));
    }
    return rows;
  }();
  return all;
}

std::vector<Variable> make_inputs(const OpCase& row, DType dtype, Device device) {
  std::mt19937_64 random(1);
  std::vector<Variable> inputs;
  for (const OpInput& input : row.inputs) {
    Tensor values = draw_tensor(input, dtype, device, random);
    if (input.layout == Layout::channels_last) {
      // A copy also of what is channels-last as it is: its pixels are aligned, with whatever lies between them.
      const Tensor drawn = std::exchange(values, Tensor::empty(input.shape, values.dtype(), device, input.layout));
      values.copy_from(drawn);
    }
    inputs.emplace_back(values, input.differentiable && input.values != Values::indices);
  }
  return inputs;
}

std::vector<Tensor> evaluate(const OpCase& row, DType dtype, Device device) {
  const std::vector<Variable> inputs = make_inputs(row, dtype, device);
  const Variable y = row.run(inputs);
  std::vector<Tensor> results{y.value()};
  if (!y.requires_grad()) return results;
  std::mt19937_64 random(2);
  y.backward(draw_tensor(normal(y.shape()), dtype, device, random));
  for (const Variable& input : inputs) {
    if (input.requires_grad()) results.push_back(input.grad());
  }
  return results;
}

double relative_difference(const Tensor& a, const Tensor& reference) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.defined() != reference.defined()) return kInfinity;
  if (!a.defined()) return 0;
  if (a.shape() != reference.shape()) return kInfinity;
  const std::vector<double> x = host_values(a), y = host_values(reference);
  double largest = 0, difference = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i]) || !std::isfinite(y[i])) return kInfinity;
    difference = std::max(difference, std::abs(x[i] - y[i]));
    largest = std::max(largest, std::abs(y[i]));
  }
  return difference == 0 ? 0 : difference / std::max(largest, std::numeric_limits<double>::min());
}

double relative_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& reference) {
  if (a.size() != reference.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, relative_difference(a[i], reference[i]));
  return worst;
}

NaiveEverywhere::NaiveEverywhere() {
  for (KernelSlotBase* slot : all_kernel_slots()) {
    before_.push_back(slot->forced());
    if (!slot->variants(Device::cpu).empty()) slot->force("naive");
  }
}

NaiveEverywhere::~NaiveEverywhere() {
  const auto& slots = all_kernel_slots();
  for (size_t i = 0; i < slots.size(); ++i) slots[i]->force(before_[i]);
}

QuietErrors::QuietErrors() : before_(std::cerr.rdbuf(nowhere_.rdbuf())) {}
QuietErrors::~QuietErrors() { std::cerr.rdbuf(before_); }

Precision precision_of(const std::string& variant) {
  if (variant.ends_with("_tf32")) return Precision::tf32;
  return variant.ends_with("_bf16") ? Precision::bf16 : Precision::f32;
}

double tolerance_at(const OpCase& row, Precision precision) {
  switch (precision) {
    case Precision::f32: return row.tolerance;
    case Precision::tf32: return std::max(row.tolerance, row.tf32_tolerance);
    case Precision::bf16: return std::max(row.tolerance, row.bf16_tolerance);
  }
  fail("op_cases: unknown precision");
}

std::vector<Tensor> reference(const OpCase& row) {
  const NaiveEverywhere naive;
  return evaluate(row, DType::f64, Device::cpu);
}

VariantCheck check_variant(const OpCase& row, const std::vector<Tensor>& expected, KernelSlotBase& slot,
                           const std::string& variant, DType dtype, Device device) {
  const NaiveEverywhere naive;
  const ForcedVariant forced(slot, variant);
  const PoisonedMemory poisoned;
  const QuietErrors quiet;
  const ScopedPrecision precision(precision_of(variant));
  slot.forget_last_variant();
  const std::vector<Tensor> results = evaluate(row, dtype, device);
  return {.ran = slot.last_variant() == variant,
          .difference = relative_difference(results, expected),
          // f64: sums in another order differ by a few roundings of 1e-16.
          .tolerance = dtype == DType::f64 ? 1e-12 : tolerance_at(row, current_precision())};
}

}  // namespace asap::tests
