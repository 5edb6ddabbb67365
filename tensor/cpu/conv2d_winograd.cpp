// 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3), forward and input gradient (which is the same convolution of dy
// with the filters turned and their roles exchanged). The 36 elementwise products, summed over channels, are 36 matrix
// products [rows, channels] x [channels, tiles]. Sums are f32; what is read and written may be bf16.
// Order of work: transform the picture, kGroupPanels panels of tiles at a time, into `v`; then, for a block of input channels
// and at most kTileRows output channels at a time, transform the filters into `u` and multiply; at last transform back.
// Next: conv2d_winograd.h for the mathematics.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_winograd.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/conv2d_winograd.h"

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/matmul_block.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

using namespace winograd;

constexpr int kProducts = kPoints * kPoints;
constexpr int64_t kBlockChannels = 128;               // summed at a time: all of a layer's 512 in one sum doubles the error
constexpr int64_t kGroupPanels = 4;                   // full panels transformed at a time, which share a block of u
constexpr int64_t kWidth = Simd<float>::columns;      // tiles of a panel
constexpr int64_t kLanes = Simd<float>::lanes;
using V = Vec<float>;

// y [n][rows][oh][ow] = sum over channels of x [n][channels][h][w], whose pixel (0,0) lies at output (pad.h, pad.w), with
// the filter of each (row, channel): 9 weights `tap_step` apart at filters + row*row_step + channel*channel_step, backwards if
// `turned`.
template <class T>
struct Filtering {
  int64_t n, rows, channels;
  int64_t h, w, oh, ow;
  Size2 padding;
  const T* x;
  const T* filters;
  int64_t row_step, channel_step, tap_step;
  bool turned;
  T* y;
  PadMode pad_mode = PadMode::zero;
  Epilogue<float> epilogue = {};
  int64_t width = kWidth;  // tiles of a panel: kWidth, or kLanes where that wastes less

  int64_t depth = 0;       // channels multiplied at a time

  // Elements from one product to the next in v and u. A vector or two more than needed: with a power of two, all 36 would
  // fall into one set of the L1 cache.
  int64_t v_step() const { return (channels + 1) * width; }
  int64_t u_step() const { return (depth + 2) * Simd<float>::rows; }

  int64_t tiles_w() const { return ceil_div(ow, kTile); }
  int64_t tiles() const { return ceil_div(oh, kTile) * tiles_w(); }  // of one image
  int64_t panels_per_image() const { return ceil_div(tiles(), width); }
};

// Neighbouring tiles in one row of tiles.
struct Segment {
  int64_t row, column, count;
};
// The longest segment from tile t on, ending before `end`.
template <class T>
Segment segment_at(const Filtering<T>& f, int64_t t, int64_t end) {
  const int64_t column = t % f.tiles_w();
  return {t / f.tiles_w(), column, std::min({f.tiles_w() - column, f.tiles() - t, end - t})};
}
// Cuts tiles [begin, end) of an image into segments; visit(segment, its place after begin).
template <class T, class F>
void for_each_segment(const Filtering<T>& f, int64_t begin, int64_t end, const F& visit) {
  for (int64_t t = begin; t < std::min(end, f.tiles());) {
    const Segment s = segment_at(f, t, end);
    visit(s, t - begin);
    t += s.count;
  }
}

// ---- the picture: v [panel][36][channel][width]  ------------------------------------------------------------------

// pieces[i][j][tile] = pixel (i,j) of each 6x6 piece of one channel of a panel. Room for one vector too many.
using Pieces = float[kPoints][kPoints][kWidth + kLanes];

// The six columns of `count` overlapping pieces, 4 pixels apart, from one row of pixels; reads and writes whole vectors.
void split_row(const float* row, int64_t count, float* to, int64_t column_step) {
  for (int64_t t = 0; t < count; t += kLanes, row += kTile * kLanes, to += kLanes) {
    const V p0 = load(row), p1 = load(row + kLanes), p2 = load(row + 2 * kLanes), p3 = load(row + 3 * kLanes);
    const V e0 = every_second<float, 0>(p0, p1), e1 = every_second<float, 0>(p2, p3);
    const V o0 = every_second<float, 1>(p0, p1), o1 = every_second<float, 1>(p2, p3);
    store<float>(to, every_second<float, 0>(e0, e1));
    store<float>(to + column_step, every_second<float, 0>(o0, o1));
    store<float>(to + 2 * column_step, every_second<float, 1>(e0, e1));
    store<float>(to + 3 * column_step, every_second<float, 1>(o0, o1));
    const float* next = row + kTile;  // columns 4 and 5 are the next piece's 0 and 1
    const V q0 = load(next), q1 = load(next + kLanes), q2 = load(next + 2 * kLanes), q3 = load(next + 3 * kLanes);
    store<float>(to + 4 * column_step, every_second<float, 0>(every_second<float, 0>(q0, q1), every_second<float, 0>(q2, q3)));
    store<float>(to + 5 * column_step, every_second<float, 0>(every_second<float, 1>(q0, q1), every_second<float, 1>(q2, q3)));
  }
}

