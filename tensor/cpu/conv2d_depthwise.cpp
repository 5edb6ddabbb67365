// Depthwise convolution (groups == C == O): every channel is filtered by itself, so there is no product to block and
// the work is bound by memory. Row by row: a row of the picture is staged with its border, one stretch per column phase
// (iw mod stride.w), so that each tap is a multiply-add of whole rows. Next: ../definitions/conv2d.h for the definition.
#include <vector>

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/matmul_micro.h"
#include "tensor/cpu/parallel.h"

namespace asap::cpu {
namespace {

// y[i] += a * x[i]
template <class T>
void add_scaled(const T* __restrict__ x, T a, int64_t count, T* __restrict__ y) {
  for (int64_t i = 0; i < count; ++i) y[i] += a * x[i];
}

template <class T>
T dot(const T* x, const T* y, int64_t count) {
  constexpr int lanes = Simd<T>::lanes;
  Vec<T> sums{};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) sums += load(x + i) * load(y + i);
  T sum = 0;
  for (int l = 0; l < lanes; ++l) sum += sums[l];
  for (; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

// A row of the input as stride.w phases of `pitch` columns each, border included: column iw, counted from -padding.w,
// stands at phase (iw + padding.w) % stride.w. Tap kw of output ow then reads row[tap(kw) + ow].
template <class T>
class PhasedRow {
 public:
  PhasedRow(const Conv2dSizes& s, const Conv2dParams& p)
      : s_(s), p_(p), pitch_(s.ow + (s.kw - 1) * p.dilation.w / p.stride.w),
        values_(static_cast<size_t>(pitch_ * p.stride.w), T(0)) {}

  void clear() { std::fill(values_.begin(), values_.end(), T(0)); }
  // A border of zeros was made by the constructor or clear() and stays so.
  void gather(const T* row) {
    const int64_t step = p_.stride.w;
    for_each_phase([&](int64_t begin, int64_t end, int64_t first, T* values) {
      for (int64_t q = begin; q < end; ++q) values[q] = row[first + q * step];
      fill_padding(row, s_.w, p_.padding.w, p_.pad_mode, first, step, pitch_, values);
    });
  }
  // Every column of `row` that no output saw keeps its value.
  void scatter(T* row) {
    for_each_phase([&](int64_t begin, int64_t end, int64_t first, const T* values) {
      for (int64_t q = begin; q < end; ++q) row[first + q * p_.stride.w] = values[q];
    });
  }
  T* tap(int64_t kw) {
    const int64_t column = kw * p_.dilation.w;
    return values_.data() + column % p_.stride.w * pitch_ + column / p_.stride.w;
  }

 private:
  // f(begin, end, first, values): values[q], begin <= q < end, belong to columns first + q*stride.w of the picture.
  template <class F>
  void for_each_phase(const F& f) {
    for (int64_t phase = 0; phase < p_.stride.w; ++phase) {
      const int64_t first = phase - p_.padding.w, step = p_.stride.w;
      const int64_t begin = std::min(pitch_, first < 0 ? (step - 1 - first) / step : 0);
      const int64_t end = std::min(pitch_, first < s_.w ? (s_.w - first + step - 1) / step : 0);
      f(begin, end, first, values_.data() + phase * pitch_);
    }
  }

  const Conv2dSizes& s_;
  const Conv2dParams& p_;
  int64_t pitch_;
  std::vector<T> values_;
};

// Input row that output row oh sees through kernel row kh, -1 for zeros.
int64_t input_row(const Conv2dSizes& s, const Conv2dParams& p, int64_t oh, int64_t kh) {
  return padded_index(oh * p.stride.h - p.padding.h + kh * p.dilation.h, s.h, p.pad_mode);
}

template <class T>
void forward_plane(const T* x, const T* w, const Epilogue<T>& epilogue, int64_t c, const Conv2dSizes& s,
                   const Conv2dParams& p, PhasedRow<T>& row, T* y) {
  std::fill_n(y, s.oh * s.ow, T(0));
  for (int64_t oh = 0; oh < s.oh; ++oh) {
    for (int64_t kh = 0; kh < s.kh; ++kh) {
      const int64_t ih = input_row(s, p, oh, kh);
      if (ih < 0) continue;
      row.gather(x + ih * s.w);
      for (int64_t kw = 0; kw < s.kw; ++kw) add_scaled(row.tap(kw), w[kh * s.kw + kw], s.ow, y + oh * s.ow);
    }
    if (epilogue.changes()) epilogue.apply(c, s.ow, y + oh * s.ow);
  }
}

template <class T>
void input_grad_plane(const T* dy, const T* w, const Conv2dSizes& s, const Conv2dParams& p, PhasedRow<T>& row, T* dx) {
  std::fill_n(dx, s.h * s.w, T(0));
  for (int64_t ih = 0; ih < s.h; ++ih) {
    row.clear();
    for (int64_t kh = 0; kh < s.kh; ++kh) {
      const int64_t top = ih + p.padding.h - kh * p.dilation.h;
      if (top < 0 || top % p.stride.h != 0 || top / p.stride.h >= s.oh) continue;
      for (int64_t kw = 0; kw < s.kw; ++kw) add_scaled(dy + top / p.stride.h * s.ow, w[kh * s.kw + kw], s.ow, row.tap(kw));
    }
    row.scatter(dx + ih * s.w);
  }
}

template <class T>
void add_weight_grad_plane(const T* x, const T* dy, const Conv2dSizes& s, const Conv2dParams& p, PhasedRow<T>& row, T* dw) {
  for (int64_t oh = 0; oh < s.oh; ++oh) {
    for (int64_t kh = 0; kh < s.kh; ++kh) {
      const int64_t ih = input_row(s, p, oh, kh);
      if (ih < 0) continue;
      row.gather(x + ih * s.w);
      for (int64_t kw = 0; kw < s.kw; ++kw) dw[kh * s.kw + kw] += dot<T>(row.tap(kw), dy + oh * s.ow, s.ow);
    }
  }
}

}  // namespace

void conv2d_forward_depthwise(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  dispatch_floating(x.dtype(), "conv2d_forward", [&]<class T>(T) {
    const T *xp = x.data<T>(), *wp = w.data<T>();
    T* yp = y.data<T>();
    const Epilogue<T> epilogue(bias, p);
    parallel_for(s.n * s.c, 1, [&](int64_t begin, int64_t end) {
      PhasedRow<T> row(s, p);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t c = i % s.c;
        forward_plane(xp + i * s.h * s.w, wp + c * s.kh * s.kw, epilogue, c, s, p, row, yp + i * s.oh * s.ow);
      }
    });
  });
}

void conv2d_input_grad_depthwise(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  dispatch_floating(dy.dtype(), "conv2d_input_grad", [&]<class T>(T) {
    const T *dyp = dy.data<T>(), *wp = w.data<T>();
    T* dxp = dx.data<T>();
    parallel_for(s.n * s.c, 1, [&](int64_t begin, int64_t end) {
      PhasedRow<T> row(s, p);
      for (int64_t i = begin; i < end; ++i) {
        input_grad_plane(dyp + i * s.oh * s.ow, wp + i % s.c * s.kh * s.kw, s, p, row, dxp + i * s.h * s.w);
      }
    });
  });
}

void conv2d_weight_grad_depthwise(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  dispatch_floating(x.dtype(), "conv2d_weight_grad", [&]<class T>(T) {
    const T *xp = x.data<T>(), *dyp = dy.data<T>();
    T* dwp = dw.data<T>();
    parallel_for(s.c, 1, [&](int64_t begin, int64_t end) {
      PhasedRow<T> row(s, p);
      for (int64_t c = begin; c < end; ++c) {
        T* to = dwp + c * s.kh * s.kw;
        std::fill_n(to, s.kh * s.kw, T(0));
        for (int64_t n = 0; n < s.n; ++n) {
          add_weight_grad_plane(xp + (n * s.c + c) * s.h * s.w, dyp + (n * s.c + c) * s.oh * s.ow, s, p, row, to);
        }
      }
    });
  });
}

}  // namespace asap::cpu
