// The card's ceilings: loops of fused multiply-adds and of tensor-core products on registers (mma.sync) or shared memory
// (wgmma), and a copy of much more than the cache holds. Declared in peak.h.
#include "bench/yardsticks/peak.h"

#include <algorithm>

#include "cuda/common.cuh"
#include "cuda/hopper.cuh"
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

constexpr int kWgmmaRows = 64, kWgmmaColumns = 256, kWgmmaDepth = 64;  // of a round: four products of 16 of k
constexpr int kWgmmaThreads = 256;  // two warpgroups: one multiplies while the other issues
constexpr size_t kWgmmaBytes = (kWgmmaRows + kWgmmaColumns) * kWgmmaDepth * sizeof(bf16);

// Operands in swizzled rows of 128 bytes; all their numbers are alike, so that it does not matter where each lies.
__global__ void __launch_bounds__(kWgmmaThreads, 1) wgmma_kernel(int rounds, float* y) {
  constexpr int kRowBytes = kWgmmaDepth * sizeof(bf16);
  auto* const shared = aligned_shared<uint32_t>();
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(kWgmmaBytes / 4); i += kWgmmaThreads) {
    shared[i] = pack_bf16(1.0f, 0.5f);
  }
  fence_shared_for_async();
  __syncthreads();
  const uint64_t a = matrix_descriptor(shared, 16, 8 * kRowBytes, true);
  const uint64_t b = matrix_descriptor(shared + kWgmmaRows * kRowBytes / 4, 16, 8 * kRowBytes, true);
  float d[kWgmmaColumns / 2] = {};
  for (int round = 0; round < rounds; ++round) {
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kWgmmaDepth / 16; ++part)
      warpgroup_multiply<kWgmmaColumns>(d, a + 2 * part, b + 2 * part);
    warpgroup_commit();
    warpgroup_wait<1>();
  }
  warpgroup_wait<0>(d);
  float total = 0;
#pragma unroll
  for (int i = 0; i < kWgmmaColumns / 2; ++i) total += d[i];
  y[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

// The sum of the bits keeps the compiler from leaving the reads out; it writes nothing unless all of x is zero.
__global__ void read_kernel(const uint4* x, int64_t count, uint32_t* y) {
  uint32_t all = 0;
  for_each_index(count, [&](int64_t i) {
    const uint4 v = x[i];
    all |= v.x | v.y | v.z | v.w;
  });
  if (all == 0) *y = 0;
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
  const auto multiprocessors = static_cast<unsigned>(card().multiprocessors);
  const unsigned blocks = multiprocessors * 8, threads = emulated ? 32 : 256;
  const int rounds = emulated ? 10 : 20000;
  const double warps = static_cast<double>(blocks) * threads / kWarp, chains = static_cast<double>(rounds) * kChains;
  Tensor y = scratch(static_cast<int64_t>(blocks) * 256);
  CardPeak peak;
  peak.f32_flops = 2 * chains * warps * kWarp / best_seconds([&] {
                     launch(fma_kernel, {blocks, threads}, rounds, y.data<float>());
                   });
  if (card().capability >= 80) {
    const double products = chains / 4 * warps;
    peak.tensor_cores = "mma.sync";
    peak.tf32_flops = products * 2 * 16 * 8 * 8 / best_seconds([&] {
                        launch(mma_kernel<false>, {blocks, threads}, rounds / 4, y.data<float>());
                      });
    peak.bf16_flops = products * 2 * 16 * 8 * 16 / best_seconds([&] {
                        launch(mma_kernel<true>, {blocks, threads}, rounds / 4, y.data<float>());
                      });
  }
  if (card_has_wgmma()) {
    const double products = static_cast<double>(rounds / 8) * multiprocessors * (kWgmmaThreads / 128);
    const double flops =
        products * 2 * kWgmmaRows * kWgmmaColumns * kWgmmaDepth / best_seconds([&] {
          launch(wgmma_kernel, {multiprocessors, kWgmmaThreads, kWgmmaBytes}, rounds / 8, y.data<float>());
        });
    if (flops > peak.bf16_flops) {
      peak.tensor_cores = "wgmma";
      peak.bf16_flops = flops;
      // By construction: in tf32 a product has half the depth in the same bytes and the same time.
      peak.tf32_flops = std::max(peak.tf32_flops, flops / 2);
    }
  }
  const int64_t elements = emulated ? 1 << 16 : 1 << 28;
  const Tensor from = Tensor::full({elements}, 1);
  const Tensor on_card = from.to(Device::cuda);
  Tensor to = Tensor::like(on_card);
  peak.bytes_per_second =
      2.0 * static_cast<double>(on_card.bytes()) / best_seconds([&] { kernels::copy.run(Device::cuda, on_card, to); });
  return peak;
}

void flush_cache() {
  static Tensor* much =
      new Tensor(Tensor::full({static_cast<int64_t>(card().l2_bytes) / 2}, 1).to(Device::cuda));  // twice the cache
  launch(read_kernel, {blocks_for(much->numel(), 4), kBlock}, static_cast<const uint4*>(much->raw()), much->numel() / 4,
         static_cast<uint32_t*>(much->raw()));
}

}  // namespace asap::cuda
