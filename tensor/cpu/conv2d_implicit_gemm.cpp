// Convolution as a matrix product, forward and input gradient: weights times the pixels under the kernel, which
// are packed block by block straight into the panels of the product: their matrix never exists as a whole.
// Next: conv2d_pixels.h packs the pixels; conv2d_weight_grad.cpp is the third kernel.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_implicit_gemm.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_pixels.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void forward_group(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, const Conv2dSizes& s,
                   int64_t group, Tensor& y) {
  PixelGrid grid{.h = s.h, .w = s.w, .oh = s.oh, .ow = s.ow, .stride = p.stride, .taps = {}, .pad_mode = p.pad_mode};
  for (int64_t kh = 0; kh < s.kh; ++kh) {
    for (int64_t kw = 0; kw < s.kw; ++kw) {
      grid.taps.push_back({kh * p.dilation.h - p.padding.h, kw * p.dilation.w - p.padding.w});
    }
  }
  const int64_t pixels = s.oh * s.ow;
  if (is_pointwise(s, p)) grid.h = grid.oh = 1, grid.w = grid.ow = pixels;
  const PixelColumns<T> columns(grid, {x.data<T>() + group * s.cg * s.h * s.w, s.c * s.h * s.w});
  const int64_t depth = s.cg * s.kh * s.kw;
  const T* wp = w.data<T>() + group * s.og * depth;
  T* yp = y.data<T>() + group * s.og * pixels;
  const auto address = [&](int64_t panel, int64_t row) {
    return yp + (panel / columns.panels_per_image() * s.o + row) * pixels + columns.first_pixel(panel);
  };
  const auto rows_of_a = [&](int64_t row, int64_t, int64_t k, int64_t, T*) { return RowsOfA<T>{wp + row * depth + k, depth, 1}; };
  const auto pack_b = [&](int64_t panel, int64_t panels, int64_t k, int64_t length, T* out, int64_t out_step) {
    columns.pack(panel, panels, k, length, out, out_step);
  };
  const auto target = [&](int64_t panel, int64_t row) {
    return Target<T>{address(panel, row), pixels, columns.pixel_count(panel) == columns.kWidth};
  };
  const auto scatter = [&](int64_t panel, int64_t row, int64_t rows, const T* tile, bool accumulate) {
    const int64_t count = columns.pixel_count(panel);
    T* to = address(panel, row);
    for (int64_t r = 0; r < rows; ++r, to += pixels, tile += columns.kWidth) {
      for (int64_t i = 0; i < count; ++i) to[i] = tile[i] + (accumulate ? to[i] : T(0));
    }
  };
  const Epilogue<T> epilogue(bias, p);
  const auto finish = [&](int64_t panel, int64_t row, int64_t rows) {
    if (!epilogue.changes()) return;
    for (int64_t r = row; r < row + rows; ++r) epilogue.apply(group * s.og + r, columns.pixel_count(panel), address(panel, r));
  };
  const BlockedShape shape{.rows = s.og, .depth = depth, .panels = s.n * columns.panels_per_image(), .depth_unit = s.kh * s.kw};
  blocked_product<T>(shape, rows_of_a, pack_b, target, scatter, finish);
}

// The input gradient is a convolution of dy with stride 1, once for each phase (ih mod stride.h, iw mod stride.w) of
// the input: all pixels of a phase are seen through the same taps. With stride 1 there is one phase.
struct Phase {
  int64_t h, w;                // of the first pixel
  PixelGrid grid;              // source dy, output the pixels of the phase
  std::vector<int64_t> taps;   // kh*KW + kw of each of the grid's taps
};

// Rows [first, last) of the phase that begins at pixel (h, w).
Phase make_phase(const Conv2dSizes& s, const Conv2dParams& p, int64_t h, int64_t w, int64_t first, int64_t last) {
  Phase phase{.h = h + first * p.stride.h, .w = w,
              .grid = {.h = s.oh, .w = s.ow, .oh = last - first, .ow = ceil_div(s.w - w, p.stride.w), .stride = 1, .taps = {}},
              .taps = {}};
  for (int64_t kh = 0; kh < s.kh; ++kh) {
    for (int64_t kw = 0; kw < s.kw; ++kw) {
      const int64_t top = phase.h + p.padding.h - kh * p.dilation.h, left = w + p.padding.w - kw * p.dilation.w;
      if (top % p.stride.h != 0 || left % p.stride.w != 0) continue;
      phase.grid.taps.push_back({top / p.stride.h, left / p.stride.w});
      phase.taps.push_back(kh * s.kw + kw);
    }
  }
  return phase;
}

