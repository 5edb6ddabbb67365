// 3x3 or 4x4 convolution of stride 1 by Winograd's F(4x4, 3x3) or F(3x3, 4x4), forward and input gradient (which is the
// same convolution of dy with the filters turned and their roles exchanged). The 36 elementwise products, summed over
// channels, are 36 matrix products [rows, channels] x [channels, tiles]. Sums are f32; what is read and written may be bf16.
// Stride 2 is four convolutions of stride 1 with 2x2 filters, by F(5x5, 2x2): taps of even and odd rows and columns meet pixels
// of even and odd ones, four phases. The forward pass sums over the phases as over channels; in the input gradient each is a
// quarter of the pixels. 4 x 100 products become 4 x 36; with 3x3 taps, some of which are missing, 225 become 121.
// Order of work: transform the picture, a group of panels of tiles at a time, into `v`; then, for a block of input channels
// and at most kTileRows output channels at a time, transform the filters into `u` and multiply; at last transform back.
// Next: conv2d_winograd.h for the mathematics.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_winograd.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/conv2d_winograd.h"
#include "tensor/cpu/conv2d_winograd_filtering.h"

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
// Full panels of tiles transformed at a time: they share a block of u, and each block reads all of them. Many, while they are small;
// but pairs where they are not (at 256 channels 13 ms against 16 in fours).
constexpr int64_t kGroupPanels = 4, kGroupBytes = int64_t{5} << 19;
// From one product to the next in u, as in v some more than needed: with a power of two, all 36 would fall into one set of the
// first cache. A constant, because 36 addresses that are not use up the registers.
constexpr int64_t kFilterStep = (kBlockChannels + 2) * Simd<float>::rows;
constexpr int64_t kWidth = Simd<float>::columns;      // tiles of a panel
constexpr int64_t kLanes = Simd<float>::lanes;
using V = Vec<float>;

// A convolution with filters of `side` x `side`, of stride 1, or of stride 2 if there are `sources` or `results` in phases (4).
template <class T, int side_, int sources_ = 1, int results_ = 1>
struct Panels : Filtering<T, kTile<(sources_ * results_ == 1 ? side_ : 2)>> {
  static constexpr int side = side_, sources = sources_, results = results_, phases = sources * results;
  static constexpr int taps = phases == 1 ? side : 2, tile = kTile<taps>;
  static constexpr int64_t stride = sources == 1 ? 1 : 2;  // over the picture
  int64_t depth = 0;  // channels multiplied at a time
  // Of results in phases: pixel (2i + phase row - origin.h, 2j + phase column - origin.w) of `pixels` is the phase's (i, j).
  Size2 origin = 0, pixels = 0;

  int64_t all_channels() const { return sources * this->channels; }
  // Where a phase of 3 taps has one instead of two, the turned filter's first coefficient, its value at 0, is 0.
  static constexpr bool is_zero(int phase, int product) {
    return side == 3 && ((phase / 2 == 1 && product / kPoints == 0) || (phase % 2 == 1 && product % kPoints == 0));
  }

  // Tiles of a panel: kWidth, or kLanes where the last ones need no more.
  int64_t width(int64_t panel) const { return this->tiles() - panel * kWidth <= kLanes ? kLanes : kWidth; }

  // Elements from one product to the next.
  int64_t v_step(int64_t panel) const { return (all_channels() + 1) * width(panel); }
};

// ---- the picture: v [panel][36][phase, channel][width]  -----------------------------------------------------------

// pieces[i][j][tile] = pixel (i,j) of each 6x6 piece of one channel of a panel. Room for one vector too many.
using Pieces = float[kPoints][kPoints][kWidth + kLanes];

// The six columns of `count` overlapping pieces, `tile` pixels apart, from one row of pixels; reads and writes whole vectors.
template <int tile>
void split_row(const float* row, int64_t count, float* to, int64_t column_step) {
  for (int64_t t = 0; t < count; t += kLanes, row += tile * kLanes, to += kLanes) {
    V here[tile], next[tile], columns[tile];
    for (int i = 0; i < tile; ++i) here[i] = load(row + i * kLanes);
    for (int i = 0; i < tile; ++i) next[i] = load(row + tile + i * kLanes);  // whose first columns are this one's last
    split(here, columns);
    for (int i = 0; i < tile; ++i) store<float>(to + i * column_step, columns[i]);
    split(next, columns);
    for (int i = tile; i < kPoints; ++i) store<float>(to + i * column_step, columns[i - tile]);
  }
}

