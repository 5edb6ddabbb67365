// The kernels of inference by their definition, in plain loops and either layout: what every other variant is compared
// with. Sums run in double, so that the definitions add no rounding of their own. Next: inference.cpp, inference_mlp.cpp.
#include <cmath>
#include <vector>

#include "tensor/cpu/inference.h"
#include "tensor/padded_index.h"

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

}  // namespace

void conv_layer_naive(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                      const ConvLayerParams& p, Tensor& y) {
  dispatch_activation(x.dtype(), [&]<class T>(T) {
    dispatch_activation(y.dtype(), [&]<class Out>(Out) {
      const auto in = planes<const T>(x, p.layout), kernel = planes<const T>(w, p.layout);
      const auto out = planes<Out>(y, p.layout);
      std::vector<double> h(static_cast<size_t>(out.h * out.w));  // one plane before norm or bias
      for (int64_t n = 0; n < out.n; ++n) {
        for (int64_t o = 0; o < out.c; ++o) {
          double total = 0, squares = 0;
          for (int64_t pixel = 0; pixel < out.h * out.w; ++pixel) {
            double sum = 0;
            for (int64_t i = 0; i < kernel.h; ++i) {
              const int64_t row = padded_index(pixel / out.w * p.stride - p.pad + i, in.h, p.pad_mode);
              for (int64_t j = 0; j < kernel.w; ++j) {
                const int64_t column = padded_index(pixel % out.w * p.stride - p.pad + j, in.w, p.pad_mode);
                for (int64_t c = 0; row >= 0 && column >= 0 && c < in.c; ++c) {
                  sum += static_cast<double>(kernel(o, c, i, j)) * static_cast<double>(in(n, c, row, column));
                }
              }
            }
            h[pixel] = sum;
            total += sum;
          }
          const double mean = total / static_cast<double>(h.size());
          for (const double value : h) squares += (value - mean) * (value - mean);
          const double rstd = 1 / std::sqrt(squares / static_cast<double>(h.size()) + p.norm_params.eps);
          for (int64_t pixel = 0; pixel < out.h * out.w; ++pixel) {
            double v = h[pixel] + shift.data<float>()[o];
            if (p.norm) {
              v = scale.data<float>()[o] * (h[pixel] - mean) * rstd + shift.data<float>()[o];
              v = v > 0 ? v : p.norm_params.activation_slope * v;
            }
            out(n, o, pixel / out.w, pixel % out.w) = static_cast<Out>(v);
          }
        }
      }
    });
  });
}

}  // namespace asap::cpu
