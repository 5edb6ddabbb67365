// The emulator that executes the CUDA kernels on the CPU: what it computes must be what a card computes, and the mistakes it
// is there to find must be found. Runs on the emulated backend alone. See cuda/emulate/fibers.h, cuda/mma.cuh,
// cuda/hopper.cuh.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <thread>

#include "bench/yardsticks/peak.h"
#include "cuda/common.cuh"
#include "cuda/hopper.cuh"
#include "cuda/mma.cuh"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::cuda;

namespace {

std::vector<float> random_values(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

std::vector<float> small_integers(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random() % 15) - 7;
  return values;
}

Tensor on_card(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, Device::cuda);
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Order {
 public:
  explicit Order(emulate::ThreadOrder order) { emulate::options().order = order; }
  ~Order() { emulate::options().order = emulate::ThreadOrder::forward; }
};

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

// One warp: four 8 x 8 matrices, one behind the other.
void transpose_matrices(const bf16* x, bf16* y) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t r[4];
  load_matrices(r, x + lane * 8);
  store_matrices_transposed(y + lane * 8, r);
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

// Twice, each block of a cluster copies 8 rows of x to all of its blocks, by way of one stage; y [block][round][row][64] is what
// they see. `fault`: what is left out.
enum class TileFault { none, no_cluster_barrier, no_wait, not_announced, own_block_alone, ends_early };
constexpr int kTileRows = 8, kTileElements = kTileRows * kTileColumns, kTileBytes = 2 * kTileElements;
struct TileBarriers {
  PhaseBarrier full, free;
};
void share_tiles(TileMap x, bf16* y, TileFault fault) {
  auto* stage = aligned_shared<bf16>();
  const int blocks = emulate::cluster_size(), rank = cluster_rank(), thread = static_cast<int>(threadIdx.x);
  auto& barriers = *reinterpret_cast<TileBarriers*>(stage + blocks * kTileElements);
  if (thread == 0) {
    begin_phases(&barriers.full, 1);
    begin_phases(&barriers.free, fault == TileFault::own_block_alone ? 1 : blocks);
    fence_phase_barriers();
  }
  if (fault != TileFault::no_cluster_barrier) {
    cluster_arrive_relaxed();
    cluster_wait();
  }
  for (int round = 0; round < 2; ++round) {
    if (thread == 0) {
      if (round > 0) wait_for_phase(&barriers.free, 0);
      arrive_expecting(&barriers.full, (blocks - (fault == TileFault::not_announced)) * kTileBytes);
      copy_tile_to_blocks_async(stage + rank * kTileElements, x, (round * blocks + rank) * kTileRows, 0, &barriers.full,
                                blocks);
    }
    if (fault != TileFault::no_wait) wait_for_phase(&barriers.full, round);
    for (int i = 0; i < 2 * rank; ++i) __syncthreads();  // some blocks read later than others
    for (int i = thread; i < blocks * kTileElements; i += static_cast<int>(blockDim.x)) {
      const int row = i / kTileColumns, column = i % kTileColumns;
      y[(rank * 2 + round) * blocks * kTileElements + i] =
          stage[row * kTileColumns + (column / 8 ^ row % 8) * 8 + column % 8];
    }
    __syncthreads();
    if (fault == TileFault::ends_early && rank == 0) return;
    const bool all = fault != TileFault::own_block_alone;
    if (thread < blocks && (all || thread == rank)) arrive_at_block(&barriers.free, thread);
  }
  cluster_barrier();
}
// Whether all blocks of a cluster of four saw what they should.
bool shares_tiles(TileFault fault = TileFault::none) {
  constexpr int kBlocks = 4, kAll = kBlocks * kTileElements;
  const std::vector<float> values = small_integers(2 * kAll, 7);
  const Tensor x = on_card(values).to(DType::bf16);
  Tensor y = Tensor::zeros({kBlocks * 2 * kAll}, DType::bf16, Device::cuda);
  const TileMap map = tile_map(x.data<bf16>(), 2 * kAll / kTileColumns, kTileColumns, kTileColumns * 2, kTileRows);
  launch(share_tiles, Launch(kBlocks, 64, kBlocks * kTileBytes + sizeof(TileBarriers)).in_clusters(kBlocks), map,
         y.data<bf16>(), fault);
  const std::vector<float> seen = y.to(DType::f32).to_vector<float>();
  for (size_t i = 0; i < seen.size(); ++i) {
    if (seen[i] != values[i % values.size()]) return false;
  }
  return true;
}

// D = A B for A [64,64] and B [N,64], K-major in bf16. Swizzled, or not swizzled with the chunks of either operand apart as
// `leading` says: A's neighbours in k lie side by side, B's rows do.
enum class Fault {
  none,
  overwritten,
  read_early,
  no_wait,
  no_fence,
  late_fence,
  no_barrier,
  no_arrive,
  one_warp_less,
  other_operand,
  not_aligned,
  outside
};
constexpr int kProductDepth = 64;
constexpr size_t product_bytes(int n) { return static_cast<size_t>(64 + n) * kProductDepth * sizeof(bf16); }

template <int N>
void warpgroup_product(const float* a, const float* b, float* d, bool swizzled, Fault fault) {
  const int thread = static_cast<int>(threadIdx.x);
  auto* sa = fault == Fault::not_aligned ? dynamic_shared<bf16>() : aligned_shared<bf16>();
  bf16* sb = sa + 64 * kProductDepth;
  const auto fill = [&](bf16* to, const float* from, int rows, int leading, int stride) {
    for (int i = thread; i < rows * kProductDepth; i += static_cast<int>(blockDim.x)) {
      const int row = i / kProductDepth, k = i % kProductDepth, chunk = k / 8;
      const int place =
          swizzled ? row * 128 + (chunk ^ row % 8) * 16 : chunk * leading + row / 8 * stride + row % 8 * 16;
      to[place / 2 + k % 8] = to_bf16(from[i]);
    }
  };
  const int leading_a = swizzled ? 16 : 128, stride_a = 1024, leading_b = swizzled ? 16 : N * 16,
            stride_b = swizzled ? 1024 : 128;
  fill(sa, a, 64, leading_a, stride_a);
  fill(sb, b, N, leading_b, stride_b);
  if (fault != Fault::no_fence && fault != Fault::late_fence) fence_shared_for_async();
  if (fault != Fault::no_barrier) __syncthreads();

  float sums[N / 2];
  uint64_t da = matrix_descriptor(sa, leading_a, stride_a, swizzled);
  uint64_t db = matrix_descriptor(sb, leading_b, stride_b, swizzled);
  if (fault == Fault::other_operand && thread / kWarp == 2) da += 1;
  if (fault == Fault::outside) db = matrix_descriptor(sb + 64, leading_b, stride_b, false);
  if (fault != Fault::no_arrive) warpgroup_arrive();
  if (fault == Fault::one_warp_less && thread >= 96) return;
  for (int step = 0; step < kProductDepth / 16; ++step) {
    warpgroup_multiply<N>(sums, da, db, step > 0);
    warpgroup_commit();
    da += static_cast<uint64_t>(swizzled ? 2 : 2 * leading_a / 16);
    db += static_cast<uint64_t>(swizzled ? 2 : 2 * leading_b / 16);
    if (step == 1 && fault != Fault::late_fence) warpgroup_wait<1>();
  }
  if (fault == Fault::late_fence) {
    fence_shared_for_async();
    __syncthreads();
  }
  if (fault == Fault::overwritten) sb[thread] = to_bf16(1000);
  if (fault == Fault::no_wait) return;
  if (fault != Fault::read_early) warpgroup_wait<0>(sums);
  for (int i = 0; i < N / 2; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
    d[row * N + column] = sums[i];
  }
  if (fault == Fault::read_early) warpgroup_wait<0>(sums);
}

// The largest difference of d from the product of the rounded operands, or NaN.
template <int N>
double error_of_product(const std::vector<float>& a, const std::vector<float>& b, const Tensor& d) {
  const std::vector<float> values = d.to_vector<float>();
  const auto rounded = [](const std::vector<float>& v, int i) { return to_float(bf16(v[static_cast<size_t>(i)])); };
  double worst = 0;
  for (int i = 0; i < 64 * N; ++i) {
    double sum = 0;
    for (int k = 0; k < kProductDepth; ++k) {
      sum += static_cast<double>(rounded(a, i / N * kProductDepth + k)) * rounded(b, i % N * kProductDepth + k);
    }
    const double error = std::abs(sum - values[static_cast<size_t>(i)]);
    if (std::isnan(error) || error > worst) worst = error;  // a NaN stays
  }
  return worst;
}

template <int N>
double warpgroup_error(const std::vector<float>& a, const std::vector<float>& b, bool swizzled,
                       Fault fault = Fault::none) {
  Tensor d = Tensor::zeros({64 * N}, DType::f32, Device::cuda);
  launch(warpgroup_product<N>, {1, 128, product_bytes(N)}, on_card(a).data<float>(), on_card(b).data<float>(),
         d.data<float>(), swizzled, fault);
  return error_of_product<N>(a, b, d);
}

// A in registers, B in rows of k; added to ones.
void warpgroup_product_rows(const float* a, const float* b, float* d, Fault fault) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, row = thread / kWarp * 16 + lane / 4;
  auto* sb = fault == Fault::not_aligned ? dynamic_shared<bf16>() : aligned_shared<bf16>();
  for (int i = thread; i < 64 * kProductDepth; i += static_cast<int>(blockDim.x)) {  // i: k, then column
    const int k = i / 64, column = i % 64;
    sb[k * 64 + (column / 8 ^ k % 8) * 8 + column % 8] = to_bf16(b[column * kProductDepth + k]);
  }
  if (fault != Fault::no_fence) fence_shared_for_async();
  __syncthreads();
  float sums[32];
  for (float& sum : sums) sum = 1;
  uint32_t z[kProductDepth / 16][4];
  for (int step = 0; step < kProductDepth / 16; ++step) {
    for (int r = 0; r < 4; ++r) {
      const float* two = a + (row + 8 * (r % 2)) * kProductDepth + 16 * step + 8 * (r / 2) + lane % 4 * 2;
      z[step][r] = pack_bf16(two[0], two[1]);
    }
  }
  if (fault != Fault::no_arrive) warpgroup_arrive();
  const uint64_t rows = matrix_descriptor(sb, 16, 1024, fault != Fault::outside);
  for (int step = 0; step < kProductDepth / 16; ++step)
    warpgroup_multiply_rows(sums, z[step], rows + static_cast<uint64_t>(step * 16 * 128 / 16));
  warpgroup_commit();
  if (fault != Fault::read_early) warpgroup_wait<0>(sums, z);
  for (int i = 0; i < 32; ++i) d[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + thread % 4 * 2 + i % 2] = sums[i] - 1;
  if (fault == Fault::read_early) warpgroup_wait<0>(sums, z);
}

