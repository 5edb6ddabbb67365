// LPIPS. Declared in lpips.h.
#include "asapnet/lpips.h"

#include <numeric>

#include "tensor/error.h"
#include "tensor/ops.h"

namespace asap::asapnet {
namespace {

Backbone recognised(const nn::StateDict& weights, const std::string& source) {
  PretrainedConvs file(weights);
  const bool squeeze = weights.contains("features.3.squeeze.weight"), alex = weights.contains("features.3.weight"),
             vgg = weights.contains("features.17.weight");  // VGG-11, 13 and 19 have no such number
  ASAP_CHECK(squeeze || alex || vgg, source,
             ": expected the weights of AlexNet (features.3.weight), VGG-16 (features.17.weight) or SqueezeNet 1.1 "
             "(features.3.squeeze.weight) with torchvision's keys, found none of them");
  const Backbone net = squeeze ? squeezenet(file) : alex ? alexnet(file) : vgg16(file);
  file.check(source, net.name);
  return net;
}

std::string enumerated(const std::vector<int64_t>& numbers) {
  std::string text;
  for (int64_t n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return text;
}

}  // namespace

Lpips::Lpips(const nn::StateDict& backbone, const nn::StateDict& heads, const Sources& sources)
    : net_(recognised(backbone, sources.backbone)) {
  std::vector<int64_t> wanted, found;
  for (size_t tap : net_.taps) wanted.push_back(net_.layers[tap].channels);
  for (size_t i = 0;; ++i) {
    const Tensor* head = heads.find(str("lin", i, ".model.1.weight"));
    if (!head) break;
    ASAP_CHECK(is_floating(head->dtype()) && head->rank() == 4 && head->shape() == Shape({1, head->size(1), 1, 1}),
               sources.heads, ": expected lin", i, ".model.1.weight (1,c,1,1), got ", head->shape());
    found.push_back(head->size(1));
    heads_.push_back(head->to(DType::f64));
  }
  ASAP_CHECK(!found.empty(), sources.heads, ": expected the heads of LPIPS (lin0.model.1.weight, ...), found none");
  ASAP_CHECK(found == wanted, sources.heads, ": the heads are for features of ", enumerated(found), " channels, but ",
             sources.backbone, " is ", net_.name, " with ", enumerated(wanted));
}

std::vector<Tensor> Lpips::unit_features(const Tensor& x) const {
  const auto [scale, shift] = imagenet_normalisation();
  Tensor y = add(mul(x, scale), shift);
  std::vector<Tensor> features;
  for (size_t i = 0; i <= net_.taps.back(); ++i) {
    y = net_.layers[i].forward(y);
    if (features.size() == net_.taps.size() || net_.taps[features.size()] != i) continue;
    const Tensor f = y.to(DType::f64);
    const Tensor length = unary(UnaryOp::sqrt, sum(mul(f, f), {1}, true));
    features.push_back(div(f, affine(length, 1, 1e-10)));
  }
  return features;
}

double Lpips::distance(const Tensor& x, const Tensor& y) const {
  ASAP_CHECK(x.shape() == y.shape() && x.rank() == 4 && x.size(0) == 1 && x.size(1) == 3 && x.size(2) >= least_side() &&
                 x.size(3) >= least_side(),
             "LPIPS: expected two pictures (1,3,h,w) of at least ", least_side(), " pixels a side, got ", x.shape(),
             " and ", y.shape());
  const std::vector<Tensor> p = unit_features(x), q = unit_features(y);
  double total = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const Tensor difference = sub(p[i], q[i]);
    const auto places = sum(mul(mul(difference, difference), heads_[i]), {1}).to_vector<double>();
    total += std::accumulate(places.begin(), places.end(), 0.0) / static_cast<double>(places.size());
  }
  return total;
}

}  // namespace asap::asapnet