// Where numbers are f32 and the stride is 1, rows in the picture are cut as they lie; others are copied first.
template <class F>
void cut_pieces(const F& f, int64_t panel, int64_t channel, int phase, Pieces& pieces) {
  using T = std::remove_cvref_t<decltype(*f.x)>;
  constexpr int kTile = F::tile;
  constexpr int64_t stride = F::stride, most = kTile * (kWidth + kLanes) + kTile;  // pixels that split_row may read
  constexpr int64_t line_size = 64 / static_cast<int64_t>(sizeof(T));              // of the cache
  float line[most];
  for_each_segment(f, panel * kWidth, kWidth, [&](const Segment& s, int64_t place) {
    const T* plane = f.x + (s.image * f.channels + channel) * f.h * f.w;
    const int64_t left = s.column * kTile * stride + phase % 2 - f.padding.w;
    const int64_t reads = kTile * ceil_div(s.count, kLanes) * kLanes + kTile;
    for (int i = 0; i < kPoints; ++i) {
      const int64_t ih = padded_index((s.row * kTile + i) * stride + phase / 2 - f.padding.h, f.h, f.pad_mode);
      const T* row = plane + ih * f.w + left;
      for (int64_t q = 0; q < reads * stride; q += line_size) __builtin_prefetch(row + f.h * f.w + q);  // of the next channel
      const float* from = line;
      if constexpr (std::is_same_v<T, float> && stride == 1) from = row;
      if (from == line || ih < 0 || left < 0 || left + reads > f.w) {
        const int64_t begin = ih < 0 ? reads : std::clamp<int64_t>(ceil_div(-left, stride), 0, reads);
        const int64_t end = std::clamp(ceil_div(f.w - left, stride), begin, reads);
        std::fill(line, line + begin, 0.0f);
        for (int64_t q = begin; q < end; ++q) line[q] = static_cast<float>(row[q * stride]);
        std::fill(line + end, line + reads, 0.0f);
        if (ih >= 0) fill_padding(plane + ih * f.w, f.w, f.padding.w, f.pad_mode, left, stride, reads, line);
        from = line;
      }
      split_row<kTile>(from, s.count, &pieces[i][0][place], kWidth + kLanes);
    }
  });
}

// One channel of one panel, one phase of it.
template <class F>
void transform_panel(const F& f, int64_t panel, int64_t channel, int phase, Pieces& pieces, float* v) {
  cut_pieces(f, panel, channel, phase, pieces);
  const int64_t width = f.width(panel), step = f.v_step(panel);
  for (int64_t t = 0; t < width; t += kLanes) {
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
        store<float>(v + (i * kPoints + j) * step + (phase * f.channels + channel) * width + t, result[i][j]);
      }
    }
  }
}

// ---- the filters: u [36], each product's rows of a (matmul_micro.h) --------------------------------------------------

