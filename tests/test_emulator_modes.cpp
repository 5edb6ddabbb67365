// What the emulator finds in its sharper modes, and what it always refuses: copies that come early, a host that does not wait,
// launches that a card refuses, accesses that are not aligned, sums that are cut off. Each by code that is wrong on purpose
// and passes without the mode that finds it. See cuda/emulate/options.h; test_emulator.cpp for the rest.
#include <doctest/doctest.h>

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#include "tests/support/child.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::cuda;
using tests::contains, tests::error_of, tests::in_child;

namespace {

Tensor on_card(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, Device::cuda);
}
Tensor zeros_on_card() { return Tensor::zeros({64}, DType::f32, Device::cuda); }

// Options of the emulator for its life.
class With {
 public:
  template <class Change>
  explicit With(const Change& change) {
    change(emulate::options());
  }
  ~With() {
    cudaStreamSynchronize(stream());
    emulate::options() = before_;
  }

 private:
  const emulate::Options before_ = emulate::options();
};
class Order : With {
 public:
  explicit Order(emulate::ThreadOrder order) : With([=](auto& options) { options.order = order; }) {}
};
class Early : With {
 public:
  Early() : With([](auto& options) { options.copies_early = true; }) {}
};
class Queued : With {
 public:
  explicit Queued(bool queued = true) : With([=](auto& options) { options.queued = queued; }) {}
};

// y[i] = sum over steps of the neighbour's number, times the step's: through two buffers, each filled again two steps ahead.
// Without the barrier it may be filled while others still read it.
constexpr int kPipelineSteps = 5;
template <bool WithBarrier>
void sum_through_ring(const float* x, float* y) {
  auto* ring = dynamic_shared<float>();
  const auto copy = [&](int step) {
    if (step < kPipelineSteps) copy_async<4>(&ring[step % 2 * 64 + threadIdx.x], &x[step * 64 + threadIdx.x]);
    copy_commit();
  };
  copy(0);
  copy(1);
  float sum = 0;
  for (int step = 0; step < kPipelineSteps; ++step) {
    copy_wait<1>();
    __syncthreads();
    sum += static_cast<float>(step + 1) * ring[step % 2 * 64 + (threadIdx.x + 1) % 64];
    if (WithBarrier) __syncthreads();
    copy(step + 2);
  }
  y[threadIdx.x] = sum;
}

void fill_with(float* y, float value) { y[threadIdx.x] = value; }
void read_four(const float* x, float* y) { *reinterpret_cast<float4*>(y) = *reinterpret_cast<const float4*>(x); }
void much_static_shared(float* y) {
  ASAP_SHARED(float, values, [10 << 10]);
  values[0] = 1;
  y[0] = values[0];
}

void index_of_shared(float* y, int index) {
  ASAP_SHARED(float, values, [8]);
  values[threadIdx.x] = 1;
  y[threadIdx.x] = values[index];
}

// One warp: d[0] = start + the sum of 16 products.
void dot(const float* a, const float* b, float start, float* d) {
  const int t = static_cast<int>(threadIdx.x) % 4;
  const uint32_t ra[4] = {pack_bf16(a[2 * t], a[2 * t + 1]), 0, pack_bf16(a[2 * t + 8], a[2 * t + 9]), 0};
  const uint32_t rb[2] = {pack_bf16(b[2 * t], b[2 * t + 1]), pack_bf16(b[2 * t + 8], b[2 * t + 9])};
  float rd[4] = {start};
  mma_bf16(rd, ra, rb);
  if (threadIdx.x == 0) *d = rd[0];
}

// y[block] = the sum of all blocks' numbers plus the sum of their squares, each told to the others through `told`.
unsigned arrived;  // of grid_barrier
enum class Grid { whole, without_barrier, one_block_ends, half_of_a_block };
void sum_grid(const float* x, float* told, float* y, unsigned* counter, Grid grid) {
  float total = 0;
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x == 0) told[2 * blockIdx.x + round] = round ? x[blockIdx.x] * x[blockIdx.x] : x[blockIdx.x];
    if (grid == Grid::one_block_ends && blockIdx.x == 2) return;
    if (grid == Grid::half_of_a_block && blockIdx.x == 1 && threadIdx.x >= 32) return;
    if (grid != Grid::without_barrier) grid_barrier(counter);
    for (unsigned i = 0; i < gridDim.x; ++i) total += told[2 * i + round];
  }
  if (threadIdx.x == 0) y[blockIdx.x] = total;
}

}  // namespace

