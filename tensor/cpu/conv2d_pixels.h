// The column matrix of a convolution, never stored: B[k = (channel, tap)][j = output pixel] = the source pixel that tap
// sees from output j, outside the picture what the padding mode says. PixelColumns packs a block of it for matmul_block.h in two steps: the source
// rows under the block are staged, one channel at a time, with their border (and, for stride > 1, one plane per
// column phase, so that neighbours in the output are neighbours in memory); then every tap copies whole vectors from
// there. Serves the forward pass (source x) and the input gradient (source dy). Next: conv2d_implicit_gemm.cpp.
#if defined(ASAP_CPU_CONV2D_PIXELS_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_CONV2D_PIXELS_H
#undef ASAP_CPU_CONV2D_PIXELS_H
#else
#define ASAP_CPU_CONV2D_PIXELS_H
#endif

#include <vector>

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/matmul_block.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// Source position of a tap relative to output pixel (0,0).
struct Tap {
  int64_t dh, dw;
};

// Where in the source the outputs look: pixel (oh, ow) through tap t reads (oh*stride.h + t.dh, ow*stride.w + t.dw).
struct PixelGrid {
  int64_t h, w;    // source size
  int64_t oh, ow;  // output size
  Size2 stride;
  std::vector<Tap> taps;
  PadMode pad_mode = PadMode::zero;
};

// Planes of the source: images `image_step` elements apart, channels h*w.
template <class T>
struct SourcePlanes {
  const T* data;
  int64_t image_step;
};

template <class T>
class PixelColumns {
 public:
  static constexpr int64_t kWidth = Simd<T>::columns;

  PixelColumns(const PixelGrid& grid, const SourcePlanes<T>& source) : g_(grid), source_(source) {
    low_ = high_ = g_.taps.front();
    for (const Tap& t : g_.taps) {
      low_ = {std::min(low_.dh, t.dh), std::min(low_.dw, t.dw)};
      high_ = {std::max(high_.dh, t.dh), std::max(high_.dw, t.dw)};
    }
  }

  // Panels do not cross from one image into the next.
  int64_t panels_per_image() const { return ceil_div(g_.oh * g_.ow, kWidth); }
  int64_t first_pixel(int64_t panel) const { return panel % panels_per_image() * kWidth; }
  int64_t pixel_count(int64_t panel) const { return std::min(kWidth, g_.oh * g_.ow - first_pixel(panel)); }

  // pack_b of matmul_block.h; k and length are multiples of the number of taps.
  void pack(int64_t panel, int64_t panels, int64_t k, int64_t length, T* out, int64_t out_step) const {
    const int64_t taps = static_cast<int64_t>(g_.taps.size());
    while (panels > 0) {
      const int64_t image = panel / panels_per_image();
      const int64_t run = std::min(panels, (image + 1) * panels_per_image() - panel);
      pack_run(image, first_pixel(panel), run, k / taps, length / taps, out, out_step);
      panel += run;
      panels -= run;
      out += run * out_step;
    }
  }

 private:
  // The part of the source under a run of panels, as it is staged: [rows][stride.w phases][pitch columns].
  struct Stage {
    int64_t first_row, first_column;  // in the source, may lie outside
    int64_t rows, pitch;
    int64_t row_size(const PixelGrid& g) const { return g.stride.w * pitch; }
  };
  // Output pixels of one row inside one panel: `count` of them from column `to` of the panel on.
  struct Segment {
    int64_t from;  // offset in the stage for the tap (low_.dh, low_.dw)
    int64_t to, count;
  };