// to[2*i] (+)= from[i] for one vector of values; the pixels between keep what they hold. They belong to another phase,
// which no thread is writing at this time.
template <class T>
[[gnu::always_inline]] inline void spread(const T* from, bool accumulate, T* to) {
  constexpr int lanes = Simd<T>::lanes;
  const Vec<T> values = load(from);
  const Vec<T> doubled[2] = {shuffle<T>(values, values, [](int lane) { return lane / 2; }),
                             shuffle<T>(values, values, [](int lane) { return (lanes + lane) / 2; })};
  for (int half = 0; half < 2; ++half) {
    const Vec<T> old = load(to + half * lanes), value = accumulate ? old + doubled[half] : doubled[half];
    store<T>(to + half * lanes, shuffle<T>(value, old, [](int lane) { return lane % 2 == 0 ? lane : lanes + lane; }));
  }
}

// dx of one group and phase, [n][c][phase rows][phase columns] in steps of the stride.
template <class T>
class PhaseOutput {
 public:
  PhaseOutput(const Conv2dSizes& s, const Conv2dParams& p, const Phase& phase, T* group)
      : s_(s), stride_(p.stride), phase_(phase), group_(group) {}

  // Adds or writes `count` values of channel c from pixel j of the phase on.
  void write(int64_t image, int64_t c, int64_t j, int64_t count, const T* values, bool accumulate) const {
    T* plane = group_ + (image * s_.c + c) * s_.h * s_.w;
    int64_t a = j / phase_.grid.ow, b = j % phase_.grid.ow;
    while (count > 0) {
      const int64_t run = std::min(count, phase_.grid.ow - b);
      T* to = plane + (phase_.h + a * stride_.h) * s_.w + phase_.w + b * stride_.w;
      // The last vector would touch the pixel behind the run: only where that is still in the row.
      const int64_t whole = phase_.w + (b + run) * stride_.w <= s_.w ? run : run - 1;
      int64_t i = 0;
      if (stride_.w == 2) {
        for (; i + Simd<T>::lanes <= whole; i += Simd<T>::lanes) spread(values + i, accumulate, to + 2 * i);
      }
      for (; i < run; ++i) to[i * stride_.w] = values[i] + (accumulate ? to[i * stride_.w] : T(0));
      values += run;
      count -= run;
      ++a;
      b = 0;
    }
  }
  // No output saw these pixels.
  void write_zeros() const {
    const std::vector<T> zeros(static_cast<size_t>(phase_.grid.oh * phase_.grid.ow), T(0));
    for (int64_t i = 0; i < s_.n * s_.cg; ++i) {
      write(i / s_.cg, i % s_.cg, 0, static_cast<int64_t>(zeros.size()), zeros.data(), false);
    }
  }
  // The address of pixel j where a row of pixels lies without gaps, as it does at stride 1.
  T* address(int64_t image, int64_t c, int64_t j) const { return group_ + (image * s_.c + c) * s_.h * s_.w + j; }

 private:
  const Conv2dSizes& s_;
  const Size2 stride_;
  const Phase& phase_;
  T* const group_;
};

constexpr int64_t kPhaseBytes = int64_t{2} << 20;  // of dx, worked on at a time with more than one phase

// A[c][(o, tap)] = w[o][c][tap] for input channels [row, row + rows) and `count` output channels from `o` on.
template <class T>
void pack_turned_weights(const T* w, const Conv2dSizes& s, const std::vector<int64_t>& taps, int64_t row, int64_t rows,
                         int64_t o, int64_t count, T* out) {
  constexpr int64_t width = Simd<T>::rows, most = 64;
  const int64_t window = s.kh * s.kw;
  if (window == 1) return pack_copied(w + o * s.cg + row, s.cg, rows, count, width, out);
  const T* end = w + s.og * s.cg * window;
  T square[most * width];
  for (; count > 0; ++o, --count) {
    const T* block = w + (o * s.cg + row) * window;
    if (window <= most) pack_short_rows(block, window, rows, window, width, end, square);
    for (const int64_t tap : taps) {
      if (window <= most) std::memcpy(out, square + tap * width, sizeof(T) * width);
      else for (int64_t r = 0; r < rows; ++r) out[r] = block[r * window + tap];
      out += width;
    }
  }
}

