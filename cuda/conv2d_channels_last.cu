// The variants for channels-last pictures that fill a card at batch 1: plans the split of K, launches the convolution of
// conv2d_channels_last_split_k.cuh and what conv2d_instance_norm.cuh does with its sums.
#include "cuda/conv2d_channels_last_split_k.cuh"
#include "cuda/conv2d_instance_norm.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// From the one that copies the fewest bytes for a product to the one that leaves the fewest multiprocessors idle.
using LargeTile = ConvTile<256, 128, 2>;
using MediumTile = ConvTile<128, 128, 2>;
using SmallTile = ConvTile<128, 64, 2, 32>;
using LeastTile = ConvTile<64, 64, 4, 32>;

// The convolution of a layer, with a norm behind it or none.
struct Layer {
  ChannelsLastSizes s;
  int64_t steps;
  bool norm;

  template <class Tile>
  int64_t tiles() const {
    return s.n * ceil_div(s.pixels(), Tile::kPixels) * ceil_div(s.o, Tile::kOutputs);
  }
  // A function of sizes and card alone, so that equal inputs give equal bits on one card. Splits fill the multiprocessors once:
  // another round of blocks would wait for the first, and each split costs a pass over the sums, which a norm makes anyway.
  template <class Tile>
  int64_t splits() const {
    constexpr int64_t kLeastSteps = 2;  // of a split: the pipeline's filling should not be all there is
    if (!norm || s.pixels() > kLargestPlane) return 1;
    return std::max<int64_t>(std::min(card().multiprocessors / tiles<Tile>(), steps / kLeastSteps), 1);
  }
  // Whether its blocks are three for every four multiprocessors; of 128 outputs or 256 pixels only where the layer has more
  // than half as many.
  template <class Tile>
  bool fills() const {
    const bool fills_tile = 2 * s.o > Tile::kOutputs && (Tile::kPixels <= 128 || s.pixels() >= Tile::kPixels);
    return fills_tile && 4 * tiles<Tile>() * splits<Tile>() >= 3 * card().multiprocessors;
  }
  template <class Tile>
  SplitKPlan plan() const {
    return {.pixel_tiles = static_cast<int>(ceil_div(s.pixels(), Tile::kPixels)),
            .steps = static_cast<int>(steps),
            .splits = static_cast<int>(splits<Tile>()),
            .pitch = static_cast<int>(ceil_div(s.o, 4) * 4)};
  }
  // f(Tile) for the first that fills the card. The large one takes K in one piece.
  template <class F>
  void with_tile(F&& f) const {
    const bool fits = split_k_shared_bytes<LargeTile>(s) <= card().shared_bytes;
    if (fits && fills<LargeTile>() && splits<LargeTile>() == 1) return f(LargeTile{});
    if (fills<MediumTile>()) return f(MediumTile{});
    fills<SmallTile>() ? f(SmallTile{}) : f(LeastTile{});
  }
};

template <class T>
void finish_with_norm(const SplitKResult<T>& result, const ChannelsLastSizes& s, const SplitKPlan& plan,
                      int tile_pixels, const NormArguments& norm) {
  if (result.statistics) {
    const int64_t groups = ceil_div(s.o, 4 * kTiledFours), rounds = ceil_div(s.pixels(), kTiledRows);
    // One block each: every block joins the statistics anew.
    const int64_t pieces = std::clamp<int64_t>(card().multiprocessors / (groups * s.n), 1, rounds);
    const dim3 blocks(static_cast<unsigned>(pieces), static_cast<unsigned>(groups), static_cast<unsigned>(s.n));
    launch(tiled_norm_kernel<T>, Launch(blocks, kTiledThreads).overlapping(), result.sums, result.statistics, s, plan,
           tile_pixels, norm, result.y);
    return;
  }
  const dim3 blocks(static_cast<unsigned>(ceil_div(s.o, 4 * kPlaneFours)), static_cast<unsigned>(s.n));
  const bool quarter = 4 * s.pixels() <= kLargestPlane, half = 2 * s.pixels() <= kLargestPlane;
  launch(quarter ? plane_norm_kernel<512, 1, T>
         : half  ? plane_norm_kernel<1024, 1, T>
                 : plane_norm_kernel<1024, 2, T>,
         Launch(blocks, quarter ? 512 : 1024).overlapping(), result.sums, s, plan, norm, result.y);
}

