// Inputs, evaluation and comparison for the rows of op_cases.h.
#include "tests/op_cases.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <utility>

#include "tensor/caching_allocator.h"

namespace asap::tests {
namespace {

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

DType dtype_of_input(const OpInput& input, DType dtype) {
  if (input.values == Values::indices) return input.compact ? DType::u8 : DType::i32;
  if (input.compact && dtype == DType::f32) return DType::bf16;
  return input.parameter ? sum_dtype(dtype) : dtype;
}

// Values in row-major order as a tensor that lies so or, where it is a picture, channels-last.
template <class T>
Tensor place(const std::vector<T>& values, const Shape& shape, Layout layout, Device device) {
  if (layout == Layout::row_major || shape.rank() != 4) return Tensor::from(values, shape, device);
  const int64_t C = shape[1], plane = shape[2] * shape[3];
  const int64_t pixel = Tensor::empty(shape, dtype_of<T>, Device::cpu, layout).strides()[3];
  const float nobodys = is_floating(dtype_of<T>) ? std::numeric_limits<float>::quiet_NaN() : 0;
  std::vector<T> pixels(static_cast<size_t>(shape[0] * plane * pixel), static_cast<T>(nobodys));
  for (int64_t i = 0; i < shape.numel(); ++i) {
    pixels[static_cast<size_t>((i / (C * plane) * plane + i % plane) * pixel + i / plane % C)] = values[static_cast<size_t>(i)];
  }
  return Tensor::from(pixels, {shape[0], shape[2], shape[3], pixel}, device).slice(3, 0, C).permute({0, 3, 1, 2});
}

// Computed on the host and then converted, so that no kernel under test has a hand in it.
Tensor draw_tensor(const OpInput& input, const Setting& setting, Device device, std::mt19937_64& random) {
  const bool rounded = input.compact || (setting.rounded && !input.parameter);
  std::vector<float> values(static_cast<size_t>(input.shape.numel()));
  for (float& value : values) {
    value = static_cast<float>(draw(input, random));
    if (rounded && input.values != Values::indices) value = bf16(value);
  }
  const Layout layout = input.layout == Layout::channels_last ? input.layout : setting.layout;
  return dispatch_all(dtype_of_input(input, setting.dtype), [&](auto tag) {
    return place(std::vector<decltype(tag)>(values.begin(), values.end()), input.shape, layout, device);
  });
}

// Whether a picture of this shape lies in one layout only.
bool has_layout(const Shape& x) { return x.rank() == 4 && x.numel() > 0 && x[1] > 1 && x[2] * x[3] > 1; }
bool is_packed(const Tensor& x) { return has_layout(x.shape()) && x.is_contiguous(); }

std::vector<double> host_values(const Tensor& x) {
  return dispatch_all(x.dtype(), [&](auto tag) {
    const auto values = x.to_vector<decltype(tag)>();
    return std::vector<double>(values.begin(), values.end());
  });
}

}  // namespace

OpCase timed(const std::string& name, std::vector<OpInput> inputs, KernelSlotBase& slot, double flops,
             std::function<Variable(const std::vector<Variable>&)> run) {
  for (OpInput& input : inputs) input.differentiable = false;
  return {.name = name, .inputs = std::move(inputs), .run = std::move(run), .slots = {&slot}, .large = true, .flops = flops};
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> all = [] {
    std::vector<OpCase> rows;
    for (const auto& family : {elementwise_cases, reduce_cases, shape_cases, matmul_cases, conv2d_cases, conv2d_instance_norm_cases, norm_cases,
                               pad_cases, pool_cases, resize_cases, grid_sample_cases, tile_mlp_cases, label_planes_cases, loss_cases,
                               optim_cases, collective_cases, composition_cases, empty_cases}) {
      for (OpCase& row : family()) rows.push_back(std::move(row));
    }
    return rows;
  }();
  return all;
}

std::vector<Variable> make_inputs(const OpCase& row, const Setting& setting, Device device) {
  std::mt19937_64 random(1);
  std::vector<Variable> inputs;
  for (const OpInput& input : row.inputs) {
    inputs.emplace_back(draw_tensor(input, setting, device, random),
                        input.differentiable && input.values != Values::indices);
  }
  return inputs;
}

std::vector<Tensor> evaluate(const OpCase& row, const Setting& setting, Device device) {
  std::vector<Variable> inputs = make_inputs(row, setting, device);
  for (Variable& input : inputs) {
    if (!input.requires_grad()) continue;
    // Behind an op that does nothing, the gradient stays as it comes: that of a leaf is packed.
    input = make_result("input", input.value(), {input},
                        [](const Tensor& dy, std::span<const bool>) { return std::vector<Tensor>{dy}; });
    input.retain_grad();
  }
  const Variable y = row.run(inputs);
  std::vector<Tensor> results{y.value()};
  if (!y.requires_grad()) return results;
  std::mt19937_64 random(2);
  y.backward(draw_tensor(normal(y.shape()), {y.dtype(), setting.layout, setting.rounded}, device, random));
  for (const Variable& input : inputs) {
    if (input.requires_grad()) results.push_back(input.grad());
  }
  return results;
}

std::string misplaced(const OpCase& row, const Setting& setting, const std::vector<Tensor>& results) {
  const bool last = setting.layout == Layout::channels_last && !row.row_major && has_layout(row.inputs[0].shape);
  std::string found = last && is_packed(results[0]) ? "the result is packed; " : "";
  // Gradients of weights, which come behind x, may lie as they like; so may x's where the cotangent's layout is open.
  if (last && row.inputs[0].differentiable && results.size() > 1 && has_layout(results[0].shape()) && is_packed(results[1])) {
    found += "the first gradient is packed; ";
  }
  size_t k = 1;
  for (const OpInput& input : row.inputs) {
    if (!input.differentiable || input.values == Values::indices || k == results.size()) continue;
    if (results[k].dtype() != dtype_of_input(input, setting.dtype)) found += str("gradient ", k, " is ", results[k].dtype(), "; ");
    ++k;
  }
  return found;
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

namespace {

std::atomic<int64_t> overwritten{0};

// Blocks of the device's own allocator, kGuardBytes longer than asked for.
class PoisonedAllocator final : public Allocator {
 public:
  explicit PoisonedAllocator(Device device) : device_(device) {}
  Block allocate(size_t bytes) override {
    const Block block = caching_allocator(device_)->allocate(bytes + kGuardBytes);
    std::vector<unsigned char> content(bytes + kGuardBytes, 0xFF);
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(bytes), kGuardBytes, kGuard);
    backend(device_).copy_from_host(content.data(), block.memory, content.size());
    const std::lock_guard lock(mutex_);
    asked_[block.memory] = bytes;
    return block;
  }
  void deallocate(Block block) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      std::array<unsigned char, kGuardBytes> guard;
      backend(device_).copy_to_host(static_cast<char*>(block.memory) + asked_[block.memory], guard.data(), kGuardBytes);
      if (std::any_of(guard.begin(), guard.end(), [](unsigned char byte) { return byte != kGuard; })) ++overwritten;
    }
    caching_allocator(device_)->deallocate(block);
  }