// kLanes filters from `from` on, the taps of one phase, to u.
template <class F, class T>
[[gnu::always_inline]] inline void transform_lanes(const T* from, const T* end, int64_t tap_step, int64_t next, int phase, bool turned,
                                                   float* u) {
  constexpr int side = F::side, taps = F::taps;
  V weights[side * side], half[taps][kPoints];
  load_weights(from, end, tap_step, next, weights);
#pragma GCC unroll 4
  for (int j = 0; j < taps; ++j) {
    V column[taps];
#pragma GCC unroll 4
    for (int i = 0; i < taps; ++i) {
      const int ti = turned ? taps - 1 - i : i, tj = turned ? taps - 1 - j : j;
      const int h = F::phases == 1 ? ti : 2 * ti + phase / 2, w = F::phases == 1 ? tj : 2 * tj + phase % 2;
      column[i] = h < side && w < side ? weights[h * side + w] : V{};
    }
    at_points(column, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPoints; ++i) {
    V line[taps], row[kPoints];
#pragma GCC unroll 4
    for (int j = 0; j < taps; ++j) line[j] = half[j][i];
    at_points(line, row);
#pragma GCC unroll 8
    for (int j = 0; j < kPoints; ++j) store<float>(u + (i * kPoints + j) * kFilterStep, row[j]);
  }
}

// The filters of `rows` outputs from `row` on, for `count` channels from `channel` on.
struct FilterBlock {
  int64_t row, rows, channel, count;
};

// Lanes are what lies side by side in w: in the forward pass the channels of one output, u [36][row][channel]; in the input
// gradient the outputs (its rows), u [36][channel][Simd::rows].
template <class F>
RowsOfA<float> transform_filters(const F& f, const FilterBlock& b, int phase, float* u) {
  const auto *from = f.filters + b.row * f.row_step + b.channel * f.channel_step;
  const auto *end = f.filters + (f.rows - 1) * f.row_step + (f.channels - 1) * f.channel_step + (F::side * F::side - 1) * f.tap_step + 1;
  const int64_t next = f.turned ? kTileRows * f.row_step : f.row_step;  // the next tile's or row's, fetched meanwhile
  if (f.turned) {
    for (int64_t c = 0; c < b.count; ++c, from += f.channel_step) {
      float* to = u + c * Simd<float>::rows;
      for (int64_t r = 0; r < b.rows; r += kLanes) transform_lanes<F>(from + r * f.row_step, end, f.tap_step, next, phase, true, to + r);
    }
    return {u, 1, Simd<float>::rows};
  }
  for (int64_t r = 0; r < b.rows; ++r, from += f.row_step) {
    float* to = u + r * f.depth;
    for (int64_t c = 0; c < b.count; c += kLanes) transform_lanes<F>(from + c * f.channel_step, end, f.tap_step, next, phase, false, to + c);
  }
  return {u, f.depth, 1};
}

// Asks for the `part`-th of 36 parts of the filters that transform_filters will read next, while products keep memory idle. Turned,
// filters that are read next lie beside those that are read now, on the same pages: transform_lanes does it then.
template <class F>
void prefetch_filters(const F& f, const FilterBlock& b, int part) {
  if (f.turned) return;
  constexpr int taps = F::side * F::side;
  constexpr int64_t line_size = 64 / static_cast<int64_t>(sizeof(*f.filters));
  const bool together = f.tap_step == 1;  // a filter's taps lie side by side, else a tap's filters
  for (int64_t r = b.rows * part / kProducts; r < b.rows * (part + 1) / kProducts; ++r) {
    const auto* from = f.filters + (b.row + r) * f.row_step + b.channel * f.channel_step;
    for (int tap = 0; tap < (together ? 1 : taps); ++tap, from += f.tap_step) {
      for (int64_t q = 0; q < b.count * (together ? taps : 1); q += line_size) __builtin_prefetch(from + q);
    }
  }
}

// ---- the result: products [36][kTileRows][kWidth] of one panel --------------------------------------------------------

// The outputs of kLanes tiles of channel o as `tile` rows of pixels, each tile*kLanes long, row_step apart.
template <int tile>
void transform_outputs(const float* products, const Epilogue<float>& epilogue, int64_t o, float* to, int64_t row_step) {
  V m[kPoints][kPoints], y[tile][tile];
#pragma GCC unroll 8
  for (int i = 0; i < kPoints; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < kPoints; ++j) m[i][j] = load(products + (i * kPoints + j) * kTileRows * kWidth);
  }
  transform_both<kPoints, tile>(m, y, [](const V(&in)[6], V(&out)[tile]) { from_points(in, out); });
  if (epilogue.changes()) {
    const V shift = V{} + epilogue.shift(o);
    for (int i = 0; i < tile; ++i) {
      for (int j = 0; j < tile; ++j) {
        y[i][j] += shift;
        epilogue.activate(y[i][j]);
      }
    }
  }
  for (int i = 0; i < tile; ++i, to += row_step) {
    V row[tile];
    join(y[i], row);
    for (int j = 0; j < tile; ++j) store<float>(to + j * kLanes, row[j]);
  }
}

template <class T>
void convert(const float* HWY_RESTRICT from, int64_t count, T* HWY_RESTRICT to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(from[i]);
}

