// The variants of conv_layer that fill a card at batch 1: plans the split of K, launches the convolution of
// conv_layer_split_k.cuh or conv_layer_resident.cuh and what conv_layer_norm.cuh does with its sums. nhwc only: the session asks for it on a card, since
// both operands then run along K; nchw is left to `naive`.
#include "cuda/conv_layer_norm.cuh"
#include "cuda/conv_layer_resident.cuh"
#include "cuda/conv_layer_split_k.cuh"

namespace asap::cuda {
namespace {

using SmallTile = ConvTile<128, 64, 2>;  // layers of 64 outputs
using MediumTile = ConvTile<128, 128, 2>;
using LargeTile =
    ConvTile<256, 128, 2>;  // half as many bytes for a product as MediumTile, where there are enough of them

struct Tiles {
  int64_t pixels, outputs;  // of a tile
  int64_t of_picture(const ConvLayerShape& s) const { return ceil_div(s.pixels(), pixels); }
  int64_t count(const ConvLayerShape& s) const { return s.pictures * of_picture(s) * ceil_div(s.outputs, outputs); }
};
template <class Tile>
constexpr Tiles kTiles{Tile::kPixels, Tile::kOutputs};

Tiles split_k_tiles(const ConvLayerShape& s) {
  if (s.outputs <= SmallTile::kOutputs) return kTiles<SmallTile>;
  const bool fills_card =
      s.pixels() >= LargeTile::kPixels && 4 * kTiles<LargeTile>.count(s) >= 3 * card().multiprocessors;
  return fills_card && kSplitSharedBytes<LargeTile> <= card().shared_bytes ? kTiles<LargeTile> : kTiles<MediumTile>;
}

// A function of sizes and card alone, so that equal inputs give equal bits on one card. Splits fill the multiprocessors once:
// another round of blocks would wait for the first, and each split costs a pass over the sums. least_steps: of a split.
SplitKPlan plan_splits(const ConvLayerShape& s, const Tiles& tiles, int64_t steps, int64_t least_steps, bool norm) {
  const bool large_plane = norm && s.pixels() > kLargestPlane;
  const int64_t wanted = std::min(card().multiprocessors / tiles.count(s), steps / least_steps);
  const int64_t splits = large_plane ? 1 : std::max<int64_t>(wanted, 1);
  return {.tile_pixels = static_cast<int>(tiles.pixels),
          .tile_outputs = static_cast<int>(tiles.outputs),
          .pixel_tiles = static_cast<int>(tiles.of_picture(s)),
          .steps = static_cast<int>(steps),
          .splits = static_cast<int>(splits),
          .pitch = static_cast<int>(ceil_div(s.outputs, 4) * 4),
          .writes_y = !norm && splits == 1,
          .writes_statistics = large_plane};
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

template <class Y>
void launch_plane_norm(const float* sums, const ConvLayerShape& s, const SplitKPlan& plan, const NormArguments& norm,
                       Y* y) {
  const auto run = [&](auto kernel) {
    const dim3 blocks(static_cast<unsigned>(ceil_div(s.outputs, 4 * kPlaneFours)), static_cast<unsigned>(s.pictures));
    launch(kernel, {blocks, kPlaneThreads}, sums, plan.splits, s.pictures, s.pixels(), plan.pitch, s.outputs, norm, y);
  };
  const int64_t passes = ceil_div(s.pixels(), kPlaneRows);
  passes <= 2   ? run(plane_norm_kernel<2, Y>)
  : passes <= 4 ? run(plane_norm_kernel<4, Y>)
                : run(plane_norm_kernel<8, Y>);
}

template <class Y>
void finish(const Scratch& scratch, const Tensor& scale, const Tensor& shift, const ConvLayerShape& s,
            const SplitKPlan& plan, const ConvLayerParams& p, Y* y) {
  const float* sums = scratch.sums.data<float>();
  if (!p.norm) {
    const int64_t rows = int64_t{s.pictures} * s.pixels();
    launch(sum_with_bias_kernel<Y>, {blocks_for(rows * plan.pitch / 4), kBlock}, sums, plan.splits, rows, plan.pitch,
           s.outputs, shift.data<float>(), y);
    return;
  }
  const NormArguments norm{scale.data<float>(), shift.data<float>(), static_cast<float>(p.norm_params.eps),
                           static_cast<float>(p.norm_params.activation_slope)};
  if (!plan.writes_statistics) return launch_plane_norm(sums, s, plan, norm, y);
  const int64_t groups = ceil_div(s.outputs, 4 * kTiledFours), rounds = ceil_div(s.pixels(), kTiledRows);
  // One block each: every block joins the statistics anew.
  const int64_t pieces = std::clamp<int64_t>(card().multiprocessors / (groups * s.pictures), 1, rounds);
  const dim3 blocks(static_cast<unsigned>(pieces), static_cast<unsigned>(groups), static_cast<unsigned>(s.pictures));
  launch(tiled_norm_kernel<Y>, {blocks, kTiledThreads}, sums, static_cast<const float2*>(scratch.statistics.raw()),
         s.pixels(), plan.pixel_tiles, plan.tile_pixels, plan.pitch, s.outputs, norm, y);
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
  constexpr int64_t kLeastSteps = 2;  // the pipeline's filling should not be all there is
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  const int64_t steps = ceil_div(int64_t{s.side} * s.side * s.channels * static_cast<int64_t>(sizeof(T)), kStepBytes);
  const SplitKPlan plan = plan_splits(s, split_k_tiles(s), steps, kLeastSteps, p.norm);
  const auto convolve = [&]<class Tile>(Tile, const SplitKResult& result) {
    launch(split_k_kernel<T, Tile, kFma>, {blocks_of(s, plan), Tile::kThreads, kSplitSharedBytes<Tile>}, x.data<T>(),
           w.data<T>(), s, plan, result);
  };
  const auto convolve_in_tiles = [&](const SplitKResult& result) {
    if (plan.tile_outputs == SmallTile::kOutputs) return convolve(SmallTile{}, result);
    plan.tile_pixels == LargeTile::kPixels ? convolve(LargeTile{}, result) : convolve(MediumTile{}, result);
  };
  run_layer(convolve_in_tiles, s, plan, scale, shift, p, y);
}

template <class T>
void conv_layer_resident(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                         const ConvLayerParams& p, Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  const int64_t slices = s.channels * static_cast<int64_t>(sizeof(T)) / kStepBytes;
  const SplitKPlan plan = plan_splits(s, kTiles<ResidentTile>, slices, 1, p.norm);
  const auto convolve = [&](const SplitKResult& result) {
    launch(resident_kernel<T>, {blocks_of(s, plan), ResidentTile::kThreads, resident_shared_bytes(s)}, x.data<T>(),
           w.data<T>(), s, resident_window(s), plan, result);
  };
  run_layer(convolve, s, plan, scale, shift, p, y);
}

// ---- which layers ---------------------------------------------------------------------------------------------------

// 16-byte copies need whole chunks of channels; windows are packed into 16 bits a side; grids reach 65535 in y and z.
bool takes_split_k(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y) {
  if (p.layout != Layout::nhwc || (y.dtype() != DType::f32 && y.dtype() != DType::bf16)) return false;
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % kChunkBytes == 0; };
  constexpr int64_t kSide = INT16_MAX, kOffsets = INT32_MAX, kGrid = 65535;
  const int64_t pixel_bytes = x.size(3) * static_cast<int64_t>(size_of(x.dtype()));
  return pixel_bytes % kChunkBytes == 0 && aligned(x) && aligned(w) && aligned(y) &&
         std::max(x.size(1), x.size(2)) + 2 * p.pad < kSide && p.stride < kSide &&
         x.size(1) * x.size(2) * pixel_bytes / kChunkBytes < kOffsets && w.numel() < kOffsets && y.numel() < kOffsets &&
         x.size(0) <= kGrid && y.size(3) <= kGrid * SmallTile::kOutputs;
}
size_t split_k_shared(const ConvLayerShape&) { return kSplitSharedBytes<MediumTile>; }

// Whole slices of channels and kernels of enough taps; shared memory limits the length of a row of y.
bool takes_resident(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y) {
  return takes_split_k(x, w, p, y) && p.stride == 1 && w.size(1) * w.size(1) >= kResidentLeastTaps &&
         x.size(3) * static_cast<int64_t>(size_of(x.dtype())) % kStepBytes == 0;
}

using Takes = bool(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y);
using SharedBytes = size_t(const ConvLayerShape& s);

void add(const char* variant, ConvLayerFn* run, Precision precision, Takes* takes, SharedBytes* shared_bytes) {
  const DType operands = precision == Precision::bf16 ? DType::bf16 : DType::f32;
  const auto supports = [=, label = str("conv_layer=", variant)](const Tensor& x, const Tensor& w, const Tensor&,
                                                                 const Tensor&, const ConvLayerParams& p, Tensor& y) {
    return precision_allows(precision) && x.dtype() == operands && takes(x, w, p, y) && card_has(80, label.c_str()) &&
           shared_bytes(conv_layer_shape(x, w, p, y)) <= card().shared_bytes;
  };
  kernels::conv_layer.add(Device::cuda, variant, run, supports);
}

}  // namespace

void register_conv_layer_split_k() {
  add("resident_bf16", conv_layer_resident<bf16>, Precision::bf16, takes_resident, resident_shared_bytes);
  add("split_k_bf16", conv_layer_split_k<bf16, false>, Precision::bf16, takes_split_k, split_k_shared);
  add("resident_tf32", conv_layer_resident<float>, Precision::tf32, takes_resident, resident_shared_bytes);
  add("split_k_tf32", conv_layer_split_k<float, false>, Precision::tf32, takes_split_k, split_k_shared);
  add("split_k", conv_layer_split_k<float, true>, Precision::f32, takes_split_k, split_k_shared);
}

}  // namespace asap::cuda
