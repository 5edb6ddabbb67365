// Label maps as a picture, downsampled by a tent filter. Contract: kernels.h.
#pragma once

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"
#include "tensor/definitions/padded_index.h"

namespace asap::definitions {

// Weight of tap i < 2*factor of the tent filter [1,3,..,3,1] / (2 factor^2) (docs/asapnet.md, fixed downsampling): exact in
// every type. factor 1 has one tap, which is not asked for.
template <class T = double>
ASAP_HOST_DEVICE T tent_weight(int64_t i, int64_t factor) {
  const int64_t rank = i < factor ? i : 2 * factor - 1 - i;
  return static_cast<T>(2 * rank + 1) / static_cast<T>(2 * factor * factor);
}

struct LabelPlanes {
  View labels, instance;
  LabelPlanesParams p;

  ASAP_HOST_DEVICE double plane(int64_t n, int64_t c, int64_t row, int64_t column) const {
    if (c < p.classes) return labels(n, row, column) == static_cast<double>(c) ? 1 : 0;
    return instance(n, 0, row, column);
  }
  // The filter reflects at the borders.
  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    if (p.factor == 1) return plane(y[0], y[1], y[2], y[3]);
    double sum = 0;
    for (int64_t i = 0; i < 2 * p.factor; ++i) {
      const int64_t row = padded_index(y[2] * p.factor - p.factor / 2 + i, labels.size(1), PadMode::reflect);
      for (int64_t j = 0; j < 2 * p.factor; ++j) {
        const int64_t column = padded_index(y[3] * p.factor - p.factor / 2 + j, labels.size(2), PadMode::reflect);
        sum += tent_weight(i, p.factor) * tent_weight(j, p.factor) * plane(y[0], y[1], row, column);
      }
    }
    return sum;
  }
};

template <class Run>
void add_label_planes(Device device) {
  kernels::label_planes.add_definition(
      device, [](const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
        Run::each(y, LabelPlanes{labels, instance, p});
      });
}

}  // namespace asap::definitions
