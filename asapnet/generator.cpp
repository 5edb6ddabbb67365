// The generator. Declared in generator.h.
#include "asapnet/generator.h"

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

}  // namespace asap::asapnet