template <class F>
void write_outputs(const F& f, int64_t panel, int64_t row, int64_t rows, const float* products) {
  using T = std::remove_cvref_t<decltype(*f.y)>;
  constexpr int kTile = F::tile;
  constexpr int64_t line_size = 64 / static_cast<int64_t>(sizeof(T));  // of the cache
  float lines[kTile][kTile * kLanes];
  const int64_t first = panel * kWidth;
  for (int64_t t = 0; t < f.width(panel) && first + t < f.tiles(); t += kLanes) {
    const Segment s = segment_at(f, first + t, first + t + kLanes);
    const bool whole = s.count == kLanes && (s.column + kLanes) * kTile <= f.ow && (s.row + 1) * kTile <= f.oh;
    for (int64_t r = row; r < row + rows; ++r) {
      T* corner = f.y + ((s.image * f.rows + r) * f.oh + s.row * kTile) * f.ow + s.column * kTile;
      const float* from = products + (r - row) * kWidth + t;
      for (int i = 0; whole && i < kTile; ++i) {
        for (int64_t q = 0; q < kTile * kLanes; q += line_size) __builtin_prefetch(corner + (f.oh + i) * f.ow + q, 1);  // of the next row
      }
      if constexpr (std::is_same_v<T, float>) {
        if (whole) {
          transform_outputs<kTile>(from, f.epilogue, r, corner, f.ow);
          continue;
        }
      }
      transform_outputs<kTile>(from, f.epilogue, r, lines[0], kTile * kLanes);
      if (whole) {
        for (int i = 0; i < kTile; ++i) convert(lines[i], kTile * kLanes, corner + i * f.ow);
      } else {
        for_each_segment(f, first + t, kLanes, [&](const Segment& part, int64_t place) {
          const int64_t oh = part.row * kTile, ow = part.column * kTile, count = std::min(kTile * part.count, f.ow - ow);
          T* to = f.y + ((part.image * f.rows + r) * f.oh + oh) * f.ow + ow;
          for (int64_t i = 0; i < std::min<int64_t>(kTile, f.oh - oh); ++i) convert(lines[i] + place * kTile, count, to + i * f.ow);
        });
      }
    }
  }
}

// The same of results in phases, whose products are `next` apart.
template <class F>
void write_phases(const F& f, int64_t panel, int64_t row, int64_t rows, const float* products, int64_t next) {
  constexpr int kTile = F::tile, length = kTile * kLanes;
  float lines[2 * kTile][2 * length], phases[2][kTile][length];
  const int64_t first = panel * kWidth;
  for (int64_t t = 0; t < f.width(panel) && first + t < f.tiles(); t += kLanes) {
    for (int64_t r = row; r < row + rows; ++r) {
      const float* from = products + (r - row) * kWidth + t;
      for (int h = 0; h < 2; ++h) {
        for (int w = 0; w < 2; ++w) transform_outputs<kTile>(from + (2 * h + w) * next, f.epilogue, r, phases[w][0], length);
        for (int i = 0; i < kTile; ++i) {
          for (int q = 0; q < length; q += kLanes) {
            const V even = load(phases[0][i] + q), odd = load(phases[1][i] + q);
            store<float>(lines[2 * i + h] + 2 * q, interleave<0>({even, odd}));
            store<float>(lines[2 * i + h] + 2 * q + kLanes, interleave<1>({even, odd}));
          }
        }
      }
      for_each_segment(f, first + t, kLanes, [&](const Segment& part, int64_t place) {
        const int64_t top = 2 * kTile * part.row - f.origin.h, left = 2 * kTile * part.column - f.origin.w;
        const int64_t begin = std::max<int64_t>(-left, 0), end = std::min(2 * kTile * part.count, f.pixels.w - left);
        const int64_t last = std::min<int64_t>(2 * kTile, f.pixels.h - top);
        auto* plane = f.y + (part.image * f.rows + r) * f.pixels.h * f.pixels.w;
        for (int64_t i = std::max<int64_t>(-top, 0); i < last; ++i) {
          convert(lines[i] + 2 * kTile * place + begin, end - begin, plane + (top + i) * f.pixels.w + left + begin);
        }
      });
    }
  }
}

// ---- the products -------------------------------------------------------------------------------------------------

// Elements of a panel in v.
template <class F>
int64_t panel_size(const F& f) {
  return kProducts * f.v_step(0);
}

