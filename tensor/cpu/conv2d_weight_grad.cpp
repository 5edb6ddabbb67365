// Convolution's weight gradient: for every tap, dw[o][c] = sum over output pixels of dy[o][pixel] * x[c][pixel seen by the
// tap]. Both sides are transposed once per block of pixels, channels innermost; then a tap is only an offset into the
// same copy of x, and each (tile of o, tap, panel of c) is one run of the micro kernel over the block's pixels.
// A task owns its part of dw and walks over all pixels: no partial sums, the same bits for any thread count.
// Next: matmul_micro.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_weight_grad.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_transpose.h"
#include "tensor/cpu/matmul_block.h"
#include "tensor/cpu/matmul_packed.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kBlockPixels = 512;                    // output pixels of a block, more if a row is longer
constexpr int64_t kSumBytes = int64_t{256} << 10;        // a task's part of dw

// One group, one range of output channels [o0, o1) and one panel of input channels [c0, c0 + count).
// V vectors wide: narrow panels would waste half of two.
template <class T, int V>
class WeightGradTask {
 public:
  WeightGradTask(const Conv2dSizes& s, const Conv2dParams& p, int64_t group, int64_t o0, int64_t o1, int64_t c0, int64_t count)
      : s_(s), p_(p), group_(group), o0_(o0), o1_(o1), c0_(c0), count_(count),
        tiles_(ceil_div(o1 - o0, kTileRows)),
        block_rows_(std::clamp<int64_t>(kBlockPixels / s.ow, 1, s.oh)),
        pitch_(s.ow + (s.kw - 1) * p.dilation.w / p.stride.w),
        sums_(tiles_ * taps() * kTileRows * kWidth),
        dyt_(tiles_ * block_rows_ * s.ow * Simd<T>::rows),
        xt_(((block_rows_ - 1) * p.stride.h + (s.kh - 1) * p.dilation.h + 1) * row_size()) {}

  void run(const Tensor& x, const Tensor& dy, Tensor& dw) const {
    bool accumulate = false;
    for (int64_t image = 0; image < s_.n; ++image) {
      const T* xp = x.data<T>() + (image * s_.c + group_ * s_.cg + c0_) * s_.h * s_.w;
      const T* dyp = dy.data<T>() + (image * s_.o + group_ * s_.og) * s_.oh * s_.ow;
      for (int64_t oh = 0; oh < s_.oh; oh += block_rows_) {
        const int64_t rows = std::min(block_rows_, s_.oh - oh);
        transpose_dy(dyp + oh * s_.ow, rows);
        transpose_x(xp, oh, rows);
        multiply(rows, accumulate);
        accumulate = true;
      }
    }
    write(dw.data<T>() + ((group_ * s_.og) * s_.cg + c0_) * taps());
  }

 private:
  static constexpr int64_t kWidth = V * Simd<T>::lanes;
  int64_t taps() const { return s_.kh * s_.kw; }
  int64_t row_size() const { return p_.stride.w * pitch_ * kWidth; }  // of xt
  int64_t tile_begin(int64_t tile) const { return o0_ + (o1_ - o0_) * tile / tiles_; }

