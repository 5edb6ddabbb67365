// The four modes. Declared in model.h.
#include "asapnet/model.h"

#include "asapnet/losses.h"
#include "nn/init.h"

namespace asap::asapnet {
namespace {

constexpr double kInitGain = 0.02;

// Conv and linear weights xavier normal, biases 0; norms keep gamma 1 and beta 0, which they are built with.
void initialize(nn::Module& module, SpectralInit spectral) {
  for (auto& [name, parameter] : module.named_parameters()) {
    Tensor value = parameter.value();
    if (name.ends_with("weight_orig") && spectral == SpectralInit::pytorch_default) continue;
    if (value.rank() >= 2) {
      nn::init::xavier_normal(value, kInitGain);
    } else if (name.ends_with("bias")) {
      value.fill(0);
    }
  }
}

Tensor all_channels(const Config& config, const ModelInput& input, DType dtype) {
  return input.labels.defined() ? label_planes(input.labels, input.x, {.classes = config.label_channels()}, dtype)
                                : input.x.to(dtype);
}

// Keeps a module's weights out of the graph for a while: no gradient is computed for them.
class Frozen {
 public:
  explicit Frozen(nn::Module& module) : module_(module) { module_.set_requires_grad(false); }
  ~Frozen() { module_.set_requires_grad(true); }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  nn::Module& module_;
};

}  // namespace

LossValues read_losses(const std::vector<std::string>& names, const Tensor& losses) {
  const std::vector<double> read = losses.to(Device::cpu).to(DType::f64).to_vector<double>();
  LossValues values;
  for (size_t i = 0; i < read.size(); ++i) values.emplace_back(names[i], read[i]);
  return values;
}

void Losses::add(const char* name, const Variable& term) {
  total_ = total_.defined() ? total_ + term : term;
  names_.push_back(name);
  terms_.push_back(term.value().reshape({1}));
}

AsapNet::AsapNet(const Config& config, uint64_t seed, SpectralInit spectral) : config_(config) {
  config_.validate();
  const nn::SeededRandom random(seed);
  generator_ = std::make_unique<Generator>(config);
  discriminator_ = std::make_unique<Discriminator>(config);
  initialize(*generator_, spectral);
  initialize(*discriminator_, spectral);
  if (!config.use_vae) return;
  encoder_ = std::make_unique<Encoder>(config);
  initialize(*encoder_, spectral);
}

void AsapNet::train(bool on) {
  discriminator_->train(on);
  if (encoder_) encoder_->train(on);
}

ModelInput model_input(const Config& config, const Batch& batch, DType dtype) {
  ASAP_CHECK(batch.labels.defined(), "model: the batch has no labels");
  ModelInput input;
  if (config.instance_channel()) {
    ASAP_CHECK(batch.instance.defined(), "model: the configuration wants an instance channel, but the batch has none");
    input.x = batch.instance.to(dtype);
  }
  if (config.no_one_hot) {
    ASAP_CHECK(batch.labels.rank() == 4 && batch.labels.size(1) == 3, "model: with no_one_hot the input is [N,3,H,W], got ",
               batch.labels.shape());
    const Tensor picture = batch.labels.to(dtype);
    input.x = input.x.defined() ? cat({picture, input.x}, 1) : picture;
    return input;
  }
  const int64_t classes = config.label_channels(), outside = first_label_outside(batch.labels, classes);
  ASAP_CHECK(outside < 0, "model: label ", batch.labels.contiguous().reshape({-1}).select(0, outside).item(),
             " is outside 0..", classes - 1);
  input.labels = classes <= 256 ? batch.labels.to(DType::u8) : batch.labels;
  return input;
}

Tensor encode_input(const Config& config, const Batch& batch, DType dtype) {
  return all_channels(config, model_input(config, batch, dtype), dtype);
}

Variable AsapNet::generate(const Batch& batch, const ModelInput& input, RandomStream& noise, const World& ranks, Variable* phi,
                           Variable* kld) {
  Variable z;
  if (encoder_) {
    const EncoderResult encoded = encoder_->forward(batch.image.to(dtype()));
    const Shape shape = encoded.mu.shape();
    const auto count = static_cast<uint64_t>(shape.numel()), size = static_cast<uint64_t>(ranks.size);
    const uint64_t offset = noise.take(count * size) + count * static_cast<uint64_t>(ranks.rank);
    z = reparameterize(encoded, random_normal(shape, {.seed = noise.seed, .offset = offset}, dtype(), batch.image.device()));
    if (kld) *kld = kl_divergence(encoded);
  }
  const GeneratorResult result = generator_->forward(input.labels, input.x, z);
  if (phi) *phi = result.phi;
  return result.y;
}

Variable AsapNet::beside(const ModelInput& input, const Variable& picture) const {
  const DType dtype = activation_dtype(generator_->parameters().front().value());
  return cat({Variable(all_channels(config_, input, dtype)), convert(picture, dtype)}, 1);
}

GeneratorLosses AsapNet::generator_losses(const Batch& batch, RandomStream& noise, const BatchPart& part) {
  const ModelInput input = model_input(config_, batch, dtype());
  const Tensor real = batch.image.to(dtype());
  Variable phi, kld;
  Losses losses;
  const Variable fake = generate(batch, input, noise, part.ranks, &phi, &kld);

  // The published code runs one batch cat(fake, real). Every layer works picture by picture, so two passes give the same
  // numbers; the real half then records no graph, and sharing one power iteration needs evaluation mode in the second.
  const Frozen frozen(*discriminator_);
  const auto fake_outputs = discriminator_->forward(beside(input, fake));
  losses.add("GAN", generator_gan_loss(config_.gan_mode, fake_outputs));
  if (!config_.no_ganFeat_loss) {
    const bool training = discriminator_->is_training();
    discriminator_->eval();
    std::vector<ScaleOutputs> real_outputs;
    {
      const NoGrad no_grad;
      real_outputs = discriminator_->forward(beside(input, real));
    }
    discriminator_->train(training);
    losses.add("GAN_Feat", feature_matching_loss(fake_outputs, real_outputs) * config_.lambda_feat);
  }
  if (!config_.no_vgg_loss) {
    ASAP_CHECK(vgg_, "model: the perceptual loss needs VGG-19 weights: pass them, or switch it off with no_vgg_loss");
    losses.add("VGG", perceptual_loss(*vgg_, fake, real) * config_.lambda_vgg);
  }
  if (config_.lambda_L1 > 0) losses.add("L1", l1_loss(fake, real) * config_.lambda_L1);
  if (config_.lambda_MSE > 0) losses.add("MSE", mse_loss(fake, real) * config_.lambda_MSE);
  const auto of_batch = [&](double weight) { return weight * static_cast<double>(part.parts); };  // sums, not means
  if (config_.lambda_phi > 0)
    losses.add("PHI", sum(square(convert(phi, sum_dtype(phi.dtype())))) * of_batch(config_.lambda_phi));
  if (kld.defined()) losses.add("KLD", kld * of_batch(config_.lambda_kld));
  return {losses, fake.value()};
}

Losses AsapNet::discriminator_losses(const Batch& batch, RandomStream& noise, const BatchPart& part) {
  const ModelInput input = model_input(config_, batch, dtype());
  const Tensor real = batch.image.to(dtype());
  Tensor fake;
  {
    const NoGrad no_grad;
    fake = generate(batch, input, noise, part.ranks, nullptr, nullptr).value();
  }
  const int64_t count = real.size(0);
  const Variable both = cat({beside(input, fake), beside(input, real)}, 0);
  std::vector<ScaleOutputs> fake_outputs, real_outputs;
  for (const ScaleOutputs& scale : discriminator_->forward(both)) {
    const auto halves = split(scale.back(), {count, count}, 0);
    fake_outputs.push_back({halves[0]});
    real_outputs.push_back({halves[1]});
  }
  Losses losses;
  losses.add("D_Fake", discriminator_gan_loss(config_.gan_mode, fake_outputs, GanTarget::fake));
  losses.add("D_real", discriminator_gan_loss(config_.gan_mode, real_outputs, GanTarget::real));
  return losses;
}

EncoderResult AsapNet::encode(const Tensor& image) {
  ASAP_CHECK(encoder_, "model: the configuration has no encoder; train with use_vae");
  const NoGrad no_grad;
  encoder_->eval();
  const EncoderResult result = encoder_->forward(image);
  encoder_->train();
  return result;
}

Tensor AsapNet::inference(const Batch& batch, const Tensor& z) {
  const NoGrad no_grad;
  const ModelInput input = model_input(config_, batch, dtype());
  return generator_->forward(input.labels, input.x, z).y.value();
}

}  // namespace asap::asapnet
