// The variant cluster_bf16 of conv2d_instance_norm: which layers it takes, and its launch. Next: conv2d_instance_norm_cluster.cuh, the
// kernel.
#include "cuda/conv2d_instance_norm_cluster.cuh"

namespace asap::cuda {
namespace {

template <int kProducts>
void launch_cluster(const Tensor& x, const Tensor& w, const ChannelsLastSizes& s, const NormArguments& norm,
                    Tensor& y) {
  const dim3 blocks(kClusterBlocks, static_cast<unsigned>(ceil_div(s.outputs, kClusterOutputs)),
                    static_cast<unsigned>(s.pictures));
  launch(conv_cluster_kernel<kProducts>,
         Launch(blocks, kClusterThreads, cluster_shared_bytes<kProducts>(s)).in_clusters(kClusterBlocks).overlapping(),
         x.data<bf16>(), w.data<bf16>(), s, ClusterWindow(s), norm, y.data<bf16>());
}

// How many products of 8 columns each warpgroup has side by side.
int products_of(const ChannelsLastSizes& s) { return s.out_width <= 2 * kClusterSide ? 1 : 2; }

void run_cluster(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& p,
                 const NormParams& norm_params, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const NormArguments norm(gamma, beta, norm_params);
  products_of(s) == 1 ? launch_cluster<1>(x, w, s, norm, y) : launch_cluster<2>(x, w, s, norm, y);
}

// One or two slices of channels for each block, whose second one must not be needed before it has come; rows of whole fours of
// pixels, so that four sums are neighbours in a row.
bool takes_cluster(const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p,
                   const NormParams&, Tensor& y) {
  if (x.dtype() != DType::bf16 || !card_has_wgmma() || !takes_pixels(x, w, p, y)) return false;
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  constexpr int kPiece = kSliceChannels * kClusterBlocks, kLeastSide = 3;
  constexpr int64_t kOffsets = INT32_MAX, kGrid = 65535;
  return s.stride == 1 && (s.channels == kPiece || s.channels == 2 * kPiece) && s.side >= kLeastSide &&
         s.out_height <= kClusterRows && s.out_width <= 4 * kClusterSide && s.out_width % 4 == 0 &&
         s.pictures <= kGrid && s.outputs <= kGrid * kClusterOutputs &&
         x.size(2) * x.size(3) * s.x_pitch * 2 < kOffsets &&
         (products_of(s) == 1 ? cluster_shared_bytes<1>(s) : cluster_shared_bytes<2>(s)) + 1024 <= card().shared_bytes;
}

}  // namespace

void add_conv2d_instance_norm_cluster() {
  kernels::conv2d_instance_norm.add(Device::cuda, "cluster_bf16", run_cluster, takes_cluster,
                                    {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