  // dyt [tile][pixel][Simd::rows]
  void transpose_dy(const T* dy, int64_t rows) const {
    const int64_t pixels = rows * s_.ow;
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      const int64_t o = tile_begin(tile);
      pack_transposed(dy + o * s_.oh * s_.ow, s_.oh * s_.ow, tile_begin(tile + 1) - o, pixels, Simd<T>::rows,
                      dyt_.data() + tile * pixels * Simd<T>::rows);
    }
  }

  // xt [source row][column phase][column][kWidth channels]: the rows under output rows [oh, oh + rows), with the border.
  void transpose_x(const T* x, int64_t oh, int64_t rows) const {
    const int64_t source_rows = (rows - 1) * p_.stride.h + (s_.kh - 1) * p_.dilation.h + 1;
    for (int64_t r = 0; r < source_rows; ++r) {
      const int64_t ih = padded_index(oh * p_.stride.h - p_.padding.h + r, s_.h, p_.pad_mode);
      T* to = xt_.data() + r * row_size();
      if (ih < 0) {
        std::fill_n(to, row_size(), T(0));
        continue;
      }
      const int64_t step = p_.stride.w;
      transpose_row<T>({x + ih * s_.w, s_.h * s_.w, count_, s_.w, p_.pad_mode}, -p_.padding.w, step * pitch_, kWidth,
                       [&](int64_t i) { return to + (i % step * pitch_ + i / step) * kWidth; });
    }
  }

  // sums [tile][tap][kTileRows][kWidth] (+)= dyt * xt over the block's pixels.
  void multiply(int64_t rows, bool accumulate) const {
    const int64_t pixels = rows * s_.ow;
    T* sum = sums_.data();
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      const MicroKernel<T> kernel = micro_kernel_for<T, V>(tile_begin(tile + 1) - tile_begin(tile));
      for (int64_t kh = 0; kh < s_.kh; ++kh) {
        for (int64_t kw = 0; kw < s_.kw; ++kw, sum += kTileRows * kWidth) {
          const int64_t dw = kw * p_.dilation.w;
          const T* seen = xt_.data() + kh * p_.dilation.h * row_size() + (dw % p_.stride.w * pitch_ + dw / p_.stride.w) * kWidth;
          kernel({rows, s_.ow, {dyt_.data() + tile * pixels * Simd<T>::rows, 1, Simd<T>::rows}, seen, p_.stride.h * row_size(), sum, kWidth, accumulate});
        }
      }
    }
  }

  // dw [o][c][tap]
  void write(T* dw) const {
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      for (int64_t o = tile_begin(tile); o < tile_begin(tile + 1); ++o) {
        const T* sum = sums_.data() + (tile * taps() * kTileRows + o - tile_begin(tile)) * kWidth;
        T* to = dw + o * s_.cg * taps();
        for (int64_t c = 0; c < count_; ++c) {
          for (int64_t t = 0; t < taps(); ++t) *to++ = sum[t * kTileRows * kWidth + c];
        }
      }
    }
  }

  const Conv2dSizes& s_;
  const Conv2dParams& p_;
  const int64_t group_, o0_, o1_, c0_, count_;
  const int64_t tiles_;       // of at most kTileRows output channels, evenly filled
  const int64_t block_rows_;  // output rows of a block
  const int64_t pitch_;       // columns of a phase
  const Workspace<T> sums_, dyt_, xt_;
};

template <class T>
void weight_grad(const Tensor& x, const Tensor& dy, const Conv2dParams& p, const Conv2dSizes& s, Tensor& dw) {
  constexpr int64_t lanes = Simd<T>::lanes, width = Simd<T>::columns;
  const int64_t panels = ceil_div(s.cg, width), most = ceil_div(s.og, kTileRows);
  // Ranges of output channels: few enough for the cache, and a multiple of the threads where there are enough.
  const int64_t fit = std::max<int64_t>(kTileRows, kSumBytes / (s.kh * s.kw * width * static_cast<int64_t>(sizeof(T))));
  const int64_t threads = omp_get_max_threads();
  const int64_t ranges = std::min(most, ceil_div(ceil_div(s.og, fit), threads) * threads);
  parallel_for(s.groups * ranges * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t group = task / (ranges * panels), range = task / panels % ranges, c0 = task % panels * width;
      const int64_t o0 = s.og * range / ranges, o1 = s.og * (range + 1) / ranges, count = std::min(width, s.cg - c0);
      if (count <= lanes) WeightGradTask<T, 1>(s, p, group, o0, o1, c0, count).run(x, dy, dw);
      else WeightGradTask<T, kTileVectors>(s, p, group, o0, o1, c0, count).run(x, dy, dw);
    }
  });
}

// 1x1, stride 1: dw[o][c] = dy[o][pixels] x[c][pixels]^T, image by image.
template <class T>
void weight_grad_pointwise(const Tensor& x, const Tensor& dy, const Conv2dSizes& s, Tensor& dw) {
  const int64_t pixels = s.oh * s.ow;
  for (int64_t image = 0; image < s.n; ++image) {
    for (int64_t group = 0; group < s.groups; ++group) {
      const MatrixProduct<T> product{.m = s.og, .n = s.cg, .k = pixels, .transpose_a = false, .transpose_b = true, .accumulate = image > 0};
      packed_matmul(dy.data<T>() + (image * s.o + group * s.og) * pixels, x.data<T>() + (image * s.c + group * s.cg) * pixels,
                  product, dw.data<T>() + group * s.og * s.cg);
    }
  }
}

}  // namespace

void conv2d_weight_grad_implicit_gemm(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  dispatch_floating(x.dtype(), "conv2d_weight_grad", [&]<class T>(T) {
    if (is_pointwise(s, p)) weight_grad_pointwise<T>(x, dy, s, dw);
    else weight_grad<T>(x, dy, p, s, dw);
  });
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(conv2d_weight_grad_implicit_gemm);

void conv2d_weight_grad_implicit_gemm(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  HWY_DYNAMIC_DISPATCH(conv2d_weight_grad_implicit_gemm)(x, dy, p, dw);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
