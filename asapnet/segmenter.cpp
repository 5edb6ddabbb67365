// The U-Net. Declared in segmenter.h.
#include "asapnet/segmenter.h"

#include "nn/checkpoint_file.h"
#include "nn/init.h"

namespace asap::asapnet {
namespace {

void add_conv(nn::Sequential& layers, int64_t in, int64_t out, int64_t stride) {
  layers.add<nn::Conv2d>(nn::Conv2dOptions{.in = in,
                                           .out = out,
                                           .kernel = 3,
                                           .stride = stride,
                                           .padding = 1,
                                           .bias = false,
                                           .pad_mode = PadMode::replicate});
  layers.add<nn::InstanceNorm2d>(out, true, 0.0);  // and a ReLU
}

}  // namespace

Segmenter::Segmenter(const std::vector<int64_t>& widths, int64_t classes)
    : classes_(classes),
      down_(register_module<nn::ModuleList<nn::Sequential>>("down")),
      up_(register_module<nn::ModuleList<nn::Sequential>>("up")),
      head_(register_module<nn::Conv2d>("head", nn::Conv2dOptions{.in = widths.at(0), .out = classes})) {
  for (size_t i = 0; i < widths.size(); ++i) {
    auto& level = down_.add<nn::Sequential>();
    add_conv(level, i == 0 ? 3 : widths[i - 1], widths[i], 2);
    add_conv(level, widths[i], widths[i], 1);
  }
  for (size_t i = 0; i + 1 < widths.size(); ++i)
    add_conv(up_.add<nn::Sequential>(), widths[i + 1] + widths[i], widths[i], 1);
}

std::unique_ptr<Segmenter> Segmenter::from_weights(const nn::StateDict& weights, const std::string& source) {
  std::vector<int64_t> widths;
  const auto outputs = [&](const std::string& key) {
    const Tensor* w = weights.find(key);
    return w && w->rank() == 4 ? w->size(0) : 0;
  };
  while (const int64_t width = outputs(str("down.", widths.size(), ".0.weight"))) widths.push_back(width);
  const int64_t classes = outputs("head.weight");
  ASAP_CHECK(
      !widths.empty() && classes > 0, source,
      ": expected the weights of a segmenter (down.0.0.weight, ..., head.weight), as asapnet segmenter writes them");
  nn::check_finite(weights, source);
  const nn::SeededRandom not_the_callers(0);
  auto segmenter = std::make_unique<Segmenter>(widths, classes);
  segmenter->load_state_dict(weights, source);
  return segmenter;
}

Variable Segmenter::forward(const Variable& x) {
  const int64_t height = x.size(2), width = x.size(3), unit = int64_t(1) << down_.size();
  Variable y = pad2d(
      x, {.mode = PadMode::replicate, .right = (unit - width % unit) % unit, .bottom = (unit - height % unit) % unit});
  const Size2 whole{y.size(2), y.size(3)};
  std::vector<Variable> levels;
  for (size_t i = 0; i < down_.size(); ++i) levels.push_back(y = down_[i](y));
  for (size_t i = up_.size(); i-- > 0;) {
    const Variable& beside = levels[i];
    y = up_[i](cat({resize2d(y, {beside.size(2), beside.size(3)}, ResizeMode::bilinear), beside}, 1));
  }
  y = resize2d(head_(y), whole, ResizeMode::bilinear);
  return slice(slice(y, 2, 0, height), 3, 0, width);
}

Tensor Segmenter::classify(const Tensor& x) {
  const NoGrad no_grad;
  return argmax(forward(x).value(), 1);
}

}  // namespace asap::asapnet