double warpgroup_rows_error(const std::vector<float>& a, const std::vector<float>& b, Fault fault = Fault::none) {
  Tensor d = Tensor::zeros({64 * 64}, DType::f32, Device::cuda);
  launch(warpgroup_product_rows, {1, 128, product_bytes(0)}, on_card(a).data<float>(), on_card(b).data<float>(),
         d.data<float>(), fault);
  return error_of_product<64>(a, b, d);
}

template <int N>
void check_warpgroup_products() {
  const std::vector<float> a = small_integers(64 * kProductDepth, 1), b = small_integers(N * kProductDepth, 2);
  const std::vector<float> ra = random_values(64 * kProductDepth, 3), rb = random_values(N * kProductDepth, 4);
  for (const bool swizzled : {false, true}) {
    CAPTURE(N);
    CAPTURE(swizzled);
    CHECK(warpgroup_error<N>(a, b, swizzled) == 0);
    const double error = warpgroup_error<N>(ra, rb, swizzled);
    CHECK(error < 1e-5);  // four roundings to float32 of sums below 64
    CHECK(error > 0);
  }
}

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

TEST_CASE("blocks of a cluster copy tiles to each other, through barriers with phases") {
  int wrong_stage = 0;
  for (const bool early : {false, true}) {
    for (const auto order :
         {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
      const Order guard(order);
      emulate::options().copies_early = early;
      CHECK(shares_tiles());
      wrong_stage += !shares_tiles(TileFault::own_block_alone);
    }
  }
  emulate::options().copies_early = false;
  CHECK(wrong_stage >= 1);  // another block still read it
  const auto error = [](TileFault fault) { return error_of([&] { shares_tiles(fault); }); };
  CHECK(error(TileFault::no_wait).find("arrives at a phase that all have arrived at") != std::string::npos);
  CHECK(error(TileFault::no_cluster_barrier).find("that was not begun") != std::string::npos);
  CHECK(error(TileFault::not_announced).find("bytes never come") != std::string::npos);
  CHECK(error(TileFault::ends_early).find("which has ended") != std::string::npos);
}

TEST_CASE("matrices stored transposed") {
  Tensor y = Tensor::zeros({4 * 64}, DType::bf16, Device::cuda);
  launch(transpose_matrices, {1, 32}, on_card(small_integers(4 * 64, 8)).to(DType::bf16).data<bf16>(), y.data<bf16>());
  const std::vector<float> x = small_integers(4 * 64, 8), transposed = y.to(DType::f32).to_vector<float>();
  for (size_t i = 0; i < x.size(); ++i) CHECK(transposed[i / 64 * 64 + i % 8 * 8 + i % 64 / 8] == x[i]);
}

TEST_CASE("products of a warpgroup: operands and sums lie as the PTX manual says") {
  check_warpgroup_products<64>();
  check_warpgroup_products<128>();
  check_warpgroup_products<256>();
}

TEST_CASE("products of a warpgroup with an operand in registers") {
  const std::vector<float> a = small_integers(64 * kProductDepth, 1), b = small_integers(64 * kProductDepth, 2);
  CHECK(warpgroup_rows_error(a, b) == 0);
  CHECK(warpgroup_rows_error(random_values(64 * kProductDepth, 3), random_values(64 * kProductDepth, 4)) < 1e-5);
  CHECK(std::isnan(warpgroup_rows_error(a, b, Fault::read_early)));
  const auto error = [&](Fault fault) { return error_of([&] { warpgroup_rows_error(a, b, fault); }); };
  CHECK(error(Fault::no_fence).find("without fence_shared_for_async()") != std::string::npos);
  CHECK(error(Fault::no_arrive).find("without warpgroup_arrive()") != std::string::npos);
  CHECK(error(Fault::not_aligned).find("use aligned_shared()") != std::string::npos);
  CHECK(error(Fault::outside).find("not swizzled") != std::string::npos);
}

TEST_CASE("what makes a product of a warpgroup wrong on a card is found") {
  const std::vector<float> a = small_integers(64 * kProductDepth, 1), b = small_integers(64 * kProductDepth, 2);
  const auto error = [&](Fault fault) { return error_of([&] { warpgroup_error<64>(a, b, true, fault); }); };
  CHECK(error(Fault::overwritten).find("before the product was waited for") != std::string::npos);
  CHECK(std::isnan(warpgroup_error<64>(a, b, true, Fault::read_early)));
  CHECK(error(Fault::no_wait).find("did not wait for") != std::string::npos);
  CHECK(error(Fault::no_fence).find("without fence_shared_for_async()") != std::string::npos);
  CHECK(error(Fault::no_barrier).find("and a barrier") != std::string::npos);
  CHECK(error(Fault::no_arrive).find("without warpgroup_arrive()") != std::string::npos);
  CHECK(error(Fault::one_warp_less).find("threads of its warpgroup that never come") != std::string::npos);
  CHECK(error(Fault::other_operand).find("multiplies other operands") != std::string::npos);
  CHECK(error(Fault::not_aligned).find("use aligned_shared()") != std::string::npos);
  CHECK(error_of([&] { warpgroup_error<64>(a, b, false, Fault::outside); }).find("outside of the") !=
        std::string::npos);
}

// Sums the columns of a matrix of 64 columns, whose tiles of 8 rows come through a ring of two stages. A thread has a column; the
// first one has the tiles copied.
enum class RingFault { none, no_announcement, free_too_early, overwritten, no_wait };
void sum_through_ring(const TileMap map, int tiles, float* y, RingFault fault) {
  constexpr int kBytes = 8 * 128;
  char* stages = aligned_shared<char>();
  auto* full = reinterpret_cast<PhaseBarrier*>(stages + 2 * kBytes);
  PhaseBarrier* free = full + 2;
  const int column = static_cast<int>(threadIdx.x);
  const auto copy = [&](int tile) {
    wait_for_phase(&free[tile % 2], tile / 2 % 2 ^ 1);
    arrive_expecting(&full[tile % 2], fault == RingFault::no_announcement ? 0 : kBytes);
    copy_tile_async(stages + tile % 2 * kBytes, map, tile * 8, 0, &full[tile % 2]);
  };
  if (column == 0) {
    for (int i = 0; i < 2; ++i) begin_phases(&full[i], 1), begin_phases(&free[i], fault == RingFault::free_too_early ? 1 : 64);
    fence_phase_barriers();
  }
  __syncthreads();
  if (column == 0) copy(0), copy(1);
  if (fault == RingFault::overwritten && column == 1) full[0] = 0;
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    if (fault != RingFault::no_wait) wait_for_phase(&full[tile % 2], tile / 2 % 2);
    for (int row = 0; row < 8; ++row) {
      bf16 value;
      std::memcpy(&value, stages + tile % 2 * kBytes + row * 128 + (column / 8 ^ row) * 16 + column % 8 * 2, 2);
      sum += to_float(value);
    }
    arrive(&free[tile % 2]);
    if (column == 0 && tile + 2 < tiles) copy(tile + 2);
  }
  y[column] = sum;
}

