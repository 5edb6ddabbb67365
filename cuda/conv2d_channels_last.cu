// The variants for channels-last pictures that fill a card at batch 1: plans the split of K, launches the convolution of
// conv2d_channels_last_split_k.cuh or conv2d_channels_last_wgmma.cuh and what conv2d_instance_norm.cuh does with its sums.
#include "cuda/conv2d_channels_last_split_k.cuh"
#include "cuda/conv2d_channels_last_wgmma.cuh"
#include "cuda/conv2d_instance_norm.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// From the one that copies the fewest bytes for a product to the one that leaves the fewest multiprocessors idle.
using LargeTile = ConvTile<256, 128, 2>;
using MediumTile = ConvTile<128, 128, 2>;
using SmallTile = ConvTile<128, 64, 2, 32>;
using LeastTile = ConvTile<64, 64, 4, 32>;

struct Tiles {
  int64_t pixels, outputs;  // of a tile
  int64_t of_picture(const ChannelsLastSizes& s) const { return ceil_div(s.pixels(), pixels); }
  int64_t count(const ChannelsLastSizes& s) const { return s.pictures * of_picture(s) * ceil_div(s.outputs, outputs); }
};
template <class Tile>
constexpr Tiles kTiles{Tile::kPixels, Tile::kOutputs};

// A function of sizes and card alone, so that equal inputs give equal bits on one card. Splits fill the multiprocessors once:
// another round of blocks would wait for the first, and each split costs a pass over the sums. least_steps: of a split.
int64_t splits_of(const ChannelsLastSizes& s, const Tiles& tiles, int64_t steps, int64_t least_steps, bool norm) {
  if (norm && s.pixels() > kLargestPlane) return 1;
  return std::max<int64_t>(std::min(card().multiprocessors / tiles.count(s), steps / least_steps), 1);
}

constexpr int64_t kLeastSteps = 2;  // the pipeline's filling should not be all there is