// With a norm, or with an epilogue and no norm.
template <class T, bool kFma>
void run_split_k(const Tensor& x, const Tensor& w, const Conv2dParams& p, const NormArguments* norm,
                 const Epilogue<float>& epilogue, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const int64_t bytes = int64_t{s.kh} * s.kh * s.w_pitch * static_cast<int64_t>(sizeof(T));
  const Layer layer{s, ceil_div(bytes, kStepBytes), norm != nullptr};
  layer.with_tile([&]<class Tile>(Tile) {
    const SplitKPlan plan = layer.plan<Tile>();
    const int64_t row = int64_t{s.n} * plan.pitch;
    Tensor sums, statistics;
    SplitKResult<T> result{.sums = nullptr, .statistics = nullptr, .epilogue = epilogue, .y = y.data<T>()};
    if (norm) result.sums = (sums = scratch(plan.splits * row * s.pixels())).template data<float>();
    if (norm && s.pixels() > kLargestPlane) {
      result.statistics = static_cast<float2*>((statistics = scratch(2 * row * plan.pixel_tiles)).raw());
    }
    const dim3 blocks(static_cast<unsigned>(s.n * plan.pixel_tiles),
                      static_cast<unsigned>(ceil_div(s.o, Tile::kOutputs)), static_cast<unsigned>(plan.splits));
    launch(split_k_kernel<T, Tile, kFma>, Launch(blocks, Tile::kThreads, split_k_shared_bytes<Tile>(s)).overlapping(),
           x.data<T>(), w.data<T>(), s, plan, result);
    if (norm) finish_with_norm(result, s, plan, Tile::kPixels, *norm);
  });
}

// Square kernels on tensors whose copies fit. Products of bf16 tensors are as exact as their elements; of f32 ones in tf32 only
// where the precision allows it. Offsets are counted in 31 bits, those in x with one to spare; grids reach 65535 in y and z.
template <class T, bool kFma>
bool takes(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  constexpr int64_t kSide = INT16_MAX, kOffsets = INT32_MAX, kGrid = 65535;
  if (x.dtype() != dtype_of<T> || !takes_pixels(x, w, p, y)) return false;
  if (!std::is_same_v<T, bf16> && !kFma && !precision_allows(Precision::tf32)) return false;
  const auto places = [](const Tensor& t) { return t.size(0) * t.size(2) * t.size(3) * pixel_stride(t); };
  const int64_t pixel_bytes = pixel_stride(x) * static_cast<int64_t>(sizeof(T));
  return std::max(x.size(2), x.size(3)) + 2 * p.padding.h < kSide && p.stride.h < kSide &&
         x.size(2) * x.size(3) * pixel_bytes / kChunkBytes < kOffsets / 2 && places(w) < kOffsets &&
         places(y) < kOffsets && x.size(0) <= kGrid && y.size(1) <= kGrid * SmallTile::kOutputs &&
         split_k_shared_bytes<MediumTile>(channels_last_sizes(x, w, p, y)) <= card().shared_bytes;
}

template <class T, bool kFma>
void add(const std::string& suffix) {
  constexpr Takes kPixels{.strided = true, .bf16 = true};
  kernels::conv2d_instance_norm.add(
      Device::cuda, "split_k" + suffix,
      [](const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& p,
         const NormParams& norm_params, Tensor& y) {
        const NormArguments norm(gamma, beta, norm_params);
        run_split_k<T, kFma>(x, w, p, &norm, {}, y);
      },
      [](const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p, const NormParams&,
         Tensor& y) { return takes<T, kFma>(x, w, p, y); },
      kPixels);
  kernels::conv2d_forward.add(
      Device::cuda, "channels_last" + suffix,
      [](const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
        run_split_k<T, kFma>(x, w, p, nullptr, {bias, p.activation_slope}, y);
      },
      [](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
        return takes<T, kFma>(x, w, p, y);
      },
      kPixels);
}

// What the kernels above leave: two kernels, with the sums between them.
void convolve_then_norm(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                        const Conv2dParams& p, const NormParams& norm_params, Tensor& y) {
  Tensor h = Tensor::like(y), mean = Tensor::empty({y.size(0), y.size(1)}, sum_dtype(y.dtype()), y.device()),
         rstd = Tensor::like(mean);
  kernels::conv2d_forward.run(Device::cuda, x, w, Tensor(), p, h);
  kernels::norm_forward.run(Device::cuda, h, gamma, beta, norm_params, y, mean, rstd);
}

}  // namespace

void register_conv2d_channels_last() {
  add_conv2d_instance_norm_cluster();
  add_conv2d_instance_norm_grid();
  add_conv2d_pixels_wgmma();
  add<bf16, false>("_bf16");
  add<float, false>("_tf32");
  add<float, true>("");
  kernels::conv2d_instance_norm.add(Device::cuda, "composed", convolve_then_norm);
}

}  // namespace asap::cuda
