// The generator. Declared in generator.h.
#include "asapnet/generator.h"

#include <bit>

#include "asapnet/highres_stream.h"

namespace asap::asapnet {

Generator::Generator(const Config& config)
    : config_((config.validate(), config)), lowres_(register_module<LowresStream>("lowres_stream", config)) {}

GeneratorResult Generator::forward(const Variable& x, const Variable& z) { return forward({}, x, z); }

GeneratorResult Generator::forward(const Tensor& labels, const Variable& x, const Variable& z) {
  const Variable weights = phi(labels, x, z);
  return {highres_stream(labels, x, weights, config_), weights};
}

Tensor Generator::picture(const Tensor& labels, const Variable& x, const Variable& z) {
  const NoGrad no_grad;
  const Variable weights = phi(labels, x, z), rest = highres_input(labels, x, config_);
  return tile_mlp_picture(labels, rest.defined() ? rest.value() : Tensor(), weights.value(), mlp_params(config_));
}

Variable Generator::phi(const Tensor& labels, const Variable& x, const Variable& z) {
  if (!labels.defined()) {
    ASAP_CHECK(x.defined() && x.rank() == 4 && x.size(1) == config_.input_channels(), "generator: expected input [N,",
               config_.input_channels(), ",H,W], got ", x.defined() ? x.shape().str() : "none");
    config_.check_size(x.size(2), x.size(3), "generator");
    return lowres_.forward(x, z);
  }
  ASAP_CHECK(!config_.no_one_hot && labels.rank() == 3, "generator: expected ",
             config_.no_one_hot ? "a picture instead of labels" : "labels [N,H,W]", ", got ", labels.shape());
  ASAP_CHECK(x.defined() == config_.instance_channel() && !x.requires_grad(), "generator: expected ",
             config_.instance_channel() ? "a constant" : "no", " instance channel beside the labels");
  config_.check_size(labels.size(1), labels.size(2), "generator");
  return lowres_.forward(labels, x.defined() ? x.value() : Tensor(), z);
}

int64_t generator_parameters(const Config& config) {
  const auto conv_norm = [](int64_t in, int64_t out) { return 9 * in * out + 2 * out; };
  const int64_t halvings = std::countr_zero(static_cast<uint64_t>(config.learned_ds_factor));
  const int64_t narrow = config.lr_width, wide = config.lr_max_width;
  const int64_t count = conv_norm(config.input_channels(), narrow) + (halvings - 1) * conv_norm(narrow, narrow) +
                        conv_norm(narrow, wide) + config.lr_depth * conv_norm(wide, wide) +
                        (wide + 1) * phi_channels(config);
  return config.condition_on_z ? count + (config.z_dim + 1) * wide : count;
}

}  // namespace asap::asapnet
