// Padding of the last two dimensions and its gradient. Contract: kernels.h. Next: pool.h.
#pragma once

#include "tensor/definitions/padded_index.h"
#include "tensor/definitions/view.h"

namespace asap::definitions {

struct Pad2dForward {
  View x;
  Pad2dParams p;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    const int64_t h = padded_index(y[2] - p.top, x.size(2), p.mode), w = padded_index(y[3] - p.left, x.size(3), p.mode);
    return h < 0 || w < 0 ? 0 : x(y[0], y[1], h, w);
  }
};

// A pixel of dx is the sum over the places that read it.
struct Pad2dBackward {
  View dy;
  Pad2dParams p;
  int64_t H, W;

  ASAP_HOST_DEVICE double operator()(const Position& dx) const {
    double sum = 0;
    for (int64_t i = 0; i < dy.size(2); ++i) {
      if (padded_index(i - p.top, H, p.mode) != dx[2]) continue;
      for (int64_t j = 0; j < dy.size(3); ++j) {
        if (padded_index(j - p.left, W, p.mode) == dx[3]) sum += dy(dx[0], dx[1], i, j);
      }
    }
    return sum;
  }
};

template <class Run>
void add_pad(Device device) {
  kernels::pad2d_forward.add_definition(device, [](const Tensor& x, const Pad2dParams& p, Tensor& y) {
    Run::each(y, Pad2dForward{x, p});
  });
  kernels::pad2d_backward.add_definition(device, [](const Tensor& dy, const Pad2dParams& p, Tensor& dx) {
    Run::each(dx, Pad2dBackward{dy, p, dx.size(2), dx.size(3)});
  });
}

}  // namespace asap::definitions
