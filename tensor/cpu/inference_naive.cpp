// The kernels of inference by their definition, in plain loops and either layout: what every other variant is compared
// with. Sums run in double, so that the definitions add no rounding of their own. Next: inference.cpp, inference_mlp.cpp.
#include <cmath>
#include <vector>

#include "tensor/cpu/inference.h"
#include "tensor/cpu/tile_mlp.h"

namespace asap::cpu {
namespace {

// Calls f(T{}) with the C++ type of an activation.
template <class F>
void dispatch_activation(DType dtype, const F& f) {
  dtype == DType::bf16 ? f(bf16{}) : dispatch_floating(dtype, "inference", f);
}

// An activation of either layout; also weights, whose picture is the kernel and whose n is the output channel.
template <class T>
struct Planes {
  T* data;
  int64_t n, c, h, w;
  Layout layout;

  T& operator()(int64_t i, int64_t channel, int64_t row, int64_t column) const {
    return data[layout == Layout::row_major ? ((i * c + channel) * h + row) * w + column
                                       : ((i * h + row) * w + column) * c + channel];
  }
};
template <class T, class AnyTensor>
Planes<T> planes(AnyTensor& x, Layout layout) {
  const bool first = layout == Layout::row_major;  // channels come first
  return {x.template data<std::remove_const_t<T>>(),
          x.size(0),
          x.size(first ? 1 : 3),
          x.size(first ? 2 : 1),
          x.size(first ? 3 : 2),
          layout};
}

// The one-hot planes, then the instance channel, then zeros.
struct LabelInput {
  const uint8_t* labels;  // [N,H,W]
  const float* instance;  // [N,1,H,W] or null
  int64_t height, width, classes;

  LabelInput(const Tensor& l, const Tensor& i, int64_t class_count)
      : labels(l.data<uint8_t>()),
        instance(i.defined() ? i.data<float>() : nullptr),
        height(l.size(1)),
        width(l.size(2)),
        classes(class_count) {}
  double operator()(int64_t n, int64_t c, int64_t row, int64_t column) const {
    const int64_t at = (n * height + row) * width + column;
    if (c < classes) return labels[at] == c ? 1 : 0;
    return c == classes && instance ? instance[at] : 0;
  }
};

}  // namespace

void label_planes_naive(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const LabelInput input(labels, instance, p.classes);
  const int64_t taps = p.factor == 1 ? 1 : 2 * p.factor, border = p.factor / 2;
  const auto weight = [&](int64_t tap) { return p.factor == 1 ? 1.0 : tent_weight(tap, p.factor); };
  dispatch_activation(y.dtype(), [&]<class T>(T) {
    const auto out = planes<T>(y, p.layout);
    for (int64_t n = 0; n < out.n; ++n) {
      for (int64_t c = 0; c < out.c; ++c) {
        for (int64_t oh = 0; oh < out.h; ++oh) {
          for (int64_t ow = 0; ow < out.w; ++ow) {
            double sum = 0;
            for (int64_t i = 0; i < taps; ++i) {
              const int64_t row = padded_index(oh * p.factor - border + i, input.height, PadMode::reflect);
              for (int64_t j = 0; j < taps; ++j) {
                const int64_t column = padded_index(ow * p.factor - border + j, input.width, PadMode::reflect);
                sum += weight(i) * weight(j) * input(n, c, row, column);
              }
            }
            out(n, c, oh, ow) = static_cast<T>(sum);
          }
        }
      }
    }
  });
}

void tile_mlp_labels_naive(const Tensor& labels, const Tensor& instance, const Tensor& phi,
                           const TileMlpLabelsParams& p, Tensor& y) {
  const LabelInput input(labels, instance, p.classes);
  const Shape one_hot{labels.size(0), p.classes + (instance.defined() ? 1 : 0), input.height, input.width};
  const TileMlpSizes sizes(one_hot, p.mlp);
  const PositionalEncoding<double> positions(sizes.tile);
  const bool picture = y.dtype() == DType::u8;
  dispatch_activation(phi.dtype(), [&]<class T>(T) {
    const auto weights = planes<const T>(phi, p.phi_layout);
    // The output of every layer at one pixel, its input included.
    const auto mlp = [&](int64_t n, int64_t row, int64_t column) {
      std::vector<double> z;
      for (int64_t c = 0; c < sizes.inputs; ++c) {
        z.push_back(c < sizes.channels ? input(n, c, row, column)
                                       : positions.value(c - sizes.channels, column % sizes.tile, row % sizes.tile));
      }
      const auto weight = [&](int64_t channel) {
        return static_cast<double>(weights(n, channel, row / sizes.tile, column / sizes.tile));
      };
      for (const TileMlpLayer& layer : sizes.layers) {
        std::vector<double> next;
        for (int64_t o = 0; o < layer.out; ++o) {
          double sum = weight(layer.bias + o);
          for (int64_t i = 0; i < layer.in; ++i) sum += z[i] * weight(layer.weight + i * layer.out + o);
          const bool last = &layer == &sizes.layers.back();
          next.push_back(last ? std::tanh(sum) : sum > 0 ? sum : p.mlp.slope * sum);
        }
        z = std::move(next);
      }
      return z;
    };
    for (int64_t n = 0; n < sizes.batch; ++n) {
      for (int64_t row = 0; row < sizes.height; ++row) {
        for (int64_t column = 0; column < sizes.width; ++column) {
          const std::vector<double> v = mlp(n, row, column);
          for (int64_t o = 0; o < p.mlp.out; ++o) {
            const int64_t first = ((n * p.mlp.out + o) * sizes.height + row) * sizes.width + column;
            if (picture) {
              y.data<uint8_t>()[((n * sizes.height + row) * sizes.width + column) * p.mlp.out + o] =
                  picture_value(v[o]);
            } else if (y.dtype() == DType::f64) {
              y.data<double>()[first] = v[o];
            } else {
              y.data<float>()[first] = static_cast<float>(v[o]);
            }
          }
        }
      }
    }
  });
}

}  // namespace asap::cpu
