// AsapNet: generator, discriminator, optional encoder and perceptual net with their losses, and GanStep, the two
// optimisation steps of one training iteration (docs/asapnet.md, losses and training). The published four modes are
// forward functions here: generator, discriminator, encode, inference.
// Next: generator.h, discriminator.h, losses.h; gan_step.cpp; train/run/trainer.h drives it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "asapnet/config.h"
#include "asapnet/discriminator.h"
#include "asapnet/encoder.h"
#include "asapnet/generator.h"
#include "asapnet/vgg.h"
#include "nn/ema.h"
#include "nn/gradient_buckets.h"
#include "nn/optim.h"
#include "tensor/precision.h"
#include "tensor/random.h"

namespace asap::asapnet {

// One batch as the data loader makes it.
struct Batch {
  Tensor labels;    // i32 [N,H,W], 0..classes-1 (dontcare already mapped); or, with no_one_hot, f32 [N,3,H,W] in [-1,1]
  Tensor instance;  // f32 [N,1,H,W], edges or distances; undefined without an instance channel
  Tensor image;     // f32 [N,3,H,W] in [-1,1]; undefined for inference
};

// Of which batch a Batch is a part: one of `parts` equal ones, those of all ranks together, whose losses' mean is to be the whole
// batch's. Sums over a batch count `parts` times for it; and each rank has its own range of the noise, as its pictures would have
// in the whole batch.
struct BatchPart {
  World ranks;
  int64_t parts = 1;
};

// Loss values by the published names, in the order they are logged.
using LossValues = std::vector<std::pair<std::string, double>>;
// In one copy to the host. losses [names.size()]
LossValues read_losses(const std::vector<std::string>& names, const Tensor& losses);

// The weighted loss terms of one pass. They stay on the device: looking at a loss waits for all work queued so far, so
// GanStep does it once a step, when everything is queued.
class Losses {
 public:
  void add(const char* name, const Variable& term);  // one element
  const Variable& total() const { return total_; }   // their sum: what is minimised
  const std::vector<std::string>& names() const { return names_; }
  Tensor stacked() const { return cat(terms_, 0); }  // [terms], on the device
  LossValues values() const { return read_losses(names_, stacked()); }

 private:
  Variable total_;
  std::vector<std::string> names_;
  std::vector<Tensor> terms_;  // [1] each
};

struct GeneratorLosses {
  Losses losses;  // GAN, GAN_Feat, VGG, and L1, MSE, PHI, KLD where used
  Tensor fake;    // [N,3,H,W]
};

enum class SpectralInit { pytorch_default, xavier };  // docs/asapnet.md, training

// What the networks read of a batch.
struct ModelInput {
  Tensor labels;  // u8 where the classes fit into a byte, else i32; undefined with no_one_hot
  Tensor x;       // the instance channel, or all channels with no_one_hot; undefined where there are none
};
// Throws for what the batch lacks and, in host memory, for a label outside the classes.
ModelInput model_input(const Config& config, const Batch& batch, DType dtype = DType::f32);
// All input channels: one-hot labels (or the RGB picture) [+ instance channel], [N,C,H,W].
Tensor encode_input(const Config& config, const Batch& batch, DType dtype = DType::f32);

class AsapNet {
 public:
  // Draws initial weights: xavier normal, gain 0.02, the spectral-norm convolutions as `spectral` says.
  AsapNet(const Config& config, uint64_t seed, SpectralInit spectral = SpectralInit::pytorch_default);

  const Config& config() const { return config_; }
  Generator& generator() { return *generator_; }
  Discriminator& discriminator() { return *discriminator_; }
  Encoder* encoder() { return encoder_.get(); }  // null unless use_vae
  // The perceptual net; needed for the generator's losses unless no_vgg_loss.
  void set_vgg(std::shared_ptr<Vgg19> vgg) { vgg_ = std::move(vgg); }
  Vgg19* vgg() { return vgg_.get(); }

  // Mode generator. `noise` gives the VAE's normal numbers.
  GeneratorLosses generator_losses(const Batch& batch, RandomStream& noise, const BatchPart& part = {});
  // Mode discriminator: D_Fake, D_real. The fake comes from the current generator, without gradient.
  Losses discriminator_losses(const Batch& batch, RandomStream& noise, const BatchPart& part = {});
  // Mode encode: mu, logvar [N,z_dim]; throws without use_vae.
  EncoderResult encode(const Tensor& image);
  // Mode inference: [N,output_nc,H,W] in [-1,1], without gradient. z [N,z_dim] may be undefined.
  Tensor inference(const Batch& batch, const Tensor& z = {});

  // Discriminator and encoder, whose spectral norm does a power iteration in each forward pass while they train, as they do
  // at first.
  void train(bool on);

  // All networks to a DType or a Device.
  template <class Target>
  void to(Target target) {
    generator_->to(target);
    discriminator_->to(target);
    if (encoder_) encoder_->to(target);
    if (vgg_) vgg_->to(target);
  }

 private:
  DType dtype() const { return generator_->parameters().front().dtype(); }
  // The discriminator's input: the generator's input and a picture on channels.
  Variable beside(const ModelInput& input, const Variable& picture) const;
  Variable generate(const Batch& batch, const ModelInput& input, RandomStream& noise, const World& ranks, Variable* phi, Variable* kld);

