// The kernel of docs/kernels.md for a card: the mean of 2x2 pixels.
#include "cuda/common.cuh"
#include "tensor/kernel_library.h"

namespace {

using namespace asap;
using namespace asap::cuda;

// Memory-bound: one thread an output, neighbours to neighbouring threads, so that a warp reads two runs of 256 bytes.
__global__ void mean_of_four(const float* x, float* y, int64_t count, int64_t OH, int64_t OW, int64_t H, int64_t W) {
  for_each_index(count, [&](int64_t i) {
    const int64_t row = i / OW, plane = row / OH;
    const float* top = x + (plane * H + 2 * (row % OH)) * W + 2 * (i % OW);
    y[i] = 0.25f * (top[0] + top[1] + top[W] + top[W + 1]);
  });
}

void pool2x2_card(const Tensor& x, const Pool2dParams&, Tensor& y) {
  launch(mean_of_four, Launch(blocks_for(y.numel()), kBlock), x.data<float>(), y.data<float>(), y.numel(), y.size(2), y.size(3),
         x.size(2), x.size(3));
}

bool takes(const Tensor& x, const Pool2dParams& p, const Tensor&) {
  return x.dtype() == DType::f32 && p.kernel == Size2(2) && p.stride == Size2(2) && p.padding == Size2(0);
}

}  // namespace

ASAP_REGISTER_KERNELS() { kernels::avg_pool2d_forward.add_first(Device::cuda, "pool2x2_card", pool2x2_card, takes); }
