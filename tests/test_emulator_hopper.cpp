// The emulator's tiles, barriers with phases and products of a warpgroup (cuda/hopper.cuh): they give what a card gives, and what
// would hang or corrupt memory there is found. Runs on the emulated backend alone. Next: cuda/emulate/phase_barrier.h, warpgroup.h.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "cuda/hopper.cuh"
#include "tests/support/emulated_card.h"
#include "tests/support/scratch.h"

using namespace asap;
using namespace asap::cuda;
using namespace asap::tests;

namespace {

// One warp: four 8 x 8 matrices, one behind the other.
void transpose_matrices(const bf16* x, bf16* y) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t r[4];
  load_matrices(r, x + lane * 8);
  store_matrices_transposed(y + lane * 8, r);
}
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
