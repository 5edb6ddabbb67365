// The ASAPNet generator: y = highres_stream(x, phi = lowres_stream(x)). docs/asapnet.md; paper figure 2.
// Next: lowres_stream.h, highres_stream.h.
#pragma once

#include "asapnet/lowres_stream.h"

namespace asap::asapnet {

struct GeneratorResult {
  Variable y;    // [N,output_nc,H,W] in [-1,1]
  Variable phi;  // [N,P,H/S,W/S]
};

// State: lowres_stream.model.* as docs/asapnet.md, checkpoint keys, names them (and lowres_stream.z_fc.* with condition_on_z).
class Generator : public nn::Module {
 public:
  explicit Generator(const Config& config);
  // x [N,C,H,W]: all input channels; H and W must be multiples of the tile. z [N,z_dim] matters only with condition_on_z.
  GeneratorResult forward(const Variable& x, const Variable& z = {});
  // The same from class numbers: labels u8 or i32 [N,H,W], x the instance channel [N,1,H,W], a constant, where there is one.
  // One-hot planes are never written. Without labels (no_one_hot) x holds all channels.
  GeneratorResult forward(const Tensor& labels, const Variable& x, const Variable& z);
  // y as 8-bit pictures [N,H,W,output_nc], without gradient.
  Tensor picture(const Tensor& labels, const Variable& x, const Variable& z);
  LowresStream& lowres_stream() { return lowres_; }
  const LowresStream& lowres_stream() const { return lowres_; }
  const Config& config() const { return config_; }

 private:
  Variable phi(const Tensor& labels, const Variable& x, const Variable& z);

  Config config_;
  LowresStream& lowres_;
};

// Generator(config).parameter_count(), without making one. The numbers must be within Config::validate's bounds.
int64_t generator_parameters(const Config& config);

}  // namespace asap::asapnet
