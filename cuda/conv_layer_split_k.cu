// The variants of conv_layer that fill a card at batch 1: plans the split of K, launches the convolution of
// conv_layer_split_k.cuh or conv_layer_wgmma.cuh and what conv_layer_norm.cuh does with its sums.
// nhwc only: the session asks for it on a card, since both operands then run along K; nchw is left to `naive`.
#include "cuda/conv_layer_norm.cuh"
#include "cuda/conv_layer_split_k.cuh"
#include "cuda/conv_layer_wgmma.cuh"

namespace asap::cuda {
namespace {

// From the one that copies the fewest bytes for a product to the one that leaves the fewest multiprocessors idle.
using LargeTile = ConvTile<256, 128, 2>;
using MediumTile = ConvTile<128, 128, 2>;
using SmallTile = ConvTile<128, 64, 2, 32>;
using LeastTile = ConvTile<64, 64, 4, 32>;

struct Tiles {
  int64_t pixels, outputs;  // of a tile
  int64_t of_picture(const ConvLayerShape& s) const { return ceil_div(s.pixels(), pixels); }
  int64_t count(const ConvLayerShape& s) const { return s.pictures * of_picture(s) * ceil_div(s.outputs, outputs); }
};
template <class Tile>
constexpr Tiles kTiles{Tile::kPixels, Tile::kOutputs};

// A function of sizes and card alone, so that equal inputs give equal bits on one card. Splits fill the multiprocessors once:
// another round of blocks would wait for the first, and each split costs a pass over the sums. least_steps: of a split.
int64_t splits_of(const ConvLayerShape& s, const Tiles& tiles, int64_t steps, int64_t least_steps, bool norm) {
  if (norm && s.pixels() > kLargestPlane) return 1;
  return std::max<int64_t>(std::min(card().multiprocessors / tiles.count(s), steps / least_steps), 1);
}

constexpr int64_t kLeastSteps = 2;  // the pipeline's filling should not be all there is

// The first whose blocks are three for every four multiprocessors; of 128 outputs or 256 pixels only where the layer has more
// than half as many.
Tiles split_k_tiles(const ConvLayerShape& s, int64_t steps, bool norm) {
  const auto fits = [&](const Tiles& t) {
    const bool fills_tile = 2 * s.outputs > t.outputs && (t.pixels <= MediumTile::kPixels || s.pixels() >= t.pixels);
    return fills_tile && 4 * t.count(s) * splits_of(s, t, steps, kLeastSteps, norm) >= 3 * card().multiprocessors;
  };
  const bool large = 4 * kTiles<LargeTile>.count(s) >= 3 * card().multiprocessors &&
                     split_k_shared_bytes<LargeTile>(s) <= card().shared_bytes;
  if (large && fits(kTiles<LargeTile>)) return kTiles<LargeTile>;
  if (fits(kTiles<MediumTile>)) return kTiles<MediumTile>;
  return fits(kTiles<SmallTile>) ? kTiles<SmallTile> : kTiles<LeastTile>;
}

SplitKPlan plan_splits(const ConvLayerShape& s, const Tiles& tiles, int64_t steps, int64_t least_steps, bool norm) {
  const int64_t splits = splits_of(s, tiles, steps, least_steps, norm);
  return {.tile_pixels = static_cast<int>(tiles.pixels),
          .tile_outputs = static_cast<int>(tiles.outputs),
          .pixel_tiles = static_cast<int>(tiles.of_picture(s)),
          .steps = static_cast<int>(steps),
          .splits = static_cast<int>(splits),
          .pitch = static_cast<int>(ceil_div(s.outputs, 4) * 4),
          .writes_y = !norm && splits == 1,
          .writes_statistics = norm && s.pixels() > kLargestPlane};
}

struct Scratch {
  Tensor sums, statistics;
};
Scratch split_k_scratch(const ConvLayerShape& s, const SplitKPlan& plan) {
  const int64_t row = int64_t{s.pictures} * plan.pitch;
  return {plan.writes_y ? Tensor() : scratch(plan.splits * row * s.pixels()),
          plan.writes_statistics ? scratch(2 * row * plan.pixel_tiles) : Tensor()};
}

dim3 blocks_of(const ConvLayerShape& s, const SplitKPlan& plan) {
  return {static_cast<unsigned>(s.pictures * plan.pixel_tiles),
          static_cast<unsigned>(ceil_div(s.outputs, plan.tile_outputs)), static_cast<unsigned>(plan.splits)};
}

template <int kThreads, int kPasses, class Y>
void launch_plane_norm(const float* sums, const ConvLayerShape& s, const SplitKPlan& plan, const NormArguments& norm,
                       Y* y) {
  const dim3 blocks(static_cast<unsigned>(ceil_div(s.outputs, 4 * kPlaneFours)), static_cast<unsigned>(s.pictures));
  launch(plane_norm_kernel<kThreads, kPasses, Y>, Launch(blocks, kThreads).overlapping(), sums, plan.splits, s.pictures,
         s.pixels(), plan.pitch, s.outputs, norm, y);
}
template <class Y>
void launch_plane_norm(const float* sums, const ConvLayerShape& s, const SplitKPlan& plan, const NormArguments& norm,
                       Y* y) {
  s.pixels() <= kLargestPlane / 4   ? launch_plane_norm<512, 1>(sums, s, plan, norm, y)
  : s.pixels() <= kLargestPlane / 2 ? launch_plane_norm<1024, 1>(sums, s, plan, norm, y)
                                    : launch_plane_norm<1024, 2>(sums, s, plan, norm, y);
}

template <class Y>
void finish(const Scratch& scratch, const Tensor& scale, const Tensor& shift, const ConvLayerShape& s,
            const SplitKPlan& plan, const ConvLayerParams& p, Y* y) {
  const float* sums = scratch.sums.data<float>();
  if (!p.norm) {
    const int64_t rows = int64_t{s.pictures} * s.pixels();
    launch(sum_with_bias_kernel<Y>, Launch(blocks_for(rows * plan.pitch / 4), kBlock).overlapping(), sums, plan.splits,
           rows, plan.pitch, s.outputs, shift.data<float>(), y);
    return;
  }
  const NormArguments norm{scale.data<float>(), shift.data<float>(), static_cast<float>(p.norm_params.eps),
                           static_cast<float>(p.norm_params.activation_slope)};
  if (!plan.writes_statistics) return launch_plane_norm(sums, s, plan, norm, y);
  const int64_t groups = ceil_div(s.outputs, 4 * kTiledFours), rounds = ceil_div(s.pixels(), kTiledRows);
  // One block each: every block joins the statistics anew.
  const int64_t pieces = std::clamp<int64_t>(card().multiprocessors / (groups * s.pictures), 1, rounds);
  const dim3 blocks(static_cast<unsigned>(pieces), static_cast<unsigned>(groups), static_cast<unsigned>(s.pictures));
  launch(tiled_norm_kernel<Y>, Launch(blocks, kTiledThreads).overlapping(), sums,
         static_cast<const float2*>(scratch.statistics.raw()), s.pixels(), plan.pixel_tiles, plan.tile_pixels,
         plan.pitch, s.outputs, norm, y);
}

// convolve(result) launches the convolution; what remains is launched here.
template <class Convolve>
void run_layer(const Convolve& convolve, const ConvLayerShape& s, const SplitKPlan& plan, const Tensor& scale,
               const Tensor& shift, const ConvLayerParams& p, Tensor& y) {
  const Scratch scratch = split_k_scratch(s, plan);
  const bool is_bf16 = y.dtype() == DType::bf16;
  const SplitKResult result{
      .sums = plan.writes_y ? nullptr : static_cast<float*>(scratch.sums.raw()),
      .statistics = plan.writes_statistics ? static_cast<float2*>(scratch.statistics.raw()) : nullptr,
      .bias = p.norm ? nullptr : shift.data<float>(),
      .y_f32 = is_bf16 ? nullptr : y.data<float>(),
      .y_bf16 = is_bf16 ? y.data<bf16>() : nullptr};
  convolve(result);
  if (plan.writes_y) return;
  is_bf16 ? finish(scratch, scale, shift, s, plan, p, result.y_bf16)
          : finish(scratch, scale, shift, s, plan, p, result.y_f32);
}

template <class T, bool kFma>
void conv_layer_split_k(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                        const ConvLayerParams& p, Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  const int64_t steps = ceil_div(int64_t{s.side} * s.side * s.channels * static_cast<int64_t>(sizeof(T)), kStepBytes);
  const SplitKPlan plan = plan_splits(s, split_k_tiles(s, steps, p.norm), steps, kLeastSteps, p.norm);
  const auto convolve = [&]<class Tile>(Tile, const SplitKResult& result) {
    const Launch shape(blocks_of(s, plan), Tile::kThreads, split_k_shared_bytes<Tile>(s));
    launch(split_k_kernel<T, Tile, kFma>, shape.overlapping(), x.data<T>(), w.data<T>(), s, plan, result);
  };
  const auto convolve_in_tiles = [&](const SplitKResult& result) {
    if (plan.tile_pixels == LargeTile::kPixels) return convolve(LargeTile{}, result);
    if (plan.tile_pixels == LeastTile::kPixels) return convolve(LeastTile{}, result);
    plan.tile_outputs == MediumTile::kOutputs ? convolve(MediumTile{}, result) : convolve(SmallTile{}, result);
  };
  run_layer(convolve_in_tiles, s, plan, scale, shift, p, y);
}

void conv_layer_wgmma(const Tensor& x, const Tensor& w, const Tensor&, const Tensor& shift, const ConvLayerParams& p,
                      Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  const int64_t steps =
      ceil_div(int64_t{s.side} * s.side * s.channels * static_cast<int64_t>(sizeof(bf16)), kStepBytes);
  const SplitKPlan plan = plan_splits(s, kTiles<WideTile>, steps, steps, p.norm);  // one split
  const Launch shape(blocks_of(s, plan), WideTile::kThreads, wide_shared_bytes(s));
  launch(wide_kernel, shape.overlapping(), x.data<bf16>(), w.data<bf16>(), s, plan, shift.data<float>(),
         y.data<bf16>());
}

// ---- which layers ---------------------------------------------------------------------------------------------------

// 16-byte copies need whole chunks of channels; offsets are counted in 31 bits, those in x with one to spare; grids reach
// 65535 in y and z.
bool takes_split_k(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y) {
  if (p.layout != Layout::channels_last || (y.dtype() != DType::f32 && y.dtype() != DType::bf16)) return false;
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % kChunkBytes == 0; };
  constexpr int64_t kSide = INT16_MAX, kOffsets = INT32_MAX, kGrid = 65535;
  const int64_t pixel_bytes = x.size(3) * static_cast<int64_t>(size_of(x.dtype()));
  return pixel_bytes % kChunkBytes == 0 && aligned(x) && aligned(w) && aligned(y) &&
         std::max(x.size(1), x.size(2)) + 2 * p.pad < kSide && p.stride < kSide &&
         x.size(1) * x.size(2) * pixel_bytes / kChunkBytes < kOffsets / 2 && w.numel() < kOffsets &&
         y.numel() < kOffsets && x.size(0) <= kGrid && y.size(3) <= kGrid * SmallTile::kOutputs;
}
size_t split_k_shared(const ConvLayerShape& s) { return split_k_shared_bytes<MediumTile>(s); }

// Results are stored as 16 bytes.
bool takes_wgmma(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y) {
  return !p.norm && card_has_wgmma() && takes_split_k(x, w, p, y) && y.dtype() == DType::bf16 && y.size(3) % 8 == 0;
}

using Takes = bool(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y);
using SharedBytes = size_t(const ConvLayerShape& s);

void add(const char* variant, ConvLayerFn* run, Precision precision, Takes* takes, SharedBytes* shared_bytes) {
  const DType operands = precision == Precision::bf16 ? DType::bf16 : DType::f32;
  const auto supports = [=](const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const ConvLayerParams& p,
                            Tensor& y) {
    return precision_allows(precision) && x.dtype() == operands && takes(x, w, p, y) &&
           shared_bytes(conv_layer_shape(x, w, p, y)) <= card().shared_bytes;
  };
  kernels::conv_layer.add(Device::cuda, variant, run, supports, {.bf16 = true});
}

}  // namespace

void register_conv_layer_split_k() {
  add("wgmma_bf16", conv_layer_wgmma, Precision::bf16, takes_wgmma, wide_shared_bytes);
  add("split_k_bf16", conv_layer_split_k<bf16, false>, Precision::bf16, takes_split_k, split_k_shared);
  add("split_k_tf32", conv_layer_split_k<float, false>, Precision::tf32, takes_split_k, split_k_shared);
  add("split_k", conv_layer_split_k<float, true>, Precision::f32, takes_split_k, split_k_shared);
}

}  // namespace asap::cuda
