// The generator. Declared in generator.h.
#include "asapnet/generator.h"

#include <bit>

#include "asapnet/highres_stream.h"

namespace asap::asapnet {

Generator::Generator(const Config& config)
    : config_((config.validate(), config)), lowres_(register_module<LowresStream>("lowres_stream", config)) {}

GeneratorResult Generator::forward(const Variable& x, const Variable& z) {
  ASAP_CHECK(x.rank() == 4 && x.size(1) == config_.input_channels(), "generator: expected input [N,",
             config_.input_channels(), ",H,W], got ", x.shape());
  config_.check_size(x.size(2), x.size(3), "generator");
  const Variable phi = lowres_.forward(x, z);
  return {highres_stream(x, phi, config_), phi};
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