  Config config_;
  std::unique_ptr<Generator> generator_;
  std::unique_ptr<Discriminator> discriminator_;
  std::unique_ptr<Encoder> encoder_;
  std::shared_ptr<Vgg19> vgg_;
};

struct OptimizerConfig {
  double lr = 2e-4, beta1 = 0, beta2 = 0.9, adam_eps = 1e-8;
  bool no_TTUR = false;  // off: G at lr/2, D at lr*2
  // The published default betas for either setting: (0, 0.9), or (0.5, 0.999) with no_TTUR.
  static OptimizerConfig defaults(bool no_ttur);
};

// What training cannot go on from.
class LossNotFinite : public Error {
 public:
  using Error::Error;
};

// The optimisers of one training run and the two steps of an iteration.
// On a device the second step of its kind is recorded as a graph, and those behind it replay that: one launch instead of
// hundreds, the same results to the bit. A graph holds more than the weights' values: the batch's shapes and types, the
// precision, kernels that are forced, where the weights lie and which are trained. Where one of these has changed, both
// steps are done once as usual and then recorded again. With an encoder nothing is recorded, since the host numbers the
// noise that it draws, nor among several ranks. ASAP_CUDA_GRAPHS=0 (environment) or use_graphs(false): nothing is.
class GanStep {
 public:
  GanStep(AsapNet& model, const OptimizerConfig& config, uint64_t noise_seed);
  GanStep(const GanStep&) = delete;
  GanStep& operator=(const GanStep&) = delete;

  // Each computes losses, gradients and one Adam step. Throws LossNotFinite, naming it, on every rank if one is not; no weight
  // has changed then: Adam looks at the losses before it steps.
  // On a device the host queues it all and waits once, for the losses. Nothing else crosses between host and device, but
  // for constants that the first step places.
  LossValues generator_step(const Batch& batch) { return run(generator_, {&batch, 1}); }
  LossValues discriminator_step(const Batch& batch) { return run(discriminator_, {&batch, 1}); }
  // The same on several batches of one size, one after the other in the memory of one: losses and gradients are the means
  // over them. Up to rounding that is the step on their pictures as one batch, since networks and losses take pictures one by
  // one (BatchPart tells those that do not) and spectral norm's power iteration is done in the first alone. All of the step is
  // one graph.
  LossValues generator_step(std::span<const Batch> parts) { return run(generator_, parts); }
  LossValues discriminator_step(std::span<const Batch> parts) { return run(discriminator_, parts); }

  // From now on an average of the generator's weights, which begins as they are now, is updated in each generator step and is
  // part of its graph. average()->set_decay() before a step holds for that one.
  void keep_average(double decay) { average_ = std::make_unique<nn::Ema>(model_.generator(), decay); }
  nn::Ema* average() { return average_.get(); }  // null: none is kept

  // From now on each step's batches are this rank's part of the batches of all ranks, whose gradients are summed in buckets
  // (nn/gradient_buckets.h) while the backward pass goes on. All ranks must call the same steps; each gets the losses of all and
  // makes the same change to the same weights. wire: f32, or bf16 for gradients alone. The networks stay on their device.
  void share_steps(const World& ranks, DType wire);

  // Base rate; TTUR's factors are applied inside.
  void set_lr(double lr);
  double lr() const { return lr_; }
  void use_graphs(bool on);
  bool uses_graphs() const { return graphs_; }
  // How many steps have replayed a graph.
  int64_t replays() const { return replays_; }
  // Seconds that the host has waited for the device, all steps together.
  double waited() const { return waited_; }
  // Seconds that this rank has waited for the sums of gradients behind its backward passes.
  double waited_for_ranks() const;
  nn::Adam& generator_optimizer() { return *generator_.optimizer; }
  nn::Adam& discriminator_optimizer() { return *discriminator_.optimizer; }
  RandomStream& noise() { return noise_; }

 private:
  struct Step {
    std::unique_ptr<nn::Adam> optimizer;
    std::function<Losses(const Batch&, const BatchPart&)> forward;
    nn::NamedVariables parameters;
    std::unique_ptr<nn::GradientBuckets> sums;  // null: one rank
    std::vector<std::string> names;  // of the losses
    Tensor losses;                   // [names.size()], what the last step wrote
    bool done = false;               // since the surroundings changed: constants and moments are where they stay
    std::unique_ptr<DeviceGraph> graph;
    std::vector<Tensor> written;  // weights that the graph writes
  };
  // What a graph holds beside the values in the weights' memory.
  struct Surroundings {
    std::vector<std::tuple<Shape, DType, Device>> batch;
    Precision precision = Precision::f32;
    uint64_t forcings = 0;
    std::vector<std::pair<const void*, bool>> weights;  // where, and whether it is trained
    bool operator==(const Surroundings&) const = default;
  };

  LossValues run(Step& step, std::span<const Batch> parts);
  Tensor accumulate(Step& step, std::span<const Batch> parts);
  void queue(Step& step, std::span<const Batch> parts);
  void record_or_replay(Step& step, std::span<const Batch> parts);
  void drop_graphs();
  Surroundings surroundings(std::span<const Batch> parts) const;
  std::vector<Tensor> written_tensors() const;

  AsapNet& model_;
  OptimizerConfig config_;
  double lr_;
  RandomStream noise_;
  Step generator_, discriminator_;
  std::unique_ptr<nn::Ema> average_;
  World ranks_;
  std::vector<Variable> weights_;  // parameters and buffers of both networks
  bool graphs_;
  Surroundings surroundings_;  // of the last step
  std::vector<Batch> inputs_;  // what the graphs read
  int64_t replays_ = 0;
  double waited_ = 0;
};

}  // namespace asap::asapnet
