// A kernel of your own, start to end: write the function, add it with ONE call, and the table of op cases checks it
// against the definition on every shape; then time it beside the built-in variants on shapes of the model.
// Options: --threads=N and Google Benchmark's. Next: tensor/kernels.h for the contract, tests/op_cases.h for the table.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>

#include "bench/op_timing.h"
#include "tensor/cpu/parallel.h"
#include "tensor/threads.h"

namespace {

using namespace asap;

// Positions o of 0..out-1 whose input o * stride + offset lies in 0..in-1: first and one past the last.
std::pair<int64_t, int64_t> inside(int64_t offset, int64_t stride, int64_t in, int64_t out) {
  const int64_t first = offset < 0 ? (-offset + stride - 1) / stride : 0;
  const int64_t last = in - 1 - offset < 0 ? 0 : (in - 1 - offset) / stride + 1;
  return {first, std::max(first, std::min(out, last))};
}

// Convolution tap by tap: y is the sum of the input planes, each shifted and scaled by one weight. No copy of x, long
// inner loops, but y goes through the cache once per weight.
void conv2d_taps(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t outputs = y.size(1), out_h = y.size(2), out_w = y.size(3);
  const int64_t group_channels = w.size(1), group_outputs = outputs / p.groups;
  const float *from = x.data<float>(), *weights = w.data<float>();
  const auto slope = static_cast<float>(p.activation_slope);
  float* to = y.data<float>();
  cpu::parallel_for(y.size(0) * outputs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t n = plane / outputs, o = plane % outputs, first_channel = o / group_outputs * group_channels;
      float* out = to + plane * out_h * out_w;
      const float* weight = weights + o * group_channels * w.size(2) * w.size(3);
      std::fill_n(out, out_h * out_w, 0.f);
      for (int64_t c = 0; c < group_channels; ++c) {
        const float* in = from + (n * channels + first_channel + c) * height * width;
        for (int64_t kh = 0; kh < w.size(2); ++kh) {
          for (int64_t kw = 0; kw < w.size(3); ++kw, ++weight) {
            const int64_t top = kh * p.dilation.h - p.padding.h, left = kw * p.dilation.w - p.padding.w;
            const auto [row, row_end] = inside(top, p.stride.h, height, out_h);
            const auto [column, column_end] = inside(left, p.stride.w, width, out_w);
            for (int64_t i = row; i < row_end; ++i) {
              const float* in_row = in + (i * p.stride.h + top) * width + left;
              for (int64_t j = column; j < column_end; ++j) out[i * out_w + j] += *weight * in_row[j * p.stride.w];
            }
          }
        }
      }
      const float shift = bias.defined() ? bias.data<float>()[o] : 0.f;
      for (int64_t i = 0; i < out_h * out_w; ++i) {
        const float sum = out[i] + shift;
        out[i] = sum > 0 ? sum : slope * sum;
      }
    }
  });
}

// Zero padding only: the slot's other variants take the rest.
bool takes(const Tensor& x, const Tensor&, const Tensor&, const Conv2dParams& p, const Tensor&) {
  return x.dtype() == DType::f32 && p.pad_mode == PadMode::zero;
}

// Compares with the definition on every row of the table that exercises the slot. Returns how many failed.
int check(KernelSlotBase& slot, const char* variant) {
  int rows = 0, failed = 0;
  for (const tests::OpCase& row : tests::op_cases()) {
    if (row.large || std::find(row.slots.begin(), row.slots.end(), &slot) == row.slots.end()) continue;
    const auto result = tests::check_variant(row, tests::reference(row), slot, variant, DType::f32, Device::cpu);
    if (!result.ran) continue;
    ++rows;
    if (result.passed()) continue;
    ++failed;
    std::printf("%s: differs by %g, tolerance %g\n", row.name.c_str(), result.difference, result.tolerance);
  }
  std::printf("%s=%s: %d rows, %d failed\n", slot.name().c_str(), variant, rows, failed);
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) set_num_threads(std::stoi(argument.substr(10)));
  }
  kernels::conv2d_forward.add(Device::cpu, "mine", conv2d_taps, takes);  // the one call
  if (check(kernels::conv2d_forward, "mine") > 0) return 1;

  const auto peak = bench::measure_machine_peak();
  std::printf("%s\n", peak.str().c_str());
  for (const tests::OpCase& row : tests::op_cases()) {
    if (!row.large || row.slots[0] != &kernels::conv2d_forward) continue;
    for (const std::string& variant : kernels::conv2d_forward.variants(Device::cpu)) {
      bench::register_timing(row, kernels::conv2d_forward, variant, Device::cpu, peak);
    }
  }
  return bench::run_timings();
}
