// Sampling a picture at positions that a grid gives, and its gradients. Contract: kernels.h. Next: tile_mlp.h.
#pragma once

#include <cmath>

#include "tensor/definitions/copy.h"
#include "tensor/definitions/resize.h"
#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// A position along one axis of n pixels reads (1 - t) * x[i] + t * x[i + 1], each of them 0 outside 0..n-1. slope: its
// derivative, in pixels, by the grid's number.
struct Tap {
  int64_t i;
  double t, slope;
};
ASAP_HOST_DEVICE inline Tap tap_of(double g, int64_t n, const GridSampleParams& p) {
  const double last = static_cast<double>(n - 1), low = p.align_corners ? 0 : -0.5, span = last - 2 * low;
  double slope = span / 2, at = low + ((g != g ? -1 : g) + 1) * slope;
  if (p.padding == PadMode::zero) {
    at = at > -2 ? (at < last + 1 ? at : last + 1) : -2;  // as far outside as it takes
  } else {
    if (p.padding == PadMode::reflect) {
      double beyond = at - low;
      if (beyond < 0) beyond = -beyond, slope = -slope;
      beyond = std::fmod(beyond, 2 * span);
      if (beyond > span) beyond = 2 * span - beyond, slope = -slope;
      at = low + beyond;
    }
    if (!(at > 0 && at < last)) at = at > 0 ? last : 0, slope = 0;
  }
  if (p.mode == SampleMode::nearest) at = std::nearbyint(at), slope = 0;
  const double whole = std::floor(at);
  return {static_cast<int64_t>(whole), at - whole, slope};
}

// Where element (n, i, j) of the output reads.
struct Taps {
  Tap h, w;
  ASAP_HOST_DEVICE Taps(const View& grid, int64_t n, int64_t i, int64_t j, int64_t H, int64_t W, const GridSampleParams& p)
      : h(tap_of(grid(n, i, j, 1), H, p)), w(tap_of(grid(n, i, j, 0), W, p)) {}
};

// A plane of x with zeros around it.
struct Plane {
  View x;
  int64_t n, c;
  ASAP_HOST_DEVICE double operator()(int64_t h, int64_t w) const {
    return h >= 0 && h < x.size(2) && w >= 0 && w < x.size(3) ? x(n, c, h, w) : 0;
  }
  ASAP_HOST_DEVICE double row(int64_t h, const Tap& w) const { return mix(w.t, (*this)(h, w.i), (*this)(h, w.i + 1)); }
};

struct GridSampleForward {
  View x, grid;
  GridSampleParams p;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    const Taps at(grid, y[0], y[2], y[3], x.size(2), x.size(3), p);
    const Plane plane{x, y[0], y[1]};
    return mix(at.h.t, plane.row(at.h.i, at.w), plane.row(at.h.i + 1, at.w));
  }
};

// One plane of sums [N,C,H,W], zeros at first: dy's elements are added in their order to the pixels that they read, so that the
// sum is the same on every run, and a plane is one thread's.
struct GridSampleInputGrad {
  View grid, dy, sums;
  GridSampleParams p;

  ASAP_HOST_DEVICE void operator()(int64_t plane) const {
    const int64_t H = sums.size(2), W = sums.size(3), n = plane / sums.size(1), c = plane % sums.size(1);
    for (int64_t i = 0; i < dy.size(2); ++i) {
      for (int64_t j = 0; j < dy.size(3); ++j) {
        const Taps at(grid, n, i, j, H, W, p);
        for (int64_t h = at.h.i; h <= at.h.i + 1; ++h) {
          for (int64_t w = at.w.i; w <= at.w.i + 1; ++w) {
            const double weight = (h == at.h.i ? 1 - at.h.t : at.h.t) * (w == at.w.i ? 1 - at.w.t : at.w.t);
            if (weight == 0 || h < 0 || h >= H || w < 0 || w >= W) continue;
            const int64_t pixel = (plane * H + h) * W + w;
            sums.set(pixel, sums[pixel] + weight * dy(n, c, i, j));
          }
        }
      }
    }
  }
};

// An element of dgrid [N,OH,OW,2] adds up the channels.
struct GridSamplePositionGrad {
  View x, grid, dy;
  GridSampleParams p;

  ASAP_HOST_DEVICE double operator()(const Position& dgrid) const {
    const Taps at(grid, dgrid[0], dgrid[1], dgrid[2], x.size(2), x.size(3), p);
    const bool along_width = dgrid[3] == 0;
    const double slope = along_width ? at.w.slope : at.h.slope;
    double sum = 0;
    for (int64_t c = 0; slope != 0 && c < x.size(1); ++c) {
      const Plane plane{x, dgrid[0], c};
      const auto step = [&](int64_t h) { return plane(h, at.w.i + 1) - plane(h, at.w.i); };
      const double difference = along_width ? mix(at.h.t, step(at.h.i), step(at.h.i + 1))
                                            : plane.row(at.h.i + 1, at.w) - plane.row(at.h.i, at.w);
      sum += dy(dgrid[0], c, dgrid[1], dgrid[2]) * slope * difference;
    }
    return sum;
  }
};

template <class Run>
void add_grid_sample(Device device) {
  kernels::grid_sample_forward.add_definition(
      device, [](const Tensor& x, const Tensor& grid, const GridSampleParams& p, Tensor& y) {
        Run::each(y, GridSampleForward{x, grid, p});
      });
  kernels::grid_sample_backward.add_definition(device, [device](const Tensor& x, const Tensor& grid, const Tensor& dy,
                                                                const GridSampleParams& p, Tensor& dx, Tensor& dgrid) {
    if (dx.defined()) {
      Tensor sums = Tensor::empty(dx.shape(), DType::f64, device);
      kernels::fill.run(device, 0, sums);
      Run::lines(dx.size(0) * dx.size(1), GridSampleInputGrad{grid, dy, sums, p});
      Run::each(dx, Copy{sums});
    }
    if (dgrid.defined()) Run::each(dgrid, GridSamplePositionGrad{x, grid, dy, p});
  });
}

}  // namespace asap::definitions