// Output rows [row0, row1) of the panels in v, which are [first, first + panels), in the caller's thread. Channels are the
// outer loop, kBlockChannels at a time: each tile of rows walks through all of those in v.
template <class F>
void multiply_part(const F& f, const float* v, int64_t first, int64_t panels, int64_t row0, int64_t row1) {
  const int64_t tiles = ceil_div(row1 - row0, kTileRows), size = kProducts * kTileRows * kWidth;  // of a tile's sums
  const bool wait = f.depth < f.all_channels();  // for the sums of later blocks
  const Workspace<float> u(kProducts * kFilterStep), sums((wait ? tiles : 1) * F::results * panels * size);
  const auto filters_of = [&](int64_t tile, int64_t c) -> FilterBlock {
    const int64_t row = row0 + (row1 - row0) * tile / tiles, end = row0 + (row1 - row0) * (tile + 1) / tiles;
    return {row, end - row, c, std::min(f.depth, f.channels - c)};
  };
  for (int64_t block = 0; block < f.all_channels(); block += std::min(f.depth, f.channels - block % f.channels)) {
    const int source = static_cast<int>(block / f.channels);
    const int64_t c = block % f.channels, count = std::min(f.depth, f.channels - c);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const FilterBlock here = filters_of(tile, c);
      const FilterBlock next = tile + 1 < tiles ? filters_of(tile + 1, c) : filters_of(0, (c + here.count) % f.channels);
      float* sum = sums.data() + (wait ? tile * F::results * panels * size : 0);
      for (int result = 0; result < F::results; ++result) {
        const int phase = source + result;  // one of them is 0
        const RowsOfA<float> a = transform_filters(f, here, phase, u.data());
        for (int64_t p = 0; p < panels; ++p, sum += size) {
          const int64_t width = f.width(first + p), step = f.v_step(first + p);
          const MicroKernel<float> kernel = width == kLanes ? micro_kernel_for<float, 1>(here.rows) : micro_kernel_for<float>(here.rows);
          const float* b = v + p * panel_size(f) + block * width;
          for (int i = 0; i < kProducts; ++i) {
            float* to = sum + i * kTileRows * kWidth;
            const RowsOfA<float> rows{a.data + i * kFilterStep, a.row_step, a.k_step};
            if (p == 0 && result == 0) prefetch_filters(f, next, i);
            if (!F::is_zero(phase, i)) kernel({1, count, rows, b + i * step, 0, to, kWidth, block > 0});
            else if (block == 0) std::fill_n(to, here.rows * kWidth, 0.0f);
          }
          if (block + count < f.all_channels() || result + 1 < F::results) continue;
          if constexpr (F::results == 1) write_outputs(f, first + p, here.row, here.rows, sum);
          else write_phases(f, first + p, here.row, here.rows, sum - result * panels * size, panels * size);
        }
      }
    }
  }
}

template <class F>
void transform_picture(const F& f, int64_t first, int64_t count, float* v) {
  parallel_for(count * f.all_channels(), 8, [&](int64_t begin, int64_t end) {
    Pieces pieces;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = i / f.all_channels(), channel = i % f.all_channels() / F::sources;
      transform_panel(f, first + panel, channel, static_cast<int>(i % F::sources), pieces, v + panel * panel_size(f));
    }
  });
}

template <class F>
void filter(F f) {
  const int64_t panels = ceil_div(f.tiles(), kWidth), threads = omp_get_max_threads();
  // Calls work(first panel, count) for [begin, end), `most` panels at a time.
  const auto in_steps = [](int64_t begin, int64_t end, int64_t most, const auto& work) {
    const int64_t step = ceil_div(end - begin, ceil_div(end - begin, most));
    for (int64_t first = begin; first < end; first += step) work(first, std::min(step, end - first));
  };
  const int64_t panel_bytes = panel_size(f) * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::min(panels, std::clamp<int64_t>(kGroupBytes / panel_bytes, 2, kGroupPanels));
  f.depth = ceil_div(ceil_div(f.channels, ceil_div(f.channels, kBlockChannels)), kLanes) * kLanes;
  if (panels >= threads && (panels * kWidth >= 4 * f.rows || f.rows < threads * kTileRows)) {
    // Large pictures: each thread has panels of its own and transforms all filters, group after group.
    parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
      const Workspace<float> v(std::min(most, end - begin) * panel_size(f));
      in_steps(begin, end, most, [&](int64_t first, int64_t count) {
        transform_picture(f, first, count, v.data());
        multiply_part(f, v.data(), first, count, 0, f.rows);
      });
    });
    return;
  }
  // Large filters: the transformed picture is shared, each thread has output channels of its own.
  const Workspace<float> v(most * panel_size(f));
  in_steps(0, panels, most, [&](int64_t first, int64_t count) {
    transform_picture(f, first, count, v.data());
    parallel_for(f.rows, kTileRows, [&](int64_t begin, int64_t end) {
      multiply_part(f, v.data(), first, count, begin, end);
    });
  });
}

