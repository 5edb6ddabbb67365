// Nearest and bilinear resizing of the last two dimensions and its gradient. Contract: kernels.h. Next: grid_sample.h.
#pragma once

#include "tensor/definitions/pool.h"
#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// An output position along one axis reads (1 - t) * x[i0] + t * x[i1]. As the output grows, neither i0 nor i1 falls.
struct Source {
  int64_t i0, i1;
  double t;
  // How much of x[k] the output reads.
  template <class T>
  ASAP_HOST_DEVICE T weight(int64_t k) const {
    return (i0 == k ? 1 - static_cast<T>(t) : T(0)) + (i1 == k ? static_cast<T>(t) : T(0));
  }
};
ASAP_HOST_DEVICE inline Source source_of(int64_t i, int64_t in, int64_t out, ResizeMode mode) {
  if (mode == ResizeMode::nearest) return {i * in / out, i * in / out, 0.0};
  double position = 0;
  if (mode == ResizeMode::bilinear) {
    position = (static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    if (position < 0) position = 0;
  } else if (out > 1) {
    position = static_cast<double>(i * (in - 1)) / static_cast<double>(out - 1);
  }
  int64_t i0 = static_cast<int64_t>(position);
  if (i0 > in - 1) i0 = in - 1;
  return {i0, i0 + 1 < in ? i0 + 1 : in - 1, position - static_cast<double>(i0)};
}

// Where the outputs that read position k lie, and a few more: one step of the output is about in / out of the input.
ASAP_HOST_DEVICE inline Range<int64_t> near(int64_t k, int64_t in, int64_t out) {
  const int64_t first = (k - 2) * out / in - 1, behind = (k + 3) * out / in + 2;
  return {first < 0 ? 0 : first, behind > out ? out : behind};
}

// Weight 0 reads nothing: an infinite neighbour stays out.
template <class T>
ASAP_HOST_DEVICE inline T mix(T t, T a, T b) {
  return t == 0 ? a : (1 - t) * a + t * b;
}

struct Resize2dForward {
  View x;
  ResizeMode mode;
  int64_t OH, OW;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    const Source h = source_of(y[2], x.size(2), OH, mode), w = source_of(y[3], x.size(3), OW, mode);
    const auto row = [&](int64_t i) { return mix(w.t, x(y[0], y[1], i, w.i0), x(y[0], y[1], i, w.i1)); };
    return mix(h.t, row(h.i0), row(h.i1));
  }
};

// dx's element adds up the outputs that read it.
struct Resize2dBackward {
  View dy;
  ResizeMode mode;
  int64_t H, W;

  ASAP_HOST_DEVICE double operator()(const Position& dx) const {
    const auto rows = near(dx[2], H, dy.size(2)), columns = near(dx[3], W, dy.size(3));
    double sum = 0;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const double of_row = source_of(i, H, dy.size(2), mode).weight<double>(dx[2]);
      if (of_row == 0) continue;
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        const double of_column = source_of(j, W, dy.size(3), mode).weight<double>(dx[3]);
        if (of_column != 0) sum += of_row * of_column * dy(dx[0], dx[1], i, j);
      }
    }
    return sum;
  }
};

template <class Run>
void add_resize(Device device) {
  kernels::resize2d_forward.add_definition(device, [](const Tensor& x, ResizeMode mode, Tensor& y) {
    Run::each(y, Resize2dForward{x, mode, y.size(2), y.size(3)});
  });
  kernels::resize2d_backward.add_definition(device, [](const Tensor& dy, ResizeMode mode, Tensor& dx) {
    Run::each(dx, Resize2dBackward{dy, mode, dx.size(2), dx.size(3)});
  });
}

}  // namespace asap::definitions