// Where numbers are f32, rows in the picture are cut as they lie; others are copied first.
template <class T>
void cut_pieces(const Filtering<T>& f, const T* plane, int64_t first, Pieces& pieces) {
  constexpr int64_t most = kTile * (kWidth + kLanes) + kTile;  // pixels that split_row may read
  float line[most];
  for_each_segment(f, first, first + f.width, [&](const Segment& s, int64_t place) {
    const int64_t left = s.column * kTile - f.padding.w;
    const int64_t reads = kTile * ceil_div(s.count, kLanes) * kLanes + kTile;
    for (int i = 0; i < kPoints; ++i) {
      const int64_t ih = padded_index(s.row * kTile - f.padding.h + i, f.h, f.pad_mode);
      const T* row = plane + ih * f.w + left;
      const float* from = line;
      if constexpr (std::is_same_v<T, float>) from = row;
      if (from == line || ih < 0 || left < 0 || left + reads > f.w) {
        const int64_t begin = ih < 0 ? reads : std::clamp<int64_t>(-left, 0, reads);
        const int64_t end = std::clamp(f.w - left, begin, reads);
        std::fill(line, line + begin, 0.0f);
        for (int64_t q = begin; q < end; ++q) line[q] = static_cast<float>(row[q]);
        std::fill(line + end, line + reads, 0.0f);
        if (ih >= 0) fill_padding(plane + ih * f.w, f.w, f.padding.w, f.pad_mode, left, 1, reads, line);
        from = line;
      }
      split_row(from, s.count, &pieces[i][0][place], kWidth + kLanes);
    }
  });
}

// One channel of one panel.
template <class T>
void transform_panel(const Filtering<T>& f, int64_t panel, int64_t channel, Pieces& pieces, float* v) {
  const int64_t image = panel / f.panels_per_image();
  cut_pieces(f, f.x + (image * f.channels + channel) * f.h * f.w, panel % f.panels_per_image() * f.width, pieces);
  for (int64_t t = 0; t < f.width; t += kLanes) {
    V piece[kPoints][kPoints], result[kPoints][kPoints];
#pragma GCC unroll 8
    for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < kPoints; ++j) piece[i][j] = load(&pieces[i][j][t]);
    }
    transform_both<kPoints, kPoints>(piece, result, [](const V(&in)[6], V(&out)[6]) { transform_input(in, out); });
#pragma GCC unroll 8
    for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < kPoints; ++j) {
        store<float>(v + (i * kPoints + j) * f.v_step() + channel * f.width + t, result[i][j]);
      }
    }
  }
}

// ---- the filters: u [36], each product's rows of a (matmul_micro.h) --------------------------------------------------

// weights[tap] of kLanes filters that lie side by side. Those behind `end` are zeros.
template <class T>
[[gnu::always_inline]] inline void load_filters(const T* from, const T* end, V (&weights)[9]) {
  constexpr int64_t reads = 9 * (kLanes - 1) + std::max<int64_t>(9, kLanes);
  T copy[reads];
  if (end - from < reads) {
    std::fill(std::copy(from, end, copy), copy + reads, T());
    from = copy;
  }
  constexpr int whole = kLanes > 9 ? 1 : 9 / kLanes, taps = kLanes > 9 ? 9 : kLanes;  // vectors of a filter; taps in each
#pragma GCC unroll 2
  for (int part = 0; part < whole; ++part) {
    V v[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) v[i] = load(from + i * 9 + part * kLanes);
    transpose_lanes<float>(v);
#pragma GCC unroll 16
    for (int i = 0; i < taps; ++i) weights[part * kLanes + i] = v[i];
  }
  if constexpr (kLanes < 9) {  // the ninth: 9 is one more than two vectors of 4 or one of 8
    V ninth{};
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) ninth[i] = static_cast<float>(from[i * 9 + 8]);
    weights[8] = ninth;
  }
}