// The first whose blocks are three for every four multiprocessors; of 128 outputs or 256 pixels only where the layer has more
// than half as many.
Tiles split_k_tiles(const ChannelsLastSizes& s, int64_t steps, bool norm) {
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

SplitKPlan plan_splits(const ChannelsLastSizes& s, const Tiles& tiles, int64_t steps, int64_t least_steps, bool norm) {
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
Scratch split_k_scratch(const ChannelsLastSizes& s, const SplitKPlan& plan) {
  const int64_t row = int64_t{s.pictures} * plan.pitch;
  return {plan.writes_y ? Tensor() : scratch(plan.splits * row * s.pixels()),
          plan.writes_statistics ? scratch(2 * row * plan.pixel_tiles) : Tensor()};
}

dim3 blocks_of(const ChannelsLastSizes& s, const SplitKPlan& plan) {
  return {static_cast<unsigned>(s.pictures * plan.pixel_tiles),
          static_cast<unsigned>(ceil_div(s.outputs, plan.tile_outputs)), static_cast<unsigned>(plan.splits)};
}

template <int kThreads, int kPasses, class T>
void launch_plane_norm(const float* sums, const ChannelsLastSizes& s, const SplitKPlan& plan, const NormArguments& norm,
                       T* y) {
  const dim3 blocks(static_cast<unsigned>(ceil_div(s.outputs, 4 * kPlaneFours)), static_cast<unsigned>(s.pictures));
  launch(plane_norm_kernel<kThreads, kPasses, T>, Launch(blocks, kThreads).overlapping(), sums, plan.splits, s.pictures,
         s.pixels(), plan.pitch, s.outputs, s.y_pitch, norm, y);
}

template <class T>
void finish_with_norm(const SplitKResult<T>& result, const ChannelsLastSizes& s, const SplitKPlan& plan,
                      const NormArguments& norm) {
  if (!plan.writes_statistics) {
    return s.pixels() <= kLargestPlane / 4   ? launch_plane_norm<512, 1>(result.sums, s, plan, norm, result.y)
           : s.pixels() <= kLargestPlane / 2 ? launch_plane_norm<1024, 1>(result.sums, s, plan, norm, result.y)
                                             : launch_plane_norm<1024, 2>(result.sums, s, plan, norm, result.y);
  }
  const int64_t groups = ceil_div(s.outputs, 4 * kTiledFours), rounds = ceil_div(s.pixels(), kTiledRows);
  // One block each: every block joins the statistics anew.
  const int64_t pieces = std::clamp<int64_t>(card().multiprocessors / (groups * s.pictures), 1, rounds);
  const dim3 blocks(static_cast<unsigned>(pieces), static_cast<unsigned>(groups), static_cast<unsigned>(s.pictures));
  launch(tiled_norm_kernel<T>, Launch(blocks, kTiledThreads).overlapping(), result.sums, result.statistics, s.pixels(),
         plan.pixel_tiles, plan.tile_pixels, plan.pitch, s.outputs, s.y_pitch, norm, result.y);
}

template <class T>
void finish_with_bias(const SplitKResult<T>& result, const ChannelsLastSizes& s, const SplitKPlan& plan) {
  const int64_t rows = int64_t{s.pictures} * s.pixels();
  launch(sum_with_bias_kernel<T>, Launch(blocks_for(rows * plan.pitch / 4), kBlock).overlapping(), result.sums,
         plan.splits, rows, plan.pitch, s.outputs, s.y_pitch, result.epilogue, result.y);
}

template <class T>
int64_t steps_of(const ChannelsLastSizes& s) {
  return ceil_div(int64_t{s.side} * s.side * s.w_pitch * static_cast<int64_t>(sizeof(T)), kStepBytes);
}

// With a norm, or with an epilogue and no norm.
template <class T, bool kFma>
void run_split_k(const Tensor& x, const Tensor& w, const Conv2dParams& p, const NormArguments* norm,
                 const Epilogue<float>& epilogue, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const int64_t steps = steps_of<T>(s);
  const SplitKPlan plan = plan_splits(s, split_k_tiles(s, steps, norm), steps, kLeastSteps, norm);
  const Scratch scratch = split_k_scratch(s, plan);
  const SplitKResult<T> result{
      .sums = plan.writes_y ? nullptr : static_cast<float*>(scratch.sums.raw()),
      .statistics = plan.writes_statistics ? static_cast<float2*>(scratch.statistics.raw()) : nullptr,
      .epilogue = epilogue,
      .y = y.data<T>()};
  const auto convolve = [&]<class Tile>(Tile) {
    const Launch shape(blocks_of(s, plan), Tile::kThreads, split_k_shared_bytes<Tile>(s));
    launch(split_k_kernel<T, Tile, kFma>, shape.overlapping(), x.data<T>(), w.data<T>(), s, plan, result);
  };
  plan.tile_pixels == LargeTile::kPixels      ? convolve(LargeTile{})
  : plan.tile_pixels == LeastTile::kPixels    ? convolve(LeastTile{})
  : plan.tile_outputs == MediumTile::kOutputs ? convolve(MediumTile{})
                                              : convolve(SmallTile{});
  if (norm) {
    finish_with_norm(result, s, plan, *norm);
  } else if (!plan.writes_y) {
    finish_with_bias(result, s, plan);
  }
}

void run_wgmma(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const int64_t steps = steps_of<bf16>(s);
  const SplitKPlan plan = plan_splits(s, kTiles<WideTile>, steps, steps, false);  // one split
  const Launch shape(blocks_of(s, plan), WideTile::kThreads, wide_shared_bytes(s));
  launch(wide_kernel, shape.overlapping(), x.data<bf16>(), w.data<bf16>(), s, plan,
         Epilogue<float>(bias, p.activation_slope), y.data<bf16>());
}

// ---- which layers ---------------------------------------------------------------------------------------------------

// Offsets are counted in 31 bits, those in x with one to spare; grids reach 65535 in y and z.
bool takes_split_k(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  constexpr int64_t kSide = INT16_MAX, kOffsets = INT32_MAX, kGrid = 65535;
  const auto places = [](const Tensor& t) { return t.size(0) * t.size(2) * t.size(3) * pixel_pitch(t); };
  const int64_t pixel_bytes = pixel_pitch(x) * static_cast<int64_t>(size_of(x.dtype()));
  return takes_pixels(x, w, p, y) && std::max(x.size(2), x.size(3)) + 2 * p.padding.h < kSide && p.stride.h < kSide &&
         x.size(2) * x.size(3) * pixel_bytes / kChunkBytes < kOffsets / 2 && places(w) < kOffsets &&
         places(y) < kOffsets && x.size(0) <= kGrid && y.size(1) <= kGrid * SmallTile::kOutputs;
}
bool takes_wgmma(const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
  return card_has_wgmma() && x.dtype() == DType::bf16 && takes_split_k(x, w, p, y) &&
         wide_shared_bytes(channels_last_sizes(x, w, p, y)) <= card().shared_bytes;
}

constexpr Takes kPixels{.strided = true, .bf16 = true};

// Products of bf16 tensors are as exact as their elements; of f32 ones in tf32 only where the precision allows it.
template <class T, bool kFma>
void add(const std::string& suffix) {
  const auto takes = [=](const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
    return x.dtype() == dtype_of<T> && (std::is_same_v<T, bf16> || kFma || precision_allows(Precision::tf32)) &&
           takes_split_k(x, w, p, y) &&
           split_k_shared_bytes<MediumTile>(channels_last_sizes(x, w, p, y)) <= card().shared_bytes;
  };
  kernels::conv2d_instance_norm.add(
      Device::cuda, "split_k" + suffix,
      [](const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& p,
         const NormParams& norm_params, Tensor& y) {
        const NormArguments norm(gamma, beta, norm_params);
        run_split_k<T, kFma>(x, w, p, &norm, {}, y);
      },
      [=](const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p, const NormParams&,
          Tensor& y) { return takes(x, w, p, y); },
      kPixels);
  kernels::conv2d_forward.add(
      Device::cuda, "channels_last" + suffix,
      [](const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
        run_split_k<T, kFma>(x, w, p, nullptr, {bias, p.activation_slope}, y);
      },
      [=](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
        return takes(x, w, p, y);
      },
      kPixels);
}

// What the kernels above leave: two kernels, with the sums between them.
void convolve_then_norm(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                        const Conv2dParams& p, const NormParams& norm_params, Tensor& y) {
  Tensor h = Tensor::like(y), mean = Tensor::like(y, {y.size(0), y.size(1)}), rstd = Tensor::like(mean);
  kernels::conv2d_forward.run(Device::cuda, x, w, Tensor(), p, h);
  kernels::instance_norm_forward.run(Device::cuda, h, gamma, beta, norm_params, y, mean, rstd);
}

}  // namespace

void register_conv2d_channels_last() {
  add_conv2d_instance_norm_cluster();
  kernels::conv2d_forward.add(Device::cuda, "channels_last_wgmma_bf16", run_wgmma, takes_wgmma, kPixels);
  add<bf16, false>("_bf16");
  add<float, false>("_tf32");
  add<float, true>("");
  kernels::conv2d_instance_norm.add(Device::cuda, "composed", convolve_then_norm);
}

}  // namespace asap::cuda