template <class T>
void input_grad_phase(const Tensor& dy, const Tensor& w, const Conv2dParams& p, const Conv2dSizes& s, int64_t group,
                      const Phase& phase, Tensor& dx) {
  const PhaseOutput<T> output(s, p, phase, dx.data<T>() + group * s.cg * s.h * s.w);
  if (phase.taps.empty()) return output.write_zeros();
  const PixelColumns<T> columns(phase.grid, {dy.data<T>() + group * s.og * s.oh * s.ow, s.o * s.oh * s.ow});
  const int64_t taps = static_cast<int64_t>(phase.taps.size()), window = s.kh * s.kw;
  const T* wp = w.data<T>() + group * s.og * s.cg * window;
  const auto rows_of_a = [&](int64_t row, int64_t rows, int64_t k, int64_t length, T* room) {
    pack_turned_weights(wp, s, phase.taps, row, rows, k / taps, length / taps, room);
    return RowsOfA<T>{room, 1, Simd<T>::rows};
  };
  const auto pack_b = [&](int64_t panel, int64_t panels, int64_t k, int64_t length, T* out, int64_t out_step) {
    columns.pack(panel, panels, k, length, out, out_step);
  };
  const auto image_of = [&](int64_t panel) { return panel / columns.panels_per_image(); };
  const auto target = [&](int64_t panel, int64_t row) {
    return Target<T>{output.address(image_of(panel), row, columns.first_pixel(panel)), s.h * s.w,
                     p.stride == Size2(1) && columns.pixel_count(panel) == columns.kWidth};
  };
  const auto scatter = [&](int64_t panel, int64_t row, int64_t rows, const T* tile, bool accumulate) {
    for (int64_t r = 0; r < rows; ++r, tile += columns.kWidth) {
      output.write(image_of(panel), row + r, columns.first_pixel(panel), columns.pixel_count(panel), tile, accumulate);
    }
  };
  const BlockedShape shape{.rows = s.cg, .depth = s.og * taps, .panels = s.n * columns.panels_per_image(), .depth_unit = taps};
  blocked_product<T>(shape, rows_of_a, pack_b, target, scatter);
}

}  // namespace

void conv2d_forward_implicit_gemm(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  dispatch_floating(x.dtype(), "conv2d_forward", [&]<class T>(T) {
    for (int64_t group = 0; group < s.groups; ++group) forward_group<T>(x, w, bias, p, s, group, y);
  });
}

void conv2d_input_grad_implicit_gemm(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  dispatch_floating(dy.dtype(), "conv2d_input_grad", [&]<class T>(T) {
    if (is_pointwise(s, p)) {
      Phase phase = make_phase(s, p, 0, 0, 0, s.h);
      phase.grid.h = phase.grid.oh = 1, phase.grid.w = phase.grid.ow = s.h * s.w;
      for (int64_t group = 0; group < s.groups; ++group) input_grad_phase<T>(dy, w, p, s, group, phase, dx);
      return;
    }
    // The phases share cache lines of dx: all are done for some rows before the next rows, while the lines are in cache.
    // Where that makes enough parts, each is one thread's.
    const int64_t row_bytes = s.n * s.cg * p.stride.h * s.w * static_cast<int64_t>(sizeof(T));
    const int64_t rows = ceil_div(s.h, p.stride.h), phases = p.stride.h * p.stride.w;
    const int64_t parts = phases == 1 ? 1 : std::min(rows, ceil_div(rows * row_bytes, kPhaseBytes));
    parallel_for(s.groups * parts, parts >= omp_get_max_threads() ? 1 : s.groups * parts, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t group = i / parts, part = i % parts;
        for (int64_t phase = 0; phase < phases; ++phase) {
          const int64_t h = phase / p.stride.w, wi = phase % p.stride.w;
          const int64_t first = rows * part / parts, last = std::min(rows * (part + 1) / parts, ceil_div(s.h - h, p.stride.h));
          if (h < s.h && wi < s.w && first < last) input_grad_phase<T>(dy, w, p, s, group, make_phase(s, p, h, wi, first, last), dx);
        }
      }
    });
  });
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(conv2d_forward_implicit_gemm);
HWY_EXPORT(conv2d_input_grad_implicit_gemm);

void conv2d_forward_implicit_gemm(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(conv2d_forward_implicit_gemm)(x, w, bias, p, y);
}

void conv2d_input_grad_implicit_gemm(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  HWY_DYNAMIC_DISPATCH(conv2d_input_grad_implicit_gemm)(dy, w, p, dx);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