// The same where filters are channels-last: a tap's weights lie side by side.
template <class T>
[[gnu::always_inline]] inline void load_taps(const T* from, const T* end, int64_t tap_step, V (&weights)[9]) {
  T last[kLanes];
  const T* from_8 = from + 8 * tap_step;
  if (end - from_8 < kLanes) {
    std::fill(std::copy(from_8, end, last), last + kLanes, T());
    from_8 = last;
  }
#pragma GCC unroll 8
  for (int tap = 0; tap < 8; ++tap) weights[tap] = load(from + tap * tap_step);
  weights[8] = load(from_8);
}

// kLanes filters from `from` on, to u, from product to product `step` apart.
template <class T>
[[gnu::always_inline]] inline void transform_lanes(const T* from, const T* end, int64_t tap_step, int64_t next, bool turned, float* u, int64_t step) {
  V weights[9], half[3][kPoints];
  if (tap_step == 1) {
    for (int64_t i = 0; i < 9 * kLanes; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(from + next + i);
    load_filters(from, end, weights);
  } else {
    for (int64_t tap = 0; tap < 9; ++tap) __builtin_prefetch(from + next + tap * tap_step);
    load_taps(from, end, tap_step, weights);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 3; ++j) {
    if (turned) transform_filter<V>({weights[8 - j], weights[5 - j], weights[2 - j]}, half[j]);
    else transform_filter<V>({weights[j], weights[3 + j], weights[6 + j]}, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPoints; ++i) {
    V row[kPoints];
    transform_filter<V>({half[0][i], half[1][i], half[2][i]}, row);
#pragma GCC unroll 8
    for (int j = 0; j < kPoints; ++j) store<float>(u + (i * kPoints + j) * step, row[j]);
  }
}

// The filters of `rows` outputs for `count` channels. Lanes are what lies side by side in w: in the forward pass the channels of
// one output, u [36][row][channel]; in the input gradient the outputs (its rows), u [36][channel][Simd::rows].
template <class T>
RowsOfA<float> transform_filters(const Filtering<T>& f, int64_t row, int64_t rows, int64_t channel, int64_t count, float* u) {
  const T *from = f.filters + row * f.row_step + channel * f.channel_step;
  const T* end = f.filters + (f.rows - 1) * f.row_step + (f.channels - 1) * f.channel_step + 8 * f.tap_step + 1;
  const int64_t next = kTileRows * f.row_step;  // the next tile's, fetched meanwhile
  if (f.turned) {
    for (int64_t c = 0; c < count; ++c, from += f.channel_step) {
      for (int64_t r = 0; r < rows; r += kLanes) transform_lanes(from + r * f.row_step, end, f.tap_step, next, true, u + c * Simd<float>::rows + r, f.u_step());
    }
    return {u, 1, Simd<float>::rows};
  }
  for (int64_t r = 0; r < rows; ++r, from += f.row_step) {
    for (int64_t c = 0; c < count; c += kLanes) transform_lanes(from + c * f.channel_step, end, f.tap_step, next, false, u + r * f.depth + c, f.u_step());
  }
  return {u, f.depth, 1};
}

// ---- the result: products [36][kTileRows][kWidth] of one panel --------------------------------------------------------

// The 4x4 outputs of kLanes tiles of channel o as four rows of pixels, each 4*kLanes long.
void transform_outputs(const float* products, const Epilogue<float>& epilogue, int64_t o, float* const (&rows)[kTile]) {
  V m[kPoints][kPoints], y[kTile][kTile];
#pragma GCC unroll 8
  for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kPoints; ++j) m[i][j] = load(products + (i * kPoints + j) * kTileRows * kWidth);
  }
  transform_both<kPoints, kTile>(m, y, [](const V(&in)[6], V(&out)[4]) { transform_output(in, out); });
  if (epilogue.changes()) {
    const V shift = V{} + epilogue.shift(o);
    for (int i = 0; i < kTile; ++i) {
      for (int j = 0; j < kTile; ++j) {
        y[i][j] += shift;
        epilogue.activate(y[i][j]);
      }
    }
  }
  for (int i = 0; i < kTile; ++i) {
    const V a0 = interleave<float, 0>(y[i][0], y[i][2]), a1 = interleave<float, 1>(y[i][0], y[i][2]);
    const V b0 = interleave<float, 0>(y[i][1], y[i][3]), b1 = interleave<float, 1>(y[i][1], y[i][3]);
    store<float>(rows[i], interleave<float, 0>(a0, b0));
    store<float>(rows[i] + kLanes, interleave<float, 1>(a0, b0));
    store<float>(rows[i] + 2 * kLanes, interleave<float, 0>(a1, b1));
    store<float>(rows[i] + 3 * kLanes, interleave<float, 1>(a1, b1));
  }
}

