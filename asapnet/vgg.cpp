// The perceptual net. Declared in vgg.h.
#include "asapnet/vgg.h"

#include <algorithm>
#include <tuple>

#include "asapnet/lowres_stream.h"
#include "asapnet/pretrained.h"

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

nn::StateDict vgg19_shapes() {
  nn::StateDict state;
  int64_t in = 3, out = 64;
  for (int number : kConvs) {
    if (contains(kAfterPool, number)) out = std::min<int64_t>(2 * out, 512);
    const std::string key = "features." + std::to_string(number);
    state.set(key + ".weight", Tensor::empty({out, in, 3, 3}));
    state.set(key + ".bias", Tensor::empty({out}));
    in = out;
  }
  return state;
}

Vgg19::Vgg19(const nn::StateDict& weights, bool normalise, const std::string& source) {
  PretrainedConvs convs(weights);
  const auto take = [&](const std::string& key, int64_t in, int64_t kernel) -> Conv {
    const auto [weight, bias] = convs.take(key, in, kernel);
    return {weight, bias};
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
  convs.check(source, "VGG-19");
  if (normalise) std::tie(scale_, shift_) = imagenet_normalisation();
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
