// The variant cluster_bf16 of conv_layer: which layers it takes, and its launch. Next: conv_layer_cluster.cuh, the kernel.
#include "cuda/conv_layer_cluster.cuh"

namespace asap::cuda {
namespace {

template <int kProducts>
void launch_cluster(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift, const ConvLayerShape& s,
                    const NormParams& params, Tensor& y) {
  const NormArguments norm{scale.data<float>(), shift.data<float>(), static_cast<float>(params.eps),
                           static_cast<float>(params.activation_slope)};
  const dim3 blocks(kClusterBlocks, static_cast<unsigned>(ceil_div(s.outputs, kClusterOutputs)),
                    static_cast<unsigned>(s.pictures));
  launch(conv_cluster_kernel<kProducts>,
         Launch(blocks, kClusterThreads, cluster_shared_bytes<kProducts>(s)).in_clusters(kClusterBlocks).overlapping(),
         x.data<bf16>(), w.data<bf16>(), s, ClusterWindow(s), norm, y.data<bf16>());
}

// How many products of 8 columns each warpgroup has side by side.
int products_of(const ConvLayerShape& s) { return s.out_width <= 2 * kClusterSide ? 1 : 2; }

void conv_layer_cluster(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                        const ConvLayerParams& p, Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  products_of(s) == 1 ? launch_cluster<1>(x, w, scale, shift, s, p.norm_params, y)
                      : launch_cluster<2>(x, w, scale, shift, s, p.norm_params, y);
}

// One or two slices of channels for each block, whose second one must not be needed before it has come; rows of whole fours of
// pixels, so that four sums are neighbours in a row.
bool takes(const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const ConvLayerParams& p, Tensor& y) {
  if (!precision_allows(Precision::bf16) || p.layout != Layout::channels_last || !p.norm || p.stride != 1) return false;
  if (x.dtype() != DType::bf16 || w.dtype() != DType::bf16 || y.dtype() != DType::bf16 || !card_has_wgmma())
    return false;
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  constexpr int kPiece = kSliceChannels * kClusterBlocks, kLeastSide = 3;
  constexpr int64_t kOffsets = INT32_MAX, kGrid = 65535;
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % kChunkBytes == 0; };
  return (s.channels == kPiece || s.channels == 2 * kPiece) && s.side >= kLeastSide && s.out_height <= kClusterRows &&
         s.out_width <= 4 * kClusterSide && s.out_width % 4 == 0 && s.pictures <= kGrid &&
         s.outputs <= kGrid * kClusterOutputs && x.size(1) * x.size(2) * s.channels * 2 < kOffsets && aligned(x) &&
         aligned(w) &&
         (products_of(s) == 1 ? cluster_shared_bytes<1>(s) : cluster_shared_bytes<2>(s)) + 1024 <= card().shared_bytes;
}

}  // namespace

void register_conv_layer_cluster() { kernels::conv_layer.add(Device::cuda, "cluster_bf16", conv_layer_cluster, takes, {.bf16 = true}); }

}  // namespace asap::cuda
