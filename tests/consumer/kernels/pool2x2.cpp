// The kernel of docs/kernels.md: the mean of 2x2 pixels, two rows at a time.
#include "tensor/cpu/parallel.h"
#include "tensor/kernel_library.h"

namespace {

using namespace asap;

// Memory-bound: four additions for 20 bytes. Rows are divided among the threads; the inner loop has no index arithmetic left.
void pool2x2(const Tensor& x, const Pool2dParams&, Tensor& y) {
  const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  cpu::parallel_for(x.size(0) * x.size(1) * OH, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *top = from + (row / OH * H + 2 * (row % OH)) * W, *below = top + W;
      float* out = to + row * OW;
      for (int64_t j = 0; j < OW; ++j) out[j] = 0.25f * (top[2 * j] + top[2 * j + 1] + below[2 * j] + below[2 * j + 1]);
    }
  });
}

bool takes(const Tensor& x, const Pool2dParams& p, const Tensor&) {
  return x.dtype() == DType::f32 && p.kernel == Size2(2) && p.stride == Size2(2) && p.padding == Size2(0);
}

}  // namespace

ASAP_REGISTER_KERNELS() { kernels::avg_pool2d_forward.add_first(Device::cpu, "pool2x2", pool2x2, takes); }