// First, since a process reads ASAP_CUDA_SYNC at its first launch.
TEST_CASE("queued work: a kernel's error shows when it is waited for, and with ASAP_CUDA_SYNC=1 at its launch") {
  tests::ran();
  const auto two_launches = [] {
    const Queued queued;
    Tensor y = zeros_on_card();
    launch(index_of_shared, {1, 8}, y.data<float>(), 8);
    launch(fill_with, {1, 64}, y.data<float>(), 1.0f);
    std::cerr << "both launched, ";
    backend(Device::cuda).synchronize();
  };
  const std::string late = in_child("ASAP_CUDA_SYNC", "0", two_launches);
  CHECK(late.find("both launched, cuda: cudaStreamSynchronize(stream()) failed: kernel") == 0);
  CHECK(contains(late, "index 8 of a shared array of 8"));
  const std::string at_once = in_child("ASAP_CUDA_SYNC", "1", two_launches);
  CHECK(at_once.find("cuda: launch of a kernel in ") == 0);
  CHECK(contains(at_once, "with 1x1x1 blocks of 8x1x1 threads"));
  CHECK(contains(at_once, "index 8 of a shared array of 8"));
}

TEST_CASE("a buffer that is filled again while it is still read shows where copies are early") {
  std::vector<float> x(64 * kPipelineSteps);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101);
  const Tensor on = on_card(x);
  std::vector<float> wanted(64);
  for (size_t i = 0; i < 64; ++i) {
    for (size_t step = 0; step < kPipelineSteps; ++step)
      wanted[i] += static_cast<float>(step + 1) * x[step * 64 + (i + 1) % 64];
  }
  int wrong_late = 0, wrong_early = 0;
  for (const auto order : {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse}) {
    const Order guard(order);
    const auto is_wrong = [&](auto kernel) {
      Tensor y = zeros_on_card();
      launch(kernel, {1, 64, 512}, on.data<float>(), y.data<float>());
      return y.to_vector<float>() != wanted;
    };
    CHECK_FALSE(is_wrong(sum_through_ring<true>));
    wrong_late += is_wrong(sum_through_ring<false>);
    const Early early;
    CHECK_FALSE(is_wrong(sum_through_ring<true>));
    wrong_early += is_wrong(sum_through_ring<false>);
  }
  CHECK(wrong_late == 0);
  CHECK(wrong_early >= 1);
}

