// Convolution as a matrix product: the pixels under the kernel of a tile of outputs are unrolled into a column matrix
// [C/groups*KH*KW, tile] and multiplied with the weights. The tile bounds the workspace.
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Core>

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/parallel.h"

namespace asap::cpu {
namespace {

constexpr int64_t kTileElements = int64_t{1} << 20;

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using MapRows = Eigen::Map<RowMajor<T>, 0, Eigen::OuterStride<>>;
template <class T>
using ConstRows = Eigen::Map<const RowMajor<T>, 0, Eigen::OuterStride<>>;

int64_t tile_rows(const Conv2dSizes& s) {
  return std::max<int64_t>(1, std::min(s.oh, kTileElements / std::max<int64_t>(1, s.cg * s.kh * s.kw * s.ow)));
}

// Calls visit(row of the column matrix, first column, ih, iw, count...) for output rows [oh0, oh1) of channels [c0, c1).
template <class F>
void for_each_pixel(const Conv2dSizes& s, const Conv2dParams& p, int64_t c0, int64_t c1, int64_t oh0, int64_t oh1, const F& visit) {
  for (int64_t c = c0; c < c1; ++c) {
    for (int64_t kh = 0; kh < s.kh; ++kh) {
      for (int64_t kw = 0; kw < s.kw; ++kw) {
        const int64_t row = (c * s.kh + kh) * s.kw + kw;
        for (int64_t oh = oh0; oh < oh1; ++oh) {
          const int64_t ih = oh * p.stride.h - p.padding.h + kh * p.dilation.h;
          for (int64_t ow = 0; ow < s.ow; ++ow) {
            const int64_t iw = ow * p.stride.w - p.padding.w + kw * p.dilation.w;
            const bool in = ih >= 0 && ih < s.h && iw >= 0 && iw < s.w;
            visit(row * (oh1 - oh0) * s.ow + (oh - oh0) * s.ow + ow, in ? (c * s.h + ih) * s.w + iw : -1);
          }
        }
      }
    }
  }
}

}  // namespace

void conv2d_weight_grad_im2col(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  const int64_t rows = tile_rows(s), tiles = (s.oh + rows - 1) / rows, k = s.cg * s.kh * s.kw;
  dispatch_floating(x.dtype(), "conv2d_weight_grad", [&]<class T>(T) {
    Tensor col = Tensor::like(x, {k, rows * s.ow});
    T* cp = col.data<T>();
    std::fill_n(dw.data<T>(), dw.numel(), T(0));
    for (int64_t work = 0; work < s.n * s.groups * tiles; ++work) {
      const int64_t image = work / tiles / s.groups, g = work / tiles % s.groups, oh0 = work % tiles * rows;
      const int64_t oh1 = std::min(s.oh, oh0 + rows), cols = (oh1 - oh0) * s.ow;
      const T* xp = x.data<T>() + (image * s.c + g * s.cg) * s.h * s.w;
      parallel_for(s.cg, 1, [&](int64_t c0, int64_t c1) {
        for_each_pixel(s, p, c0, c1, oh0, oh1, [&](int64_t i, int64_t j) { cp[i] = j < 0 ? T(0) : xp[j]; });
        const int64_t k0 = c0 * s.kh * s.kw, k1 = c1 * s.kh * s.kw;
        const ConstRows<T> ym(dy.data<T>() + (image * s.o + g * s.og) * s.oh * s.ow + oh0 * s.ow, s.og, cols,
                              Eigen::OuterStride<>(s.oh * s.ow));
        const ConstRows<T> cm(cp + k0 * cols, k1 - k0, cols, Eigen::OuterStride<>(cols));
        MapRows<T> wm(dw.data<T>() + g * s.og * k + k0, s.og, k1 - k0, Eigen::OuterStride<>(k));
        wm.noalias() += ym * cm.transpose();
      });
    }
  });
}

}  // namespace asap::cpu
