// The perceptual net. Declared in vgg.h.
#include "asapnet/vgg.h"

#include <algorithm>

#include "asapnet/lowres_stream.h"

namespace asap::asapnet {
namespace {

// torchvision's numbers of the convolutions; a 2x2 max pooling stands before those in kAfterPool.
constexpr int kConvs[] = {0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28};
constexpr int kAfterPool[] = {5, 10, 19, 28};
constexpr int kFeatureConvs[] = {0, 5, 10, 19, 28};  // reluK_1

template <size_t N>
bool contains(const int (&list)[N], int value) {
  return std::find(std::begin(list), std::end(list), value) != std::end(list);
}

}  // namespace

Vgg19::Vgg19(const nn::StateDict& weights, bool normalise, const std::string& source) {
  std::string problems;
  // Takes KEY.weight [out,in,k,k] and KEY.bias [out]; in < 0 accepts any.
  auto take = [&](const std::string& key, int64_t in, int64_t kernel) -> Conv {
    const Tensor* w = weights.find(key + ".weight");
    const Tensor* b = weights.find(key + ".bias");
    if (!w || !b) {
      problems += "\n  missing: " + key + (w ? ".bias" : ".weight");
      return {};
    }
    const bool fits = w->rank() == 4 && (in < 0 || w->size(1) == in) && w->size(2) == kernel && w->size(3) == kernel &&
                      b->rank() == 1 && b->size(0) == w->size(0) && is_floating(w->dtype()) && is_floating(b->dtype());
    if (!fits) {
      problems += str("\n  wrong shape: ", key, ".weight ", w->shape(), " with bias ", b->shape(), "; expected (out,",
                      in < 0 ? std::string("in") : std::to_string(in), ",", kernel, ",", kernel, ") and (out)");
      return {};
    }
    return {w->contiguous(), b->contiguous()};
  };
  int64_t channels = 3;
  int feature = 0;
  for (int number : kConvs) {
    convs_.push_back(take("features." + std::to_string(number), channels, 3));
    channels = convs_.back().weight.defined() ? convs_.back().weight.size(0) : -1;
    if (!contains(kFeatureConvs, number)) continue;
    const std::string aux = "aux.relu" + std::to_string(feature + 1) + "_1";
    if (weights.contains("aux.relu1_1.weight")) aux_[static_cast<size_t>(feature)] = take(aux, channels, 1);
    ++feature;
  }
  ASAP_CHECK(problems.empty(), source, ": not the weights of a VGG-19:", problems);
  if (!normalise) return;
  // (x01 - mean) / deviation with x01 = (x + 1) / 2
  const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  std::vector<float> scale, shift;
  for (int c = 0; c < 3; ++c) {
    scale.push_back(static_cast<float>(0.5 / deviation[c]));
    shift.push_back(static_cast<float>((0.5 - mean[c]) / deviation[c]));
  }
  scale_ = Tensor::from(scale, {1, 3, 1, 1});
  shift_ = Tensor::from(shift, {1, 3, 1, 1});
}

std::array<Variable, Vgg19::kFeatures> Vgg19::forward(const Variable& x) const {
  std::array<Variable, kFeatures> features;
  Variable h = scale_.defined() ? x * scale_ + Variable(shift_) : x;
  h = convert(h, activation_dtype(convs_[0].weight.value()));
  size_t feature = 0;
  for (size_t i = 0; i < convs_.size(); ++i) {
    const int number = kConvs[i];
    if (contains(kAfterPool, number)) h = max_pool2d(h, {.kernel = 2, .stride = 2});
    h = conv2d(h, convs_[i].weight, convs_[i].bias, {.padding = 1, .activation_slope = 0});  // and ReLU
    if (!contains(kFeatureConvs, number)) continue;
    features[feature] = has_aux() ? conv2d(h, aux_[feature].weight, aux_[feature].bias) : h;
    ++feature;
  }
  return features;
}

}  // namespace asap::asapnet
