// The variant cluster_bf16 of conv_layer: which layers it takes, and its launch. Next: conv_layer_cluster.cuh, the kernel.
#include "cuda/conv_layer_cluster.cuh"

namespace asap::cuda {
namespace {

template <int kColumns>
void launch_cluster(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift, const ConvLayerShape& s,
                    const NormParams& params, Tensor& y) {
  const NormArguments norm{scale.data<float>(), shift.data<float>(), static_cast<float>(params.eps),
                           static_cast<float>(params.activation_slope)};
  const dim3 blocks(kClusterBlocks, static_cast<unsigned>(s.outputs / kClusterOutputs), static_cast<unsigned>(s.pictures));
  launch(conv_cluster_kernel<kColumns>,
         Launch(blocks, kClusterThreads, cluster_shared_bytes<kColumns>(s)).in_clusters(kClusterBlocks).overlapping(),
         x.data<bf16>(), w.data<bf16>(), s, ClusterWindow(s), norm, y.data<bf16>());
}

// Of how many products side by side a picture's columns are, for each of two warpgroups.
int columns_of(const ConvLayerShape& s) { return s.out_width <= 2 * kClusterColumns ? 1 : 2; }

void conv_layer_cluster(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift, const ConvLayerParams& p,
                        Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  columns_of(s) == 1 ? launch_cluster<1>(x, w, scale, shift, s, p.norm_params, y)
                     : launch_cluster<2>(x, w, scale, shift, s, p.norm_params, y);
}

// One or two slices of 64 channels for each block; rows of whole fours of pixels, so that four sums are neighbours in a row.
bool takes(const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const ConvLayerParams& p, Tensor& y) {
  if (!precision_allows(Precision::bf16) || p.layout != Layout::nhwc || !p.norm || p.stride != 1) return false;
  if (x.dtype() != DType::bf16 || w.dtype() != DType::bf16 || y.dtype() != DType::bf16 || !card_has_wgmma()) return false;
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  constexpr int kPiece = 64 * kClusterBlocks;
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; };
  return (s.channels == kPiece || s.channels == 2 * kPiece) && s.outputs % kClusterOutputs == 0 &&
         s.out_height <= kClusterRows && s.out_width <= 4 * kClusterColumns && s.out_width % 4 == 0 && s.pictures <= 65535 &&
         aligned(x) && aligned(w) && aligned(y) &&
         (columns_of(s) == 1 ? cluster_shared_bytes<1>(s) : cluster_shared_bytes<2>(s)) <= card().shared_bytes;
}

}  // namespace

void register_conv_layer_cluster() { kernels::conv_layer.add(Device::cuda, "cluster_bf16", conv_layer_cluster, takes); }

}  // namespace asap::cuda