std::vector<float> ring_sums(RingFault fault = RingFault::none) {
  constexpr int kRows = 21;  // of three tiles: the last has rows that are not there
  std::vector<float> values(kRows * 64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / 64 + i % 64 * 4);
  const Tensor matrix = on_card(values).to(DType::bf16);
  Tensor y = Tensor::zeros({64}, DType::f32, Device::cuda);
  launch(sum_through_ring, {1, 64, 2 * 1024 + 32}, tile_map(matrix.data<bf16>(), kRows, 64, 128, 8), 3, y.data<float>(),
         fault);
  return y.to_vector<float>();
}

TEST_CASE("tiles come through a ring of barriers with phases, in any order of threads") {
  std::vector<float> expected(64);
  for (size_t i = 0; i < 64; ++i) expected[i] = static_cast<float>(20 * 21 / 2 + 21 * 4 * i);
  for (const auto order : {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
    const Order scope(order);
    CHECK(ring_sums() == expected);
    emulate::options().copies_early = true;
    CHECK(ring_sums() == expected);
    emulate::options().copies_early = false;
  }
}

TEST_CASE("what makes such a ring hang or read too early on a card is found") {
  const auto error = [](RingFault fault) { return error_of([&] { ring_sums(fault); }); };
  CHECK(error(RingFault::no_announcement).find("bytes never come") != std::string::npos);
  CHECK(error(RingFault::overwritten).find("was overwritten") != std::string::npos);
  CHECK(std::isnan(ring_sums(RingFault::no_wait)[0]));
  CHECK(error(RingFault::free_too_early).find("never come") != std::string::npos);  // the first thread ran ahead of the others
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

TEST_CASE("an operand that the tensor cores see too late shows where products are early") {
  const std::vector<float> a = small_integers(64 * kProductDepth, 1), b = small_integers(64 * kProductDepth, 2);
  CHECK(warpgroup_error<64>(a, b, true, Fault::late_fence) == 0);
  emulate::options().copies_early = true;
  CHECK(warpgroup_error<64>(a, b, true) == 0);
  CHECK(warpgroup_rows_error(a, b) == 0);
  CHECK(std::isnan(warpgroup_error<64>(a, b, true, Fault::read_early)));
  CHECK(error_of([&] {
          warpgroup_error<64>(a, b, true, Fault::late_fence);
        }).find("without fence_shared_for_async()") != std::string::npos);
  emulate::options().copies_early = false;
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
