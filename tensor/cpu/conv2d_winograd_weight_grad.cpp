// Weight gradient of the 3x3 or 4x4 convolution by Winograd's F(4x4, 3x3) or F(3x3, 4x4): the 36 elementwise products, summed
// over tiles, are 36 matrix products dy [O, tiles] x [tiles, C], after which 36 sums become a filter. Sums are f32; x, dy and
// dw may be bf16.
// Both operands are transformed first, with channels in the lanes, for as many tiles at a time as kOperandBytes allow;
// then every pair (at most kTileRows output channels, panel of input channels) is multiplied on its own.
// Next: conv2d_winograd.h for the mathematics; conv2d_weight_grad.cpp for the general case.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_winograd_weight_grad.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_transpose.h"
#include "tensor/cpu/conv2d_winograd.h"
#include "tensor/cpu/matmul_block.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

using namespace winograd;

constexpr int kProducts = kPoints * kPoints;
constexpr int64_t kOperandBytes = int64_t{16} << 20;  // of both transformed operands together
constexpr int64_t kWidth = Simd<float>::columns, kRows = Simd<float>::rows, kLanes = Simd<float>::lanes;
constexpr int64_t kSumSize = int64_t{kProducts} * kTileRows * kWidth;  // of one pair
constexpr int64_t kPanelsTogether = 4;  // of dy
using V = Vec<float>;

// One operand: pictures [n][channels][h][w] cut into tiles, `pixels` wide at the corner (kTile*row - padding.h, ...) of
// each tile, and transformed to [panel][36][tile][width].
template <class T>
struct Operand {
  const T* data;
  int64_t n, channels, h, w;
  Size2 padding;
  PadMode pad_mode;
  int64_t pixels, panels, width;
  // Channels of a panel, evenly filled.
  int64_t begin(int64_t panel) const { return channels * panel / panels; }
};

template <class T, int side>
class WeightGrad {
  static constexpr int kTile = winograd::kTile<side>, kTaps = side * side;

 public:
  WeightGrad(const Tensor& x, const Tensor& dy, const Conv2dSizes& s, const Conv2dParams& p)
      : s_(s), x_{x.data<T>(), s.n, s.c, s.h, s.w, p.padding, p.pad_mode, kPoints, ceil_div(s.c, kWidth), kWidth},
        dy_{dy.data<T>(), s.n, s.o, s.oh, s.ow, 0, PadMode::zero, kTile, ceil_div(s.o, kTileRows), kRows},
        tiles_h_(ceil_div(s.oh, kTile)), tiles_w_(ceil_div(s.ow, kTile)) {}

  template <class Result>
  void run(Result* dw) const {
    const int64_t units = s_.n * tiles_h_, pairs = x_.panels * dy_.panels;  // a unit is a row of tiles
    const int64_t unit_bytes = kProducts * tiles_w_ * (x_.panels * kWidth + dy_.panels * kRows) * static_cast<int64_t>(sizeof(float));
    // With more than one block of tiles, the sums of every pair are kept from block to block: larger blocks cost less memory
    // than that as long as they are smaller.
    const int64_t kept_bytes = pairs * kSumSize * static_cast<int64_t>(sizeof(float));
    const int64_t step = ceil_div(units, ceil_div(units * unit_bytes, std::max(kOperandBytes, kept_bytes)));
    const bool once = step == units;
    const int64_t tiles = step * tiles_w_;
    const Workspace<float> xt(x_.panels * size(tiles, kWidth)), dyt(dy_.panels * size(tiles, kRows));
    const Workspace<float> kept(once ? 0 : pairs * kSumSize);
    for (int64_t first = 0; first < units; first += step) {
      const int64_t count = std::min(step, units - first);
      transform<kPoints>(x_, first, count, xt.data(), [](const V(&d)[6], V(&v)[6]) { transform_input(d, v); });
      transform<kTile>(dy_, first, count, dyt.data(), [](const V(&d)[kTile], V(&m)[6]) { at_points(d, m); });
      parallel_for(pairs, 1, [&](int64_t begin, int64_t end) {
        const Workspace<float> own(once ? kSumSize : 0);
        for (int64_t pair = begin; pair < end; ++pair) {
          float* sums = once ? own.data() : kept.data() + pair * kSumSize;
          multiply(pair, count * tiles_w_, xt.data(), dyt.data(), first > 0, sums);
          if (first + count == units) write(pair, sums, dw);
        }
      });
    }
  }