 private:
  static constexpr size_t kGuardBytes = 64;
  static constexpr unsigned char kGuard = 0xA5;
  Device device_;
  std::mutex mutex_;
  std::map<void*, size_t> asked_;  // bytes
};

}  // namespace

PoisonedMemory::PoisonedMemory()
    : cpu_(Device::cpu, std::make_shared<PoisonedAllocator>(Device::cpu)),
      cuda_(Device::cuda, std::make_shared<PoisonedAllocator>(Device::cuda)) {}
int64_t overwritten_guards() { return overwritten; }

Precision precision_of(const std::string& variant) {
  if (variant.ends_with("_tf32")) return Precision::tf32;
  return variant.ends_with("_bf16") ? Precision::bf16 : Precision::f32;
}

double tolerance_at(const OpCase& row, DType dtype, Precision precision) {
  if (dtype == DType::f64) return 1e-12;  // sums in another order differ by a few roundings of 1e-16
  if (dtype == DType::bf16) precision = Precision::bf16;
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
                           const std::string& variant, const Setting& setting, Device device) {
  const NaiveEverywhere naive;
  const ForcedVariant forced(slot, variant);
  const PoisonedMemory poisoned;
  const QuietErrors quiet;
  const ScopedPrecision precision(precision_of(variant));
  slot.forget_last_variant();
  const std::vector<Tensor> results = evaluate(row, setting, device);
  return {.ran = slot.last_variant() == variant,
          .difference = relative_difference(results, expected),
          .tolerance = tolerance_at(row, setting.dtype, current_precision())};
}

}  // namespace asap::tests
