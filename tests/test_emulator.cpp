// The emulator that executes the CUDA kernels on the CPU: what it computes must be what a card computes, and the mistakes it
// is there to find must be found. Runs on the emulated backend alone. See cuda/emulate/fibers.h, cuda/mma.cuh,
// cuda/hopper.cuh; what only Hopper has is test_emulator_hopper.cpp's.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <thread>

#include "bench/yardsticks/peak.h"
#include "cuda/common.cuh"
#include "cuda/hopper.cuh"
#include "cuda/mma.cuh"
#include "tests/support/emulated_card.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::cuda;
using namespace asap::tests;

namespace {

// y[block] = sum of the block's 256 numbers.
void sum_blocks(const float* x, float* y) {
  const float total = block_reduce(x[blockIdx.x * blockDim.x + threadIdx.x], 0.0f);
  if (threadIdx.x == 0) y[blockIdx.x] = total;
}

// Every thread hands its number to its neighbour through shared memory, with or without the barrier that this needs.
template <bool WithBarrier>
void rotate(const float* x, float* y) {
  ASAP_SHARED(float, values, [64]);
  values[threadIdx.x] = x[threadIdx.x];
  if (WithBarrier) __syncthreads();
  y[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

void barrier_of_half() {
  if (threadIdx.x < 32) __syncthreads();
}
// Threads from `first` on wait at a barrier below frames of kBytes; the others do not come.
template <size_t kBytes>
__attribute__((noinline)) void wait_below(int depth) {
  volatile char locals[kBytes];
  for (volatile char& local : locals) local = 1;
  if (depth > 0) wait_below<kBytes>(depth - 1);
  if (depth == 0) __syncthreads();
  locals[0] = 2;
}
template <size_t kBytes>
void barrier_below_frames(int first) {
  if (static_cast<int>(threadIdx.x) >= first) wait_below<kBytes>(20);
}
void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
void shuffle_of_half(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = warp_reduce(1.0f);
}
void beyond_shared(float* y, int index) {
  ASAP_SHARED(float, values, [4][8]);
  values[1][threadIdx.x] = 1.0f;
  y[threadIdx.x] = values[1][index];
}

// Copies 128 floats to shared memory asynchronously; `wait` leaves out the waiting.
void copy_through(const float* x, float* y, bool wait) {
  auto* buffer = dynamic_shared<float>();
  copy_async<16>(&buffer[threadIdx.x * 4], &x[threadIdx.x * 4], threadIdx.x != 3);
  copy_commit();
  if (wait) copy_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = buffer[threadIdx.x * 4 + i];
}

// One warp: D = A B with A [16,8] row-major and B [8,8] row-major (k, n).
void product_tf32(const float* a, const float* b, float* d) {
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  const uint32_t ra[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                          to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t rb[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float rd[4] = {};
  mma_tf32(rd, ra, rb);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

// One warp: D = A B with A [16,16] row-major and B [16,8] column by column in shared memory, read by ldmatrix.
void product_bf16(const float* a, const float* b, float* d) {
  auto* sa = dynamic_shared<bf16>();
  bf16* sb = sa + 256;
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) sa[i] = to_bf16(a[i]);
  for (int i = lane; i < 128; i += 32) sb[i % 8 * 16 + i / 8] = to_bf16(b[i]);
  __syncwarp();
  uint32_t ra[4], rb[4];
  load_matrices(ra, &sa[lane % 16 * 16 + lane / 16 * 8]);
  load_matrices(rb, &sb[lane % 8 * 16 + lane / 8 % 2 * 8]);
  const uint32_t first[2] = {rb[0], rb[1]};
  float rd[4] = {};
  mma_bf16(rd, ra, first);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

double largest_product_error(int k, const std::vector<float>& a, const std::vector<float>& b,
                             const std::vector<float>& d) {
  double worst = 0;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int l = 0; l < k; ++l)
        sum += static_cast<double>(a[static_cast<size_t>(i * k + l)]) * b[static_cast<size_t>(l * 8 + j)];
      worst = std::max(worst, std::abs(sum - d[static_cast<size_t>(i * 8 + j)]));
    }
  }
  return worst;
}

// y[block] = sum of the numbers of the block's cluster, which its blocks read from each other's shared memory.
enum class Without { nothing, first_barrier, last_barrier };
void sum_clusters(const float* x, float* y, Without without) {
  auto* sum = dynamic_shared<float>();
  const float own = block_reduce(x[blockIdx.x * blockDim.x + threadIdx.x], 0.0f);
  if (threadIdx.x == 0) *sum = own;
  if (without != Without::first_barrier) cluster_barrier();
  float total = 0;
  for (int rank = 0; rank < emulate::cluster_size(); ++rank) total += *of_block(sum, rank);
  if (without != Without::last_barrier) {
    cluster_arrive();
    cluster_wait();
  }
  if (threadIdx.x == 0) y[blockIdx.x] = total;
}
// The left neighbour's number, put there by the block itself; `early` writes before it is known that the other block runs.
void send_right(const float* x, float* y, bool early) {
  auto* place = dynamic_shared<float>();
  if (!early) cluster_barrier();
  *of_block(place, (cluster_rank() + 1) % emulate::cluster_size()) = x[blockIdx.x];
  cluster_barrier();
  y[blockIdx.x] = *place;
}
void one_block_ends_early() {
  if (cluster_rank() != 1) cluster_barrier();
}
void one_block_at_its_own_barrier() {
  if (cluster_rank() == 1) {
    if (threadIdx.x == 0) __syncthreads();
    cluster_barrier();
  } else {
    cluster_barrier();
  }
}
void arrives_twice() {
  cluster_arrive();
  cluster_arrive();
}
void reads_of_ended_block(float* y) {
  auto* place = dynamic_shared<float>();
  *place = 1;
  if (cluster_rank() == 0) return;
  for (int i = 0; i < 3; ++i) __syncthreads();
  y[0] = *of_block(place, 0);
}
void waits_for_previous(bool waits) {
  let_next_kernel_start();
  if (waits || threadIdx.x > 0) wait_for_previous_kernel();
}
void writes_behind_shared() { dynamic_shared<char>()[100] = 1; }

}  // namespace

TEST_CASE("barriers, shuffles and shared memory: a block's sum in any order of threads") {
  tests::ran();
  const std::vector<float> x = random_values(1024);
  const Tensor on = on_card(x);
  std::vector<float> first;
  for (const auto order :
       {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
    const Order guard(order);
    Tensor y = Tensor::zeros({4}, DType::f32, Device::cuda);
    launch(sum_blocks, {4, 256}, on.data<float>(), y.data<float>());
    const std::vector<float> sums = y.to_vector<float>();
    double wanted = 0;
    for (size_t i = 0; i < 256; ++i) wanted += x[i];
    CHECK(std::abs(sums[0] - wanted) < 1e-4);
    if (first.empty()) first = sums;
    CHECK(first == sums);
  }
}

TEST_CASE("a missing barrier shows, at the latest when threads run backwards") {
  const std::vector<float> x = random_values(64);
  const Tensor on = on_card(x);
  std::vector<float> wanted(x.begin() + 1, x.end());
  wanted.push_back(x[0]);
  int wrong = 0;
  for (const auto order : {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse}) {
    const Order guard(order);
    Tensor y = Tensor::zeros({64}, DType::f32, Device::cuda);
    launch(rotate<true>, {1, 64}, on.data<float>(), y.data<float>());
    CHECK(y.to_vector<float>() == wanted);
    launch(rotate<false>, {1, 64}, on.data<float>(), y.data<float>());
    wrong += y.to_vector<float>() != wanted;
  }
  CHECK(wrong >= 1);
}

TEST_CASE("what a card would hang or corrupt memory at is an error that names the kernel") {
  Tensor y = Tensor::zeros({64}, DType::f32, Device::cuda);
  CHECK(error_of([&] { launch(barrier_of_half, {1, 64}); }).find("has ended, but thread") != std::string::npos);
  CHECK(error_of([&] { launch(two_barriers, {1, 64}); }).find("wait at different barriers") != std::string::npos);
  CHECK(error_of([&] { launch(shuffle_of_half, {1, 32}, y.data<float>()); }).find("never come") != std::string::npos);
  CHECK(error_of([&] {
          launch(beyond_shared, {1, 8}, y.data<float>(), 8);
        }).find("index 8 of a shared array of 8") != std::string::npos);
  CHECK(error_of([&] { launch(beyond_shared, {1, 8}, y.data<float>(), 7); }).empty());
  CHECK(error_of([&] {
          launch(barrier_of_half, {1, 2048});
        }).find("invalid configuration argument") != std::string::npos);
  CHECK(error_of([&] { launch(barrier_of_half, {1, 32, 300 << 10}); }).find("shared memory") != std::string::npos);
}

// The host's thread ends with the kernel's threads still in the middle. The next one's stacks lie where theirs lay, and
// AddressSanitizer must have forgotten what lay there.
TEST_CASE("threads that an error left in the middle leave nothing behind where others come to lie") {
  tests::ran();
  std::string error, other;
  std::thread([&] { error = error_of([] { launch(barrier_below_frames<40>, {1, 64}, 60); }); }).join();
  CHECK(error.find("has ended, but thread") != std::string::npos);
  std::thread([&] { other = error_of([] { launch(barrier_below_frames<104>, {1, 64}, 0); }); }).join();
  CHECK(other.empty());
}

TEST_CASE("an asynchronous copy arrives when it is waited for, and not before") {
  const std::vector<float> x = random_values(128);
  const Tensor on = on_card(x);
  Tensor y = Tensor::zeros({128}, DType::f32, Device::cuda);
  launch(copy_through, {1, 32, 512}, on.data<float>(), y.data<float>(), true);
  std::vector<float> wanted = x;
  for (size_t i = 12; i < 16; ++i) wanted[i] = 0;  // the copy that was not valid
  CHECK(y.to_vector<float>() == wanted);
  launch(copy_through, {1, 32, 512}, on.data<float>(), y.data<float>(), false);
  CHECK(std::isnan(y.to_vector<float>()[0]));
}

TEST_CASE("tensor-core products: registers lie as the PTX manual says") {
  Tensor d = Tensor::zeros({128}, DType::f32, Device::cuda);
  {
    const std::vector<float> a = random_values(16 * 8), b = random_values(8 * 8, 2);
    launch(product_tf32, {1, 32}, on_card(a).data<float>(), on_card(b).data<float>(), d.data<float>());
    const double error = largest_product_error(8, a, b, d.to_vector<float>());
    CHECK(error < 1e-2);
    CHECK(error > 1e-6);  // operands were rounded
  }
  {
    const std::vector<float> a = random_values(16 * 16), b = random_values(16 * 8, 2);
    launch(product_bf16, {1, 32, 768}, on_card(a).data<float>(), on_card(b).data<float>(), d.data<float>());
    const double error = largest_product_error(16, a, b, d.to_vector<float>());
    CHECK(error < 1e-1);
    CHECK(error > 1e-5);
  }
}

TEST_CASE("blocks of a cluster read each other's shared memory, in any order of threads") {
  for (const auto order :
       {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
    const Order guard(order);
    for (const auto& [cluster, threads] : {std::pair{1u, 64u}, {2u, 256u}, {4u, 64u}, {16u, 512u}}) {
      const std::vector<float> x = small_integers(size_t{2} * cluster * threads, 5);
      Tensor y = Tensor::zeros({2 * cluster}, DType::f32, Device::cuda);
      launch(sum_clusters, Launch(2 * cluster, threads, 4).in_clusters(cluster), on_card(x).data<float>(),
             y.data<float>(), Without::nothing);
      const std::vector<float> sums = y.to_vector<float>();
      for (size_t block = 0; block < sums.size(); ++block) {
        const auto first = x.begin() + static_cast<int64_t>(block / cluster * cluster * threads);
        CHECK(sums[block] == std::accumulate(first, first + cluster * threads, 0.0f));
      }
    }
    Tensor y = Tensor::zeros({4}, DType::f32, Device::cuda);
    launch(send_right, Launch(4, 32, 4).in_clusters(4), on_card({1, 2, 3, 4}).data<float>(), y.data<float>(), false);
    CHECK(y.to_vector<float>() == std::vector<float>{4, 1, 2, 3});
  }
}

TEST_CASE("a missing barrier of a cluster shows in one of the orders") {
  const std::vector<float> x = small_integers(4 * 64, 6);
  const Tensor on = on_card(x);
  int wrong_first = 0, wrong_last = 0, wrong_early = 0;
  for (const auto order : {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse}) {
    const Order guard(order);
    const auto sums = [&](Without without) {
      Tensor y = Tensor::zeros({4}, DType::f32, Device::cuda);
      launch(sum_clusters, Launch(4, 64, 4).in_clusters(4), on.data<float>(), y.data<float>(), without);
      return y.to_vector<float>();
    };
    const auto fails = [&](Without without) {
      bool wrong = false;
      const std::string error = error_of([&] { wrong = sums(without) != sums(Without::nothing); });
      return wrong || error.find("which has ended") != std::string::npos;
    };
    wrong_first += fails(Without::first_barrier);
    wrong_last += fails(Without::last_barrier);
    Tensor y = Tensor::zeros({4}, DType::f32, Device::cuda);
    launch(send_right, Launch(4, 32, 4).in_clusters(4), on_card({1, 2, 3, 4}).data<float>(), y.data<float>(), true);
    wrong_early += y.to_vector<float>() != std::vector<float>{4, 1, 2, 3};
  }
  CHECK(wrong_first >= 1);
  CHECK(wrong_last >= 1);
  CHECK(wrong_early >= 1);
}

TEST_CASE("what a cluster would hang at, and launches that overlap without waiting, are errors") {
  Tensor y = Tensor::zeros({1}, DType::f32, Device::cuda);
  const auto error = [&](auto kernel, auto... arguments) {
    return error_of([&] { launch(kernel, Launch(2, 64, 4).in_clusters(2), arguments...); });
  };
  CHECK(error(one_block_ends_early).find("block (1,0,0) thread (0,0,0) has ended, but block (0,0,0)") !=
        std::string::npos);
  CHECK(error(one_block_at_its_own_barrier).find("wait at different barriers") != std::string::npos);
  CHECK(error(arrives_twice).find("twice without waiting") != std::string::npos);
  CHECK(error(reads_of_ended_block, y.data<float>()).find("which has ended") != std::string::npos);
  CHECK(error_of([&] { launch(one_block_ends_early, Launch(3, 64).in_clusters(2)); }).find("in clusters of 2") !=
        std::string::npos);
  CHECK(error_of([&] {
          launch(waits_for_previous, Launch(1, 64).overlapping(), false);
        }).find("thread (0,0,0): was launched overlapping()") != std::string::npos);
  launch(waits_for_previous, Launch(1, 64).overlapping(), true);
  launch(waits_for_previous, {1, 64}, false);
  CHECK(error_of([&] {
          launch(writes_behind_shared, {1, 32, 100});
        }).find("behind its dynamic shared memory") != std::string::npos);
}

TEST_CASE("a capture that fails tells what went wrong first, and the next one works") {
  Tensor x = Tensor::ones({256}, DType::f32, Device::cuda), kept;
  const auto capture = [&](bool fails) {
    return error_of([&] {
      backend(Device::cuda).capture([&] {
        kept = x.clone();  // outlives the work
        ASAP_CHECK(!fails, "the work's own error");
      });
    });
  };
  CHECK(capture(true) == "the work's own error");
  CHECK(kept.to_vector<float>()[255] == 1);
  CHECK(capture(false).find("outlives the capture") != std::string::npos);
  kept = Tensor();
  CHECK(backend(Device::cuda).capture([&] { x.fill(2); }) != nullptr);
}

TEST_CASE("a captured graph does its work when it is replayed") {
  Tensor x = Tensor::zeros({256}, DType::f32, Device::cuda), y = Tensor::zeros({256}, DType::f32, Device::cuda);
  const auto graph = backend(Device::cuda).capture([&] {
    const Tensor middle = x.clone();  // scratch memory of the graph
    kernels::copy.run(Device::cuda, middle, y);
  });
  x.fill(3);
  const Tensor other = Tensor::full({256}, 7, DType::f32, Device::cuda);  // must not get the graph's scratch memory
  CHECK(y.to_vector<float>()[0] == 0);
  graph->replay();
  CHECK(y.to_vector<float>()[255] == 3);
  CHECK(other.to_vector<float>()[0] == 7);
}

TEST_CASE("the kernels behind the benchmarks' ceilings run") {
  const CardPeak peak = measure_card_peak();
  for (const double rate : {peak.f32_flops, peak.tf32_flops, peak.bf16_flops, peak.bytes_per_second}) CHECK(rate > 0);
  CHECK((peak.tensor_cores == "mma.sync" || peak.tensor_cores == "wgmma"));
  flush_cache();
}
