// The plan of a tiled matrix product: which tile, and into how many pieces to cut the inner dimension (split-K), where a card
// would stand mostly empty; and the second stage of that, which sums the pieces in a fixed order. Declared in matmul_tiled.cuh.
#include "cuda/matmul_tiled.cuh"

namespace asap::cuda {
namespace {

// Few rows: the small tile, whose work is not mostly on rows that are not there. Else the large one, unless its last row of
// tiles stands mostly empty: it reads the least from shared memory for each product.
TileSize tile_for(int64_t m) {
  if (m <= 16) return TileSize::small;
  const int64_t large_rows = ceil_div(m, 128) * 128, medium_rows = ceil_div(m, 64) * 64;
  return 8 * large_rows > 9 * medium_rows ? TileSize::medium : TileSize::large;
}

// y, seen as [outer, channels, plane], of Width elements a lane: all of their partial sums, then the epilogue. Groups of lanes
// share the partial sums where y is small for the card or their number large: a thread that reads hundreds of them waits
// for memory again and again. The order of a sum depends on sizes alone. Floor: the partial sums read once.
constexpr int kMostGroups = 32, kInFlight = 4;
template <int Width>
__global__ void __launch_bounds__(kBlock)
    sum_partials_kernel(const float* partials, int splits, int64_t count, int groups, Epilogue<float> epilogue,
                        Divisor channels, Divisor plane, float* y) {
  using Run = Vector<float, Width>;
  ASAP_SHARED(float, shared, [Width][kBlock]);
  wait_for_previous_kernel();
  const int t = static_cast<int>(threadIdx.x), lanes = kBlock / groups, group = t / lanes;
  const int64_t first = (int64_t{blockIdx.x} * lanes + t % lanes) * Width;
  Run sum = sum_of_loaded<kInFlight>(
      Run{}, group, first < count ? splits : 0, groups,
      [&](int split) { return *reinterpret_cast<const Run*>(partials + split * count + first); },
      [](Run a, const Run& part) {
#pragma unroll
        for (int e = 0; e < Width; ++e) a.v[e] += part.v[e];
        return a;
      });
#pragma unroll
  for (int e = 0; e < Width; ++e) shared[e][t] = sum.v[e];
  __syncthreads();
  if (group > 0 || first >= count) return;
#pragma unroll
  for (int e = 0; e < Width; ++e) {
    for (int g = 1; g < groups; ++g) sum.v[e] += shared[e][g * lanes + t];
    auto channel = static_cast<int>(plane.quotient(static_cast<unsigned>(first + e)));
    channels.divide(channel);
    sum.v[e] = epilogue(channel, sum.v[e]);
  }
  *reinterpret_cast<Run*>(y + first) = sum;
}

}  // namespace

// A multiprocessor holds as many blocks as fit by registers and by shared memory: a block takes its ring of tiles and about 4 KiB for
// places and operands, of which the card keeps one for itself.
TilePlan plan_tiles(Precision precision, int64_t m, int64_t n, int64_t k, int64_t products) {
  constexpr size_t kOperands = 4 << 10, kOwn = 1 << 10;
  TilePlan plan{.size = tile_for(m)};
  int64_t blocks_each = 1;
  with_product(precision, plan.size, [&]<class Product>(std::type_identity<Product>) {
    plan.tiles_m = static_cast<int>(ceil_div(m, Product::kRows));
    plan.tiles_n = static_cast<int>(ceil_div(n, Product::kColumns));
    const size_t fitting = (card().shared_bytes + kOwn) / (sizeof(TileRing<Product>) + kOperands);
    blocks_each = std::clamp<int64_t>(static_cast<int64_t>(fitting), 1, Product::kBlocksEach);
  });
  // One block a place: a second, partly filled round would take as long as the first.
  constexpr int64_t kFewestTiles = 4;  // of K in a piece: the pipeline has to fill first
  const int64_t places = card().multiprocessors * blocks_each, blocks = plan.tiles_m * plan.tiles_n * products;
  plan.splits =
      static_cast<int>(std::max<int64_t>(1, std::min(places / blocks, ceil_div(k, kTileDepth) / kFewestTiles)));
  return plan;
}

Matrix matrix(const float* data, int64_t rows, int64_t depth, bool k_outermost, int64_t part_step) {
  const int64_t length = k_outermost ? rows : depth;  // of what lies side by side
  return {.data = data,
          .part_step = part_step,
          .rows = static_cast<int>(rows),
          .depth = static_cast<int>(depth),
          .row_step = k_outermost ? 1 : static_cast<int>(depth),
          .k_step = k_outermost ? static_cast<int>(rows) : 1,
          .along_k = !k_outermost,
          .vector = length % 4 == 0 && is_aligned(data) && part_step % 4 == 0 ? 4 : 1};
}

void sum_partials(const Tensor& partials, int splits, const Epilogue<float>& epilogue, Tensor& y) {
  const Divisor channels(y.size(1)), plane(y.numel() / (y.size(0) * y.size(1)));
  const int width = y.numel() % 4 == 0 && is_aligned(y.raw()) ? 4 : 1;
  // As many groups as the card has threads for, each with enough splits to keep its loads in flight.
  constexpr int64_t kThreadsEach = 2048;
  const int64_t runs = y.numel() / width;
  int groups = 1;
  while (groups < kMostGroups && 2 * groups * kInFlight <= splits && 2 * groups * runs <= card().multiprocessors * kThreadsEach)
    groups *= 2;
  launch(width == 4 ? sum_partials_kernel<4> : sum_partials_kernel<1>,
         Launch(static_cast<unsigned>(ceil_div(runs, kBlock / groups)), kBlock).overlapping(), partials.data<float>(), splits,
         y.numel(), groups, epilogue, channels, plane, y.data<float>());
}

std::string variant_name(const std::string& base, Precision precision) {
  return precision == Precision::f32 ? base : base + "_" + name(precision);
}

}  // namespace asap::cuda
