// Padding of the last two dimensions, forward and backward: whole rows are copied or added, only the border columns are
// looked up. Next: pool.cpp.
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/padded_index.h"

namespace asap::cpu {
namespace {

// Calls f(row) for rows of `width` elements, spread over the threads.
template <class F>
void parallel_rows(int64_t rows, int64_t width, const F& f) {
  parallel_for(rows, std::max<int64_t>(kGrain / std::max<int64_t>(width, 1), 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(row);
  });
}

void pad2d_forward_rows(const Tensor& x, const Pad2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "pad2d", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = x.size(2), W = x.size(3), PH = y.size(2), PW = y.size(3);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_rows(y.size(0) * y.size(1) * PH, PW, [&](int64_t row) {
      T* out = to + row * PW;
      const int64_t h = padded_index(row % PH - p.top, H, p.mode);
      if (h < 0) {
        std::fill_n(out, PW, T(0));
        return;
      }
      const T* in = from + (row / PH * H + h) * W;
      const auto border = [&](int64_t j) {
        const int64_t w = padded_index(j - p.left, W, p.mode);
        out[j] = w < 0 ? T(0) : in[w];
      };
      for (int64_t j = 0; j < p.left; ++j) border(j);
      std::copy_n(in, W, out + p.left);
      for (int64_t j = p.left + W; j < PW; ++j) border(j);
    });
  });
}

// dx's row gathers from the padded rows that read it: the one inside, and those of the border that folded onto it.
void pad2d_backward_rows(const Tensor& dy, const Pad2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "pad2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = dx.size(2), W = dx.size(3), PH = dy.size(2), PW = dy.size(3);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    parallel_rows(dx.size(0) * dx.size(1) * H, PW, [&](int64_t row) {
      const int64_t h = row % H;
      const T* plane = grad + row / H * PH * PW;
      T* out = to + row * W;
      const auto add_borders = [&](const T* in) {
        for (int64_t j = 0; j < p.left; ++j) out[padded_index(j - p.left, W, p.mode)] += in[j];
        for (int64_t j = p.left + W; j < PW; ++j) out[padded_index(j - p.left, W, p.mode)] += in[j];
      };
      const T* inside = plane + (h + p.top) * PW;
      std::copy_n(inside + p.left, W, out);
      if (p.mode == PadMode::zero) return;
      add_borders(inside);
      for (int64_t b = 0; b < p.top + p.bottom; ++b) {
        const int64_t i = b < p.top ? b : H + b;  // rows of the border: top ones, then bottom ones
        if (padded_index(i - p.top, H, p.mode) != h) continue;
        const T* in = plane + i * PW;
        for (int64_t w = 0; w < W; ++w) out[w] += in[p.left + w];
        add_borders(in);
      }
    });
  });
}

}  // namespace

void register_pad() {
  kernels::pad2d_forward.add(Device::cpu, "rows", pad2d_forward_rows);
  kernels::pad2d_backward.add(Device::cpu, "rows", pad2d_backward_rows);
}

}  // namespace asap::cpu