template <class T, int side>
void forward(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  if (p.stride == Size2(1)) filter(Panels<T, side>{forward_filtering<T, kTile<side>>(x, w, bias, p, y)});
  else if constexpr (side == 4) filter(Panels<T, side, 4, 1>{forward_filtering<T, kTile<2>>(x, w, bias, p, y)});
}

// Stride 2: pixel h of dx lies at h + padding = 2i + its phase, and output i - t saw it through tap 2t + phase. The first i that
// has a pixel is padding / 2.
template <class T, int side>
void strided_input_grad(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  Panels<T, side, 1, 4> f{input_grad_filtering<T, kTile<2>>(dy, w, p, dx)};
  f.pixels = {f.oh, f.ow};
  f.origin = {p.padding.h % 2, p.padding.w % 2};
  f.oh = ceil_div(f.pixels.h + f.origin.h, 2);
  f.ow = ceil_div(f.pixels.w + f.origin.w, 2);
  f.padding = {1 - p.padding.h / 2, 1 - p.padding.w / 2};
  filter(f);
}

template <class T, int side>
void input_grad(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  if (p.stride == Size2(1)) filter(Panels<T, side>{input_grad_filtering<T, kTile<side>>(dy, w, p, dx)});
  else strided_input_grad<T, side>(dy, w, p, dx);
}

}  // namespace

void conv2d_forward_winograd(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  if (x.dtype() == DType::bf16) (w.size(2) == 4 ? forward<bf16, 4> : forward<bf16, 3>)(x, w, bias, p, y);
  else (w.size(2) == 4 ? forward<float, 4> : forward<float, 3>)(x, w, bias, p, y);
}

void conv2d_input_grad_winograd(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  if (dy.dtype() == DType::bf16) (w.size(2) == 4 ? input_grad<bf16, 4> : input_grad<bf16, 3>)(dy, w, p, dx);
  else (w.size(2) == 4 ? input_grad<float, 4> : input_grad<float, 3>)(dy, w, p, dx);
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
// Stride 2 saves less (see above), and forward four pictures are transformed: pairs of bf16 are faster without (by 1.1 to 1.8),
// and 3x3 taps are forward (winograd 0.6 to 1.1 times as fast; 1.1 to 2.1 in the input gradient, 1.2 to 3.1 with 4x4).
bool winograd_pays(const Conv2dSizes& s, const Conv2dParams& p, DType dtype, Pass pass) {
  constexpr int64_t kNarrowest = 64;
  const bool native_bf16 = dtype == DType::bf16 && has_bf16_products(), tiles = native_bf16 && isa() == Isa::amx;
  const bool strided = p.stride == Size2(2) && !native_bf16 && (pass == Pass::input_grad || (pass == Pass::forward && s.kh == 4));
  return s.kh == s.kw && (s.kh == 3 || s.kh == 4) && (p.stride == Size2(1) || strided) && p.dilation == Size2(1) && p.groups == 1 &&
         s.c >= kNarrowest && s.o >= kNarrowest && s.oh * s.ow >= 64 && !tiles;
}

bool takes_winograd_bf16(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  return x.dtype() == DType::bf16 && w.size(2) == 3 && p.stride == Size2(1) && takes_winograd(x, w, p, y, Pass::forward);
}

bool takes_winograd(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y, Pass pass) {
  const DType dtype = x.dtype();
  return (dtype == DType::f32 || (dtype == DType::bf16 && w.dtype() == dtype && y.dtype() == dtype)) && x.is_contiguous() &&
         y.is_contiguous() && (w.is_contiguous() || w.is_channels_last()) && winograd_pays(conv2d_sizes(x, w, p, y), p, dtype, pass);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
