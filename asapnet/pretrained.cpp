// Pretrained convolutions. Declared in pretrained.h.
#include "asapnet/pretrained.h"

#include <vector>

#include "tensor/error.h"
#include "tensor/ops.h"

namespace asap::asapnet {
namespace {

// The batch norm behind a convolution: "features.0.1" behind "features.0.0", "Mixed_5b.branch1x1.bn" behind ".conv".
std::string norm_behind(const std::string& key) {
  const size_t dot = key.rfind('.') + 1;
  return key.substr(0, dot) + (key.ends_with(".conv") ? "bn" : std::to_string(std::stoi("0" + key.substr(dot)) + 1));
}

// Both as one convolution: (w x - mean) * gamma / sqrt(var + eps) + beta. Undefined unless all of it is there and of one length.
PretrainedConv folded(const nn::StateDict& weights, const std::string& key, double eps) {
  const std::string norm = norm_behind(key);
  const Tensor* w = weights.find(key + ".weight");
  if (!w || w->rank() != 4) return {};
  std::vector<Tensor> parts;
  for (const char* part : {".weight", ".bias", ".running_mean", ".running_var"}) {
    const Tensor* found = weights.find(norm + part);
    if (!found || found->shape() != Shape{w->size(0)}) return {};
    parts.push_back(*found);
  }
  const Tensor scale = div(parts[0], unary(UnaryOp::sqrt, affine(parts[3], 1, eps)));
  return {mul(*w, scale.reshape({w->size(0), 1, 1, 1})), sub(parts[1], mul(parts[2], scale))};
}

}  // namespace

FrozenPath then(const FrozenPath& first, const FrozenPath& second) {
  return {[=](const Tensor& x) { return second.forward(first.forward(x)); }, second.channels};
}

FrozenPath side_by_side(const std::vector<FrozenPath>& parts) {
  int64_t channels = 0;
  for (const FrozenPath& part : parts) channels = part.channels < 0 || channels < 0 ? -1 : channels + part.channels;
  return {[=](const Tensor& x) {
            std::vector<Tensor> outputs;
            for (const FrozenPath& part : parts) outputs.push_back(part.forward(x));
            return cat(outputs, 1);
          },
          channels};
}

PretrainedConv PretrainedConvs::take(const std::string& key, int64_t in, Size2 kernel) {
  const Tensor* w = weights_.find(key + ".weight");
  const Tensor* b = weights_.find(key + ".bias");
  const PretrainedConv with_norm = b ? PretrainedConv() : folded(weights_, key, norm_eps_);
  if (with_norm.bias.defined()) w = &with_norm.weight, b = &with_norm.bias;
  if (!w || !b) {
    problems_ += "\n  missing: " + key + (w ? ".bias" : ".weight");
    return {};
  }
  const bool fits = w->rank() == 4 && (in < 0 || w->size(1) == in) && w->size(2) == kernel.h &&
                    w->size(3) == kernel.w && b->rank() == 1 && b->size(0) == w->size(0) && is_floating(w->dtype()) &&
                    is_floating(b->dtype());
  if (!fits) {
    problems_ += str("\n  wrong shape: ", key, ".weight ", w->shape(), " with bias ", b->shape(), "; expected (out,",
                     in < 0 ? std::string("in") : std::to_string(in), ",", kernel.h, ",", kernel.w, ") and (out)");
    return {};
  }
  return {w->contiguous(), b->contiguous()};
}

FrozenPath PretrainedConvs::conv(const FrozenPath& before, const std::string& key, Size2 kernel,
                                 const Conv2dParams& params, double ceiling) {
  const PretrainedConv found = take(key, params.groups == 1 ? before.channels : 1, kernel);
  Conv2dParams fused = params;
  if (ceiling == kRelu) fused.activation_slope = 0;
  const auto forward = [=](const Tensor& x) {
    const Tensor y = conv2d(x, found.weight, found.bias, fused);
    return ceiling == kRelu6 ? unary(UnaryOp::clamp, y, {.a = 0, .b = kRelu6}) : y;
  };
  return then(before, {forward, found.weight.defined() ? found.weight.size(0) : -1});
}

void PretrainedConvs::check(const std::string& source, const std::string& network) const {
  ASAP_CHECK(problems_.empty(), source, ": not the weights of ", network, ":", problems_);
}

std::pair<Tensor, Tensor> imagenet_normalisation() {
  const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  std::vector<float> scale, shift;
  for (int c = 0; c < 3; ++c) {
    scale.push_back(static_cast<float>(0.5 / deviation[c]));
    shift.push_back(static_cast<float>((0.5 - mean[c]) / deviation[c]));
  }
  return {Tensor::from(scale, {1, 3, 1, 1}), Tensor::from(shift, {1, 3, 1, 1})};
}

}  // namespace asap::asapnet