TEST_CASE("the host that does not wait shows where work is queued") {
  alignas(4096) static float there[1024], back[1024];
  REQUIRE(backend(Device::cuda).page_lock(there, sizeof there));
  REQUIRE(backend(Device::cuda).page_lock(back, sizeof back));
  Tensor y = zeros_on_card(), z = zeros_on_card();
  const auto copy = [&](void* to, const void* from, cudaMemcpyKind kind) {
    ASAP_CUDA_CHECK(cudaMemcpyAsync(to, from, 64 * sizeof(float), kind, stream()));
  };
  const auto wait = [] { ASAP_CUDA_CHECK(cudaStreamSynchronize(stream())); };
  for (const bool queued : {false, true}) {
    const Queued guard(queued);
    CAPTURE(queued);
    back[0] = 0;
    launch(fill_with, {1, 64}, y.data<float>(), 1.0f);
    copy(back, y.raw(), cudaMemcpyDeviceToHost);
    CHECK(back[0] == (queued ? 0 : 1));  // read too early
    wait();
    CHECK(back[0] == 1);

    there[0] = 2;
    copy(y.raw(), there, cudaMemcpyHostToDevice);
    there[0] = 3;  // written too early
    float pageable[64] = {4};
    copy(z.raw(), pageable, cudaMemcpyHostToDevice);
    pageable[0] = 5;  // the runtime has read it
    CHECK(y.to_vector<float>()[0] == (queued ? 3 : 2));
    CHECK(z.to_vector<float>()[0] == 4);

    cudaEvent_t first;
    ASAP_CUDA_CHECK(cudaEventCreateWithFlags(&first, cudaEventDisableTiming));
    launch(fill_with, {1, 64}, y.data<float>(), 6.0f);
    copy(back, y.raw(), cudaMemcpyDeviceToHost);
    ASAP_CUDA_CHECK(cudaEventRecord(first, stream()));
    launch(fill_with, {1, 64}, y.data<float>(), 7.0f);
    copy(back + 64, y.raw(), cudaMemcpyDeviceToHost);
    back[64] = queued ? 0 : back[64];
    ASAP_CUDA_CHECK(cudaEventSynchronize(first));
    CHECK(back[0] == 6);
    CHECK(back[64] == (queued ? 0 : 7));
    ASAP_CUDA_CHECK(cudaEventDestroy(first));
    backend(Device::cuda).page_unlock(back);  // waits: the memory may be freed
    CHECK(back[64] == 7);
    REQUIRE(backend(Device::cuda).page_lock(back, sizeof back));
  }
  backend(Device::cuda).page_unlock(there);
  backend(Device::cuda).page_unlock(back);
}

TEST_CASE("launches that a card refuses are refused, with its error") {
  Tensor y = zeros_on_card();
  const auto error = [&](const Launch& shape) {
    return error_of([&] { launch(fill_with, shape, y.data<float>(), 1.0f); });
  };
  for (const bool queued : {false, true}) {
    const Queued guard(queued);
    for (const Launch& shape : {Launch({1, 65536}, 64), Launch({1, 1, 65536}, 64), Launch(0, 64), Launch(1, {64, 17}),
                                Launch(1, {1, 1, 65})}) {
      CHECK(error(shape).find("failed: invalid configuration argument") != std::string::npos);
    }
    CHECK(error(Launch(4, 64).in_clusters(3)).find("in clusters of 3 failed: invalid cluster size") !=
          std::string::npos);
    CHECK(error({1, 64, 227 << 10}) == "");
    CHECK(error({1, 64, (227 << 10) + 1}).find("failed: invalid argument") != std::string::npos);
    const With smaller([](auto& options) { options.capability = 86; });
    CHECK(error({1, 64, 99 << 10}) == "");
    CHECK(error({1, 64, (99 << 10) + 1}).find("failed: invalid argument") != std::string::npos);
    CHECK(error(Launch(4, 64).in_clusters(2)).find("failed: operation not supported") != std::string::npos);
  }
  launch(much_static_shared, {1, 32, 187 << 10}, y.data<float>());
  CHECK(error_of([&] {
          launch(much_static_shared, {1, 32, 188 << 10}, y.data<float>());
        }).find("40960 bytes of static and 192512 of dynamic shared memory") != std::string::npos);
}