template <class T>
void convert(const float* HWY_RESTRICT from, int64_t count, T* HWY_RESTRICT to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i]);
}

template <class T>
void write_outputs(const Filtering<T>& f, int64_t panel, int64_t row, int64_t rows, const float* products) {
  float lines[kTile][kTile * kLanes];
  float* const beside[kTile] = {lines[0], lines[1], lines[2], lines[3]};
  const int64_t image = panel / f.panels_per_image(), first = panel % f.panels_per_image() * f.width;
  for (int64_t t = 0; t < f.width && first + t < f.tiles(); t += kLanes) {
    const Segment s = segment_at(f, first + t, first + t + kLanes);
    const bool whole = s.count == kLanes && (s.column + kLanes) * kTile <= f.ow && (s.row + 1) * kTile <= f.oh;
    for (int64_t r = 0; r < rows; ++r) {
      T* plane = f.y + (image * f.rows + row + r) * f.oh * f.ow;
      T* corner = plane + s.row * kTile * f.ow + s.column * kTile;
      const float* from = products + r * kWidth + t;
      if constexpr (std::is_same_v<T, float>) {
        if (whole) {
          transform_outputs(from, f.epilogue, row + r, {corner, corner + f.ow, corner + 2 * f.ow, corner + 3 * f.ow});
          continue;
        }
      }
      transform_outputs(from, f.epilogue, row + r, beside);
      if (whole) {
        for (int i = 0; i < kTile; ++i) convert(lines[i], kTile * kLanes, corner + i * f.ow);
      } else {
        for_each_segment(f, first + t, first + t + kLanes, [&](const Segment& part, int64_t place) {
          const int64_t oh = part.row * kTile, ow = part.column * kTile, count = std::min(kTile * part.count, f.ow - ow);
          for (int64_t i = 0; i < std::min<int64_t>(kTile, f.oh - oh); ++i) {
            convert(lines[i] + place * kTile, count, plane + (oh + i) * f.ow + ow);
          }
        });
      }
    }
  }
}

// ---- the products -------------------------------------------------------------------------------------------------

// Output rows [row0, row1) of the panels in v, which are [first, first + panels), in the caller's thread. Channels are the
// outer loop, kBlockChannels at a time: each tile of rows walks through all of those in v.
template <class T>
void multiply_part(const Filtering<T>& f, const float* v, int64_t first, int64_t panels, int64_t row0, int64_t row1) {
  const int64_t tiles = ceil_div(row1 - row0, kTileRows), size = kProducts * kTileRows * kWidth;  // of a tile's sums
  const Workspace<float> u(kProducts * f.u_step()), sums((f.depth < f.channels ? tiles : 1) * panels * size);
  for (int64_t c = 0; c < f.channels; c += f.depth) {
    const int64_t count = std::min(f.depth, f.channels - c);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = row0 + (row1 - row0) * tile / tiles, rows = row0 + (row1 - row0) * (tile + 1) / tiles - row;
      const MicroKernel<float> kernel = f.width == kLanes ? micro_kernel_for<float, 1>(rows) : micro_kernel_for<float>(rows);
      const RowsOfA<float> a = transform_filters(f, row, rows, c, count, u.data());
      float* sum = sums.data() + (f.depth < f.channels ? tile * panels * size : 0);
      for (int64_t p = 0; p < panels; ++p, sum += size) {
        for (int64_t i = 0; i < kProducts; ++i) {
          kernel({1, count, {a.data + i * f.u_step(), a.row_step, a.k_step}, v + (p * kProducts + i) * f.v_step() + c * f.width, 0,
                  sum + i * kTileRows * kWidth, kWidth, c > 0});
        }
        if (c + count == f.channels) write_outputs(f, first + p, row, rows, sum);
      }
    }
  }
}

template <class T>
void transform_picture(const Filtering<T>& f, int64_t first, int64_t count, float* v) {
  parallel_for(count * f.channels, 8, [&](int64_t begin, int64_t end) {
    Pieces pieces;
    for (int64_t i = begin; i < end; ++i) {
      transform_panel(f, first + i / f.channels, i % f.channels, pieces, v + i / f.channels * kProducts * f.v_step());
    }
  });
}

