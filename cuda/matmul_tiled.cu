// The plan of a tiled matrix product: which tile, and into how many pieces to cut the inner dimension (split-K); and the second
// stage of the split form, which sums the pieces in a fixed order. Declared in matmul_tiled.cuh.
#include "cuda/matmul_tiled.cuh"

namespace asap::cuda {
namespace {

struct TileChoice {
  int rows, columns, blocks_each;  // that a multiprocessor holds at a time
};
// Blocks fit by registers and by shared memory: a block takes its ring of tiles and about 4 KiB for places and operands, of
// which the card keeps one for itself.
template <class Product>
TileChoice choice_of(std::type_identity<Product>) {
  constexpr size_t kBlockBytes = sizeof(TileRing<Product>) + (4 << 10), kOwn = 1 << 10;
  const auto fitting = static_cast<int>((card().shared_bytes + kOwn) / kBlockBytes);
  return {Product::kRows, Product::kColumns, std::max(1, std::min(Product::kBlocksEach, fitting))};
}
TileChoice choice_of(Precision precision, TileSize size) {
  TileChoice choice{};
  with_product(precision, size, [&](auto product) { choice = choice_of(product); });
  return choice;
}

// Few rows: the small tile, whose work is not mostly on rows that are not there. Else the large one, unless its last row of
// tiles stands mostly empty: it reads the least from shared memory for each product.
TileSize tile_for(int64_t m) {
  if (m <= 16) return TileSize::small;
  const int64_t large_rows = ceil_div(m, 128) * 128, medium_rows = ceil_div(m, 64) * 64;
  return 8 * large_rows > 9 * medium_rows ? TileSize::medium : TileSize::large;
}

struct Four {
  float4 v;
  friend __device__ __forceinline__ Four operator+(const Four& a, const Four& b) {
    return {make_float4(a.v.x + b.v.x, a.v.y + b.v.y, a.v.z + b.v.z, a.v.w + b.v.w)};
  }
};

// The epilogue of elements [i, i + 4) or of one, y being [outer, channels, plane].
struct ElementEpilogue {
  Epilogue<float> of_channel;
  Divider channels, plane;
  ElementEpilogue(const Epilogue<float>& epilogue, const Tensor& y) : of_channel(epilogue) {
    if (!of_channel.bias) return;
    channels = Divider(static_cast<int>(y.size(1)));
    plane = Divider(static_cast<int>(y.numel() / (y.size(0) * y.size(1))));
  }
  __device__ __forceinline__ float operator()(int64_t i, float sum) const {
    int rest = plane.quotient(static_cast<int>(i));
    channels.divide(rest);
    return of_channel(rest, sum);
  }
  __device__ __forceinline__ Four operator()(int64_t i, const Four& sum) const {
    return {
        make_float4((*this)(i, sum.v.x), (*this)(i + 1, sum.v.y), (*this)(i + 2, sum.v.z), (*this)(i + 3, sum.v.w))};
  }
};

// Four elements a thread where `count` allows, all of their partial sums in order.
template <class Vector>
__global__ void sum_partials_kernel(const Vector* partials, int splits, int64_t count, ElementEpilogue epilogue,
                                    Vector* y) {
  constexpr int kElements = sizeof(Vector) / sizeof(float);
  for_each_index(count, [&](int64_t i) {
    Vector sum = partials[i];
    for (int s = 1; s < splits; ++s) sum = sum + partials[s * count + i];
    y[i] = epilogue(i * kElements, sum);
  });
}

}  // namespace

TilePlan plan_tiles(Precision precision, int64_t m, int64_t n, int64_t k, int64_t parts, bool may_split) {
  TilePlan plan{.size = tile_for(m)};
  const TileChoice tile = choice_of(precision, plan.size);
  plan.tiles_m = static_cast<int>(ceil_div(m, tile.rows));
  plan.tiles_n = static_cast<int>(ceil_div(n, tile.columns));
  if (!may_split) return plan;
  // One block a place: a second, partly filled round would take as long as the first.
  constexpr int64_t kFewestTiles = 4;  // of K in a piece: the pipeline has to fill first
  const int64_t places = int64_t{card().multiprocessors} * tile.blocks_each;
  const int64_t blocks = plan.tiles_m * plan.tiles_n * parts, k_tiles = ceil_div(k, kTileDepth);
  plan.splits = static_cast<int>(std::max<int64_t>(1, std::min(places / blocks, k_tiles / kFewestTiles)));
  return plan;
}

std::string variant_name(const std::string& base, Precision precision) {
  return precision == Precision::f32 ? base : base + "_" + name(precision);
}

void sum_partials(const Tensor& partials, int splits, const Epilogue<float>& epilogue, Tensor& y) {
  const ElementEpilogue finish(epilogue, y);
  const bool by_four = y.numel() % 4 == 0 && is_aligned(y.raw());
  if (by_four) {
    launch(sum_partials_kernel<Four>, {blocks_for(y.numel() / 4), kBlock}, static_cast<const Four*>(partials.raw()),
           splits, y.numel() / 4, finish, static_cast<Four*>(y.raw()));
  } else {
    launch(sum_partials_kernel<float>, {blocks_for(y.numel()), kBlock}, partials.data<float>(), splits, y.numel(),
           finish, y.data<float>());
  }
}

}  // namespace asap::cuda