TEST_CASE("a grid that waits for itself: what its blocks told is seen, by any number of them, again and again") {
  const Tensor x = on_card({1, 2, 3, 4, 5, 6, 7, 8});
  int wrong_without = 0;
  for (const auto order :
       {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
    const Order guard(order);
    const auto sums = [&](unsigned blocks, Grid grid) {
      Tensor told = zeros_on_card(), y = zeros_on_card();
      launch(sum_grid, Launch(blocks, 64).together(), x.data<float>(), told.data<float>(), y.data<float>(), &arrived,
             grid);
      std::vector<float> values = y.to_vector<float>();
      values.resize(blocks);
      return values;
    };
    for (const unsigned blocks : {1u, 3u, 8u, 8u, 5u}) {
      const auto n = static_cast<float>(blocks);
      const float wanted = n * (n + 1) / 2 + n * (n + 1) * (2 * n + 1) / 6;
      CHECK(sums(blocks, Grid::whole) == std::vector<float>(blocks, wanted));
    }
    wrong_without += sums(8, Grid::without_barrier) != sums(8, Grid::whole);
  }
  CHECK(wrong_without == 3);
}

TEST_CASE("what a grid that waits for itself would hang at is an error") {
  Tensor x = zeros_on_card(), y = zeros_on_card();
  const auto error = [&](const Launch& shape, Grid grid, unsigned counter = 0) {
    return error_of(
        [&] { launch(sum_grid, shape, x.data<float>(), y.data<float>(), y.data<float>(), &counter, grid); });
  };
  CHECK(contains(
      error(Launch(4, 64).together(), Grid::one_block_ends),
      "block (2,0,0) thread (0,0,0) has ended, but block (0,0,0) thread (0,0,0) waits at a barrier (the grid's)"));
  CHECK(contains(error(Launch(4, 64).together(), Grid::half_of_a_block),
                 "block (1,0,0) thread (0,0,0) and block (0,0,0) thread (0,0,0) wait at different barriers"));
  CHECK(contains(error(Launch(4, 64), Grid::whole), "was not launched together()"));
  CHECK(contains(error(Launch(4, 64).together(), Grid::whole, 1), "counter was not left by another"));
  // Four multiprocessors with room for two such blocks each.
  const auto blocks = [](unsigned count) { return Launch(count, 1024, 100 << 10).together(); };
  CHECK(error(blocks(8), Grid::whole) == "");
  CHECK(contains(error(blocks(9), Grid::whole), "all at once failed: too many blocks in cooperative launch"));
  CHECK(contains(error(Launch(4, 64).together().in_clusters(2), Grid::whole), "operation not supported"));
}

TEST_CASE("with kernels skipped launches are looked at, and nothing runs") {
  Tensor y = zeros_on_card();
  const With skipped([](auto& options) { options.kernels_skipped = true; });
  launch(fill_with, {1, 64}, y.data<float>(), 1.0f);
  CHECK(error_of([&] { launch(fill_with, {0, 64}, y.data<float>(), 1.0f); }) != "");
  CHECK(y.to_vector<float>()[0] == 0);
}

TEST_CASE("an access that is not aligned to its type ends the program and names the line") {
  Tensor x = zeros_on_card();
  const auto read = [&](int64_t first) {
    return in_child(
        "ASAP_EMULATE_ORDER", "forward",
        [&] {
          launch(read_four, {1, 1}, x.data<float>() + first, x.data<float>() + 8);
        },
        first % 4 ? 1 : 0);
  };
  CHECK(read(4) == "");
  const std::string text = read(2);
  CHECK(contains(text, "block (0,0,0) thread (0,0,0)"));
  CHECK(contains(text, "test_emulator_modes.cpp:"));
  CHECK(contains(text, "misaligned address"));
  CHECK(contains(text, "float4"));
}

TEST_CASE("sums that rely on being rounded to nearest show where they are cut off") {
  const auto sum = [](float start, const std::vector<float>& a, const std::vector<float>& b) {
    Tensor d = zeros_on_card();
    launch(dot, {1, 32}, on_card(a).data<float>(), on_card(b).data<float>(), start, d.data<float>());
    return d.to_vector<float>()[0];
  };
  const std::vector<float> ones(16, 1), small(16, 0x1p-25f);
  std::vector<float> single(16);
  single[0] = 0x1.8p-23f;
  CHECK(sum(1, ones, small) == 1 + 0x1p-21f);
  CHECK(sum(1, ones, single) == 1 + 0x1p-22f);
  CHECK(sum(-1, ones, single) == -1 + 0x1.8p-23f);
  const With truncated([](auto& options) { options.sums_truncated = true; });
  CHECK(sum(1, ones, small) == 1);                  // each is cut off to 0
  CHECK(sum(1, ones, single) == 1 + 0x1p-23f);      // the sum is cut off
  CHECK(sum(-1, ones, single) == -1 + 0x1.8p-23f);  // exact: below 1 floats lie closer
  CHECK(sum(0, ones, small) == 0x1p-21f);
  CHECK(sum(1, ones, std::vector<float>(16, -1)) == -15);
}
