// Nearest and bilinear resizing of the last two dimensions, forward and backward.
#include <cmath>
#include <cstring>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// An output position along one axis reads (1 - t) * x[i0] + t * x[i1].
struct Source {
  int64_t i0, i1;
  double t;
};
Source source_of(int64_t i, int64_t in, int64_t out, ResizeMode mode) {
  if (mode == ResizeMode::nearest) return {i * in / out, i * in / out, 0.0};
  const double position = mode == ResizeMode::bilinear
                              ? std::max((static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5, 0.0)
                              : out > 1 ? static_cast<double>(i * (in - 1)) / static_cast<double>(out - 1) : 0.0;
  const int64_t i0 = std::min(static_cast<int64_t>(position), in - 1);
  return {i0, std::min(i0 + 1, in - 1), position - static_cast<double>(i0)};
}

// Weight 0 reads nothing: an infinite neighbour stays out.
template <class T>
T mix(T t, T a, T b) {
  return t == 0 ? a : (1 - t) * a + t * b;
}

// ---- naive: the definition ----------------------------------------------------------------------------------------

// Calls f(output position, first pixel of its plane of x, source row, source column).
template <class F>
void for_each_pixel(const Shape& x, const Shape& y, ResizeMode mode, const F& f) {
  const int64_t H = x[-2], W = x[-1], OH = y[-2], OW = y[-1];
  const int64_t planes = y.numel() / std::max<int64_t>(OH * OW, 1);
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t i = 0; i < OH; ++i) {
      for (int64_t j = 0; j < OW; ++j) {
        f((plane * OH + i) * OW + j, plane * H * W, source_of(i, H, OH, mode), source_of(j, W, OW, mode));
      }
    }
  }
}

void resize2d_forward_naive(const Tensor& x, ResizeMode mode, Tensor& y) {
  dispatch_floating(x.dtype(), "resize2d", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    const int64_t W = x.size(-1);
    for_each_pixel(x.shape(), y.shape(), mode, [&](int64_t o, int64_t plane, const Source& h, const Source& w) {
      const auto at = [&](int64_t row, int64_t column) { return from[plane + row * W + column]; };
      const T th = static_cast<T>(h.t), tw = static_cast<T>(w.t);
      y.data<T>()[o] = mix(th, mix(tw, at(h.i0, w.i0), at(h.i0, w.i1)), mix(tw, at(h.i1, w.i0), at(h.i1, w.i1)));
    });
  });
}

void resize2d_backward_naive(const Tensor& dy, ResizeMode mode, Tensor& dx) {
  dispatch_floating(dy.dtype(), "resize2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    const int64_t W = dx.size(-1);
    std::fill_n(to, dx.numel(), T(0));
    for_each_pixel(dx.shape(), dy.shape(), mode, [&](int64_t o, int64_t plane, const Source& h, const Source& w) {
      const auto at = [&](int64_t row, int64_t column) -> T& { return to[plane + row * W + column]; };
      const T th = static_cast<T>(h.t), tw = static_cast<T>(w.t);
      at(h.i0, w.i0) += (1 - th) * (1 - tw) * grad[o];
      at(h.i0, w.i1) += (1 - th) * tw * grad[o];
      at(h.i1, w.i0) += th * (1 - tw) * grad[o];
      at(h.i1, w.i1) += th * tw * grad[o];
    });
  });
}

}  // namespace

void register_resize() {
  kernels::resize2d_forward.add(Device::cpu, "naive", resize2d_forward_naive);
  kernels::resize2d_backward.add(Device::cpu, "naive", resize2d_backward_naive);
}

}  // namespace asap::cpu