  // Panels of one image from pixel j0 on, channels [c0, c0 + channels).
  void pack_run(int64_t image, int64_t j0, int64_t panels, int64_t c0, int64_t channels, T* out, int64_t out_step) const {
    const int64_t j1 = std::min(g_.oh * g_.ow, j0 + panels * kWidth);
    const int64_t oh0 = j0 / g_.ow, oh1 = (j1 - 1) / g_.ow;  // last one included
    const int64_t ow0 = oh0 == oh1 ? j0 % g_.ow : 0, ow1 = oh0 == oh1 ? (j1 - 1) % g_.ow : g_.ow - 1;
    const Stage stage{.first_row = oh0 * g_.stride.h + low_.dh, .first_column = ow0 * g_.stride.w + low_.dw,
                      .rows = (oh1 - oh0) * g_.stride.h + high_.dh - low_.dh + 1,
                      .pitch = ow1 - ow0 + 1 + (high_.dw - low_.dw) / g_.stride.w};
    // Segments are copied in whole vectors: room for reading past the last one.
    const Workspace<T> staged(stage.rows * stage.row_size(g_) + kWidth);
    std::vector<int64_t> tap_offsets;
    for (const Tap& t : g_.taps) {
      const int64_t dw = t.dw - low_.dw;
      tap_offsets.push_back((t.dh - low_.dh) * stage.row_size(g_) + dw % g_.stride.w * stage.pitch + dw / g_.stride.w);
    }
    std::vector<std::vector<Segment>> segments;
    for (int64_t p = 0; p < panels; ++p) segments.push_back(segments_of(j0 + p * kWidth, j1, oh0, ow0, stage));

    const int64_t taps = static_cast<int64_t>(g_.taps.size());
    for (int64_t c = 0; c < channels; ++c) {
      fill_stage(source_.data + image * source_.image_step + (c0 + c) * g_.h * g_.w, stage, staged.data());
      for (int64_t p = 0; p < panels; ++p) {
        copy_taps(staged.data(), tap_offsets, segments[static_cast<size_t>(p)], out + p * out_step + c * taps * kWidth);
      }
    }
  }

  std::vector<Segment> segments_of(int64_t j0, int64_t j_end, int64_t oh0, int64_t ow0, const Stage& stage) const {
    std::vector<Segment> result;
    const int64_t j1 = std::min(j0 + kWidth, j_end);
    for (int64_t j = j0; j < j1;) {
      const int64_t oh = j / g_.ow, ow = j % g_.ow, count = std::min(j1 - j, g_.ow - ow);
      result.push_back({(oh - oh0) * g_.stride.h * stage.row_size(g_) + ow - ow0, j - j0, count});
      j += count;
    }
    return result;
  }

  void fill_stage(const T* plane, const Stage& stage, T* to) const {
    for (int64_t r = 0; r < stage.rows; ++r) {
      const int64_t ih = padded_index(stage.first_row + r, g_.h, g_.pad_mode);
      const T* row = ih >= 0 ? plane + ih * g_.w : nullptr;
      // The next channel's row is fetched meanwhile.
      const T* next = plane + (g_.h + std::max<int64_t>(ih, 0)) * g_.w + stage.first_column;
      for (int64_t q = 0; q < stage.row_size(g_); q += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(next + q);
      for (int64_t phase = 0; phase < g_.stride.w; ++phase, to += stage.pitch) {
        if (row) fill_row(row, stage.first_column + phase, stage.pitch, to);
        else std::fill_n(to, stage.pitch, T(0));
      }
    }
  }

  // to[q] = row[first + q*stride.w], outside the picture what the padding mode says.
  void fill_row(const T* row, int64_t first, int64_t count, T* to) const {
    const int64_t step = g_.stride.w;
    const int64_t begin = std::min(count, first < 0 ? ceil_div(-first, step) : 0);
    const int64_t end = std::max(begin, std::min(count, first < g_.w ? ceil_div(g_.w - first, step) : 0));
    std::fill(to, to + begin, T(0));
    const T* from = row + first;
    if (step == 1) {
      std::copy(from + begin, from + end, to + begin);
    } else if (step == 2) {
      for (int64_t q = begin; q < end; ++q) to[q] = from[2 * q];
    } else {
      for (int64_t q = begin; q < end; ++q) to[q] = from[step * q];
    }
    std::fill(to + end, to + count, T(0));
    fill_padding(row, g_.w, -low_.dw, g_.pad_mode, first, step, count, to);
  }

  // One channel of one panel. Segments are written in ascending order and in whole vectors: what one writes too far,
  // the next one overwrites.
  static void copy_taps(const T* staged, const std::vector<int64_t>& tap_offsets, const std::vector<Segment>& segments, T* out) {
    constexpr int lanes = Simd<T>::lanes;
    if (segments.size() == 1) {
      for (const int64_t offset : tap_offsets) {
        const T* from = staged + segments[0].from + offset;
        for (int v = 0; v < kTileVectors; ++v) store<T>(out + v * lanes, load(from + v * lanes));
        out += kWidth;
      }
      return;
    }
    for (const int64_t offset : tap_offsets) {
      for (const Segment& s : segments) {
        const T* from = staged + s.from + offset;
        for (int64_t i = 0; i < s.count; i += lanes) store<T>(out + s.to + i, load(from + i));
      }
      out += kWidth;
    }
  }

  const PixelGrid g_;
  const SourcePlanes<T> source_;
  Tap low_, high_;  // smallest and largest offsets among the taps
};

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
