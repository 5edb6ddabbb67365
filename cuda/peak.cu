// The card's ceilings: registers-only loops of fused multiply-adds and of tensor-core products, and a copy of much more than
// the cache holds. Declared in peak.h.
#include "cuda/peak.h"

#include <algorithm>

#include "cuda/common.cuh"
#include "cuda/mma.cuh"

namespace asap::cuda {
namespace {

constexpr int kChains = 8;  // independent sums of a thread: enough to fill the pipeline
constexpr int kRepetitions = 9;

__global__ void fma_kernel(int rounds, float* y) {
  float sum[kChains], factor = 1.0f + 1e-7f * static_cast<float>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < kChains; ++i) sum[i] = static_cast<float>(i);
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) sum[i] = fmaf(sum[i], factor, 0.5f);
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += sum[i];
  y[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

template <bool Bf16>
__global__ void mma_kernel(int rounds, float* y) {
  float d[kChains][4] = {};
  const uint32_t value = Bf16 ? pack_bf16(1.0f, 0.5f) : to_tf32(0.5f);
  const uint32_t a[4] = {value, value, value, value}, b[2] = {value, value};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
      if constexpr (Bf16) {
        mma_bf16(d[i], a, b);
      } else {
        mma_tf32(d[i], a, b);
      }
    }
  }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += d[i][0] + d[i][1] + d[i][2] + d[i][3];
  y[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

// The best of some runs: other load only ever makes a card look slower.
template <class F>
double best_seconds(F&& run) {
  run();
  Timer timer;
  double best = 1e30;
  for (int i = 0; i < kRepetitions; ++i) {
    timer.start();
    run();
    best = std::min(best, timer.stop());
  }
  return best;
}

}  // namespace

CardPeak measure_card_peak() {
  const bool emulated = is_emulated();
  const unsigned blocks = static_cast<unsigned>(card().multiprocessors) * 8, threads = emulated ? 32 : 256;
  const int rounds = emulated ? 10 : 20000;
  const double warps = static_cast<double>(blocks) * threads / kWarp, chains = static_cast<double>(rounds) * kChains;
  Tensor y = scratch(static_cast<int64_t>(blocks) * threads);
  CardPeak peak;
  peak.f32_flops = 2 * chains * warps * kWarp / best_seconds([&] {
                     launch(fma_kernel, {blocks, threads}, rounds, y.data<float>());
                   });
  if (card().capability >= 80) {
    const double products = chains / 4 * warps;
    peak.tf32_flops = products * 2 * 16 * 8 * 8 / best_seconds([&] {
                        launch(mma_kernel<false>, {blocks, threads}, rounds / 4, y.data<float>());
                      });
    peak.bf16_flops = products * 2 * 16 * 8 * 16 / best_seconds([&] {
                        launch(mma_kernel<true>, {blocks, threads}, rounds / 4, y.data<float>());
                      });
  }
  const int64_t elements = emulated ? 1 << 16 : 1 << 28;
  const Tensor from = Tensor::full({elements}, 1);
  const Tensor on_card = from.to(Device::cuda);
  Tensor to = Tensor::like(on_card);
  peak.bytes_per_second =
      2.0 * static_cast<double>(on_card.bytes()) / best_seconds([&] { kernels::copy.run(Device::cuda, on_card, to); });
  return peak;
}

std::string CardPeak::str() const {
  const auto tera = [](double x) { return std::to_string(x / 1e12).substr(0, 6); };
  return card().name + ": " + tera(f32_flops) + " TFLOP/s float32, " + tera(tf32_flops) + " tf32, " + tera(bf16_flops) +
         " bf16 (mma.sync), " + tera(bytes_per_second) + " TB/s";
}

void flush_cache() {
  static Tensor* much = new Tensor(scratch(static_cast<int64_t>(card().l2_bytes) / 2));  // twice the cache
  much->fill(1);
}

}  // namespace asap::cuda