 private:
  // Elements of a panel: 36 times [tiles][width], one step apart, so that the 36 do not share a set of the cache.
  static int64_t product_step(int64_t tiles, int64_t width) { return (tiles + 1) * width; }
  static int64_t size(int64_t tiles, int64_t width) { return kProducts * product_step(tiles, width); }

  // Rows of tiles [first, first + count) of every panel of an operand.
  template <int Pixels, class Row>
  void transform(const Operand<T>& op, int64_t first, int64_t count, float* out, const Row& row) const {
    const int64_t tiles = count * tiles_w_;
    parallel_for(op.panels * count, 1, [&](int64_t begin, int64_t end) {
      const int64_t columns = kTile * tiles_w_ + op.pixels - kTile;
      const Workspace<float> turned(op.pixels * columns * op.width);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t panel = i / count, unit = i % count;
        turn(op, panel, first + unit, columns, turned.data());
        for (int64_t t = 0; t < tiles_w_; ++t) {
          float* to = out + panel * size(tiles, op.width) + (unit * tiles_w_ + t) * op.width;
          transform_tile<Pixels>(turned.data() + t * kTile * op.width, columns * op.width, op.width, to, product_step(tiles, op.width), row);
        }
      }
    });
  }

  // turned [op.pixels rows][columns][width]: the pixels under one row of tiles.
  void turn(const Operand<T>& op, int64_t panel, int64_t unit, int64_t columns, float* turned) const {
    const int64_t image = unit / tiles_h_, top = unit % tiles_h_ * kTile - op.padding.h, c = op.begin(panel);
    for (int64_t r = 0; r < op.pixels; ++r, turned += columns * op.width) {
      const int64_t ih = padded_index(top + r, op.h, op.pad_mode);
      if (ih < 0) {
        std::fill_n(turned, columns * op.width, 0.0f);
        continue;
      }
      const PixelRow<T> row{op.data + ((image * op.channels + c) * op.h + ih) * op.w, op.h * op.w, op.begin(panel + 1) - c, op.w, op.pad_mode};
      transpose_row(row, -op.padding.w, columns, op.width, [&](int64_t i) { return turned + i * op.width; });
    }
  }

  template <int Pixels, class Row>
  static void transform_tile(const float* from, int64_t row_step, int64_t width, float* to, int64_t product_step, const Row& row) {
    for (int64_t c = 0; c < width; c += kLanes) {
      V pixels[Pixels][Pixels], result[kPoints][kPoints];
#pragma GCC unroll 8
      for (int i = 0; i < Pixels; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < Pixels; ++j) pixels[i][j] = load(from + i * row_step + j * width + c);
      }
      transform_both<Pixels, kPoints>(pixels, result, row);
#pragma GCC unroll 8
      for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < kPoints; ++j) store<float>(to + (i * kPoints + j) * product_step + c, result[i][j]);
      }
    }
  }

  // The panels of x and dy that a pair is of. Pairs go through kPanelsTogether panels of dy for each panel of x, then on to the
  // next panel of x: those of dy stay in the cache, and dw is written row by row.
  struct Panels {
    int64_t c, o;
  };
  Panels panels_of(int64_t pair) const {
    const int64_t first = pair / (kPanelsTogether * x_.panels) * kPanelsTogether, own = pair - first * x_.panels;
    const int64_t together = std::min(kPanelsTogether, dy_.panels - first);
    return {own / together, first + own % together};
  }

  // sums [36][kTileRows][kWidth] (+)= dy x over the tiles.
  void multiply(int64_t pair, int64_t tiles, const float* xt, const float* dyt, bool accumulate, float* sums) const {
    const auto [c, o] = panels_of(pair);
    const MicroKernel<float> kernel = micro_kernel_for<float>(dy_.begin(o + 1) - dy_.begin(o));
    const float* a_panel = dyt + o * size(tiles, kRows);
    const float* b_panel = xt + c * size(tiles, kWidth);
    for (int64_t i = 0; i < kProducts; ++i) {
      kernel({1, tiles, {a_panel + i * product_step(tiles, kRows), 1, kRows}, b_panel + i * product_step(tiles, kWidth), 0,
              sums + i * kTileRows * kWidth, kWidth, accumulate});
    }
  }

  // dw [o][c][kTaps] of one pair.
  template <class Result>
  void write(int64_t pair, const float* sums, Result* dw) const {
    constexpr int64_t rounded = (kTaps + kLanes - 1) / kLanes * kLanes;
    const auto [panel, o_panel] = panels_of(pair);
    const int64_t o0 = dy_.begin(o_panel), o1 = dy_.begin(o_panel + 1);
    for (int64_t o = o0; o < o1; ++o) {
      for (int64_t c = x_.begin(panel); c < x_.begin(panel + 1); c += kLanes) {
        const float* from = sums + (o - o0) * kWidth + c - x_.begin(panel);
        V u[kPoints][kPoints], dg[side][side];
#pragma GCC unroll 8
        for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
          for (int j = 0; j < kPoints; ++j) u[i][j] = load(from + (i * kPoints + j) * kTileRows * kWidth);
        }
        transform_both<kPoints, side>(u, dg, [](const V(&in)[6], V(&out)[side]) { from_points(in, out); });
        float weights[kTaps * kLanes], turned[kLanes * rounded];  // [tap][c], [c][tap, rounded up]
        for (int i = 0; i < kTaps; ++i) store<float>(weights + i * kLanes, dg[i / side][i % side]);
        pack_transposed<float>(weights, kLanes, kTaps, kLanes, rounded, turned);
        // bf16 are rounded in whole vectors but for the last filter: what is too much of one, the next overwrites.
        constexpr int64_t each = std::is_same_v<Result, bf16> ? rounded : kTaps;
        const int64_t last = std::min(kLanes, x_.begin(panel + 1) - c) - 1;
        const float* filter = turned;
        Result* to = dw + (o * s_.c + c) * kTaps;
        for (int64_t i = 0; i < last; ++i, filter += rounded, to += kTaps) {
          for (int64_t tap = 0; tap < each; ++tap) to[tap] = static_cast<Result>(filter[tap]);
        }
        for (int64_t tap = 0; tap < kTaps; ++tap) to[tap] = static_cast<Result>(filter[tap]);
      }
    }
  }

  const Conv2dSizes s_;
  const Operand<T> x_, dy_;
  const int64_t tiles_h_, tiles_w_;  // of one image
};

template <class T, int side>
void weight_grad(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const WeightGrad<T, side> grad(x, dy, conv2d_sizes(x, dw, p, dy), p);
  if (dw.dtype() == DType::bf16) grad.run(dw.data<bf16>());
  else grad.run(dw.data<float>());
}

}  // namespace

void conv2d_weight_grad_winograd(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  if (x.dtype() == DType::bf16) (dw.size(2) == 4 ? weight_grad<bf16, 4> : weight_grad<bf16, 3>)(x, dy, p, dw);
  else (dw.size(2) == 4 ? weight_grad<float, 4> : weight_grad<float, 3>)(x, dy, p, dw);
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(conv2d_weight_grad_winograd);

void conv2d_weight_grad_winograd(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  HWY_DYNAMIC_DISPATCH(conv2d_weight_grad_winograd)(x, dy, p, dw);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
