// Layers with state. Declared in layers.h.
#include "nn/layers.h"

#include "nn/init.h"

namespace asap::nn {
namespace {

void check_channels(const char* layer, int64_t in, int64_t out, int64_t groups) {
  ASAP_CHECK(in > 0 && out > 0 && groups > 0 && in % groups == 0 && out % groups == 0, layer, ": in=", in, ", out=", out,
             ", groups=", groups, " do not divide");
}

}  // namespace

Shape Conv2dOptions::weight_shape() const {
  ASAP_CHECK(in > 0 && out > 0 && groups > 0 && in % groups == 0, "Conv2d: in=", in, ", out=", out, ", groups=", groups,
             " do not divide");
  ASAP_CHECK(kernel.h > 0 && kernel.w > 0, "Conv2d: expected a kernel with pixels, got ", kernel.h, " x ", kernel.w);
  return {out, in / groups, kernel.h, kernel.w};
}

Conv2d::Conv2d(const Conv2dOptions& options) : options_(options) {
  const Shape shape = options.weight_shape();
  const int64_t fan_in = shape.numel() / shape[0];
  weight = register_parameter("weight", init::default_weight(shape, fan_in));
  if (options.bias) bias = register_parameter("bias", init::default_weight({options.out}, fan_in));
}
Variable Conv2d::forward(const Variable& x) { return conv2d(x, weight, bias, options_.params()); }

Conv1d::Conv1d(const Conv1dOptions& o)
    : params_{.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups, .pad_mode = o.pad_mode} {
  check_channels("Conv1d", o.in, o.out, o.groups);
  ASAP_CHECK(o.kernel > 0, "Conv1d: expected a kernel with elements, got ", o.kernel);
  const int64_t fan_in = o.in / o.groups * o.kernel;
  weight = register_parameter("weight", init::default_weight({o.out, o.in / o.groups, o.kernel}, fan_in));
  if (o.bias) bias = register_parameter("bias", init::default_weight({o.out}, fan_in));
}
Variable Conv1d::forward(const Variable& x) { return conv1d(x, weight, bias, params_); }

// PyTorch takes the second size of any weight for its inputs: here that of the outputs.
ConvTranspose2d::ConvTranspose2d(const ConvTranspose2dOptions& o)
    : params_{.stride = o.stride,
              .padding = o.padding,
              .output_padding = o.output_padding,
              .dilation = o.dilation,
              .groups = o.groups} {
  check_channels("ConvTranspose2d", o.in, o.out, o.groups);
  ASAP_CHECK(o.kernel.h > 0 && o.kernel.w > 0, "ConvTranspose2d: expected a kernel with pixels, got ", o.kernel.h, " x ",
             o.kernel.w);
  const int64_t fan_in = o.out / o.groups * o.kernel.h * o.kernel.w;
  weight = register_parameter("weight", init::default_weight({o.in, o.out / o.groups, o.kernel.h, o.kernel.w}, fan_in));
  if (o.bias) bias = register_parameter("bias", init::default_weight({o.out}, fan_in));
}
Variable ConvTranspose2d::forward(const Variable& x) { return conv_transpose2d(x, weight, bias, params_); }

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", init::default_weight({out, in}, in));
  if (with_bias) bias = register_parameter("bias", init::default_weight({out}, in));
}
Variable Linear::forward(const Variable& x) { return linear(x, weight, bias); }

Embedding::Embedding(int64_t count, int64_t size) {
  ASAP_CHECK(count > 0 && size > 0, "Embedding: expected rows with elements, got ", count, " of ", size);
  weight = register_parameter("weight", init::new_weight({count, size}, [](Tensor& w) { init::normal(w, 0, 1); }));
}

Variable Dropout::forward(const Variable& x) { return is_training() && p_ > 0 ? dropout(x, p_, default_random()) : x; }

Upsample::Upsample(int64_t factor, ResizeMode mode)
    : Function([=](const Variable& x) {
        ASAP_CHECK(x.rank() == 4 && factor > 0, "Upsample: expected [N,C,H,W] and a positive factor, got ", x.shape(),
                   " and ", factor);
        const Size2 size{multiply_sizes(x.size(2), factor, "Upsample"), multiply_sizes(x.size(3), factor, "Upsample")};
        return resize2d(x, size, mode);
      }) {}

// Not numel / N: a batch may be empty.
Flatten::Flatten()
    : Function([](const Variable& x) {
        ASAP_CHECK(x.rank() >= 1, "Flatten: expected [N,...], got ", x.shape());
        return reshape(x, Shape{x.size(0), Shape(x.shape().begin() + 1, x.shape().end()).numel()});
      }) {}

}  // namespace asap::nn