template <class T>
void filter(Filtering<T> f) {
  if (f.tiles() <= kLanes) f.width = kLanes;
  const int64_t panels = f.n * f.panels_per_image(), panel_size = kProducts * f.v_step(), threads = omp_get_max_threads();
  // Calls work(first panel, count) for [begin, end), `most` panels at a time.
  const auto in_steps = [](int64_t begin, int64_t end, int64_t most, const auto& work) {
    const int64_t step = ceil_div(end - begin, ceil_div(end - begin, most));
    for (int64_t first = begin; first < end; first += step) work(first, std::min(step, end - first));
  };
  const int64_t most = std::min(panels, kGroupPanels * kWidth / f.width);
  f.depth = ceil_div(ceil_div(f.channels, ceil_div(f.channels, kBlockChannels)), kLanes) * kLanes;
  if (panels >= threads && (panels * f.width >= 4 * f.rows || f.rows < threads * kTileRows)) {
    // Large pictures: each thread has panels of its own and transforms all filters, group after group.
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      const Workspace<float> v(std::min(most, end - begin) * panel_size);
      in_steps(begin, end, most, [&](int64_t first, int64_t count) {
        transform_picture(f, first, count, v.data());
        multiply_part(f, v.data(), first, count, 0, f.rows);
      });
    });
    return;
  }
  // Large filters: the transformed picture is shared, each thread has output channels of its own.
  const Workspace<float> v(most * panel_size);
  in_steps(0, panels, most, [&](int64_t first, int64_t count) {
    transform_picture(f, first, count, v.data());
    parallel_for(f.rows, kTileRows, [&](int64_t begin, int64_t end) {
      multiply_part(f, v.data(), first, count, begin, end);
    });
  });
}

// w's steps from output to output, channel to channel and tap to tap.
struct Steps {
  int64_t output, channel, tap;
  explicit Steps(const Tensor& w) : output(w.strides()[0]), channel(w.strides()[1]), tap(w.strides()[3]) {}
};

template <class T>
void forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  const Steps steps(w);
  filter<T>({.n = s.n, .rows = s.o, .channels = s.c, .h = s.h, .w = s.w, .oh = s.oh, .ow = s.ow, .padding = p.padding,
             .x = x.data<T>(), .filters = w.data<T>(), .row_step = steps.output, .channel_step = steps.channel, .tap_step = steps.tap,
             .turned = false, .y = y.data<T>(), .pad_mode = p.pad_mode, .epilogue = {bias, p}});
}

template <class T>
void input_grad(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  const Steps steps(w);
  filter<T>({.n = s.n, .rows = s.c, .channels = s.o, .h = s.oh, .w = s.ow, .oh = s.h, .ow = s.w,
             .padding = Size2(2 - p.padding.h, 2 - p.padding.w), .x = dy.data<T>(), .filters = w.data<T>(),
             .row_step = steps.channel, .channel_step = steps.output, .tap_step = steps.tap, .turned = true, .y = dx.data<T>()});
}

}  // namespace

void conv2d_forward_winograd(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  (x.dtype() == DType::bf16 ? forward<bf16> : forward<float>)(x, w, bias, p, y);
}

void conv2d_input_grad_winograd(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  (dy.dtype() == DType::bf16 ? input_grad<bf16> : input_grad<float>)(dy, w, p, dx);
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(conv2d_forward_winograd);
HWY_EXPORT(conv2d_input_grad_winograd);

void conv2d_forward_winograd(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(conv2d_forward_winograd)(x, w, bias, p, y);
}

void conv2d_input_grad_winograd(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  HWY_DYNAMIC_DISPATCH(conv2d_input_grad_winograd)(dy, w, p, dx);
}

// Its rounding is several times that of a plain sum, which the golden generators (32 channels) show at the picture:
// layers too narrow to gain much keep the more exact product. Tiles that multiply sixteen times as many bf16 need no Winograd.
bool winograd_pays(const Conv2dSizes& s, const Conv2dParams& p, DType dtype) {
  constexpr int64_t kNarrowest = 64;
  return s.kh == 3 && s.kw == 3 && p.stride == Size2(1) && p.dilation == Size2(1) && p.groups == 1 &&
         s.c >= kNarrowest && s.o >= kNarrowest && s.oh * s.ow >= 64 && !(dtype == DType::bf16 && isa() == Isa::amx);
}

bool takes_winograd(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const DType dtype = x.dtype();
  return (dtype == DType::f32 || (dtype == DType::bf16 && w.dtype() == dtype && y.dtype() == dtype)) && x.is_contiguous() &&
         y.is_contiguous() && (w.is_contiguous() || w.is_channels_last()) && winograd_pays(conv2d_sizes(x, w, p, y), p, dtype);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
