// The two optimisation steps of an iteration, done directly or as graphs of the device. Declared in model.h.
#include <array>
#include <cmath>
#include <cstdlib>

#include "asapnet/model.h"

namespace asap::asapnet {
namespace {

bool graphs_wanted() {
  const char* text = std::getenv("ASAP_CUDA_GRAPHS");
  return !text || std::string(text) != "0";
}

// No gradient is there before a step, nor behind it, whatever happens: in a graph's memory none may stay.
class Gradients {
 public:
  explicit Gradients(nn::Adam& optimizer) : optimizer_(optimizer) { optimizer_.zero_grad(); }
  ~Gradients() { optimizer_.zero_grad(); }
  Gradients(const Gradients&) = delete;
  Gradients& operator=(const Gradients&) = delete;

 private:
  nn::Adam& optimizer_;
};

bool alike(const Tensor& a, const Tensor& b) {
  return a.defined() && a.shape() == b.shape() && a.dtype() == b.dtype() && a.device() == b.device();
}

template <class SomeBatch>
auto tensors_of(SomeBatch& batch) {
  return std::array{&batch.labels, &batch.instance, &batch.image};
}

}  // namespace

OptimizerConfig OptimizerConfig::defaults(bool no_ttur) {
  OptimizerConfig config;
  config.no_TTUR = no_ttur;
  if (no_ttur) config.beta1 = 0.5, config.beta2 = 0.999;
  return config;
}

GanStep::GanStep(AsapNet& model, const OptimizerConfig& config, uint64_t noise_seed)
    : model_(model), config_(config), noise_{.seed = noise_seed, .offset = 0}, graphs_(graphs_wanted()) {
  // The encoder learns with the generator.
  nn::NamedVariables parameters_G = model.generator().named_parameters();
  if (model.encoder()) {
    for (auto& [name, parameter] : model.encoder()->named_parameters())
      parameters_G.emplace_back("encoder." + name, parameter);
  }
  const nn::AdamOptions options{.beta1 = config.beta1, .beta2 = config.beta2, .eps = config.adam_eps};
  generator_.optimizer = std::make_unique<nn::Adam>(std::move(parameters_G), options);
  generator_.forward = [this](const Batch& batch) { return model_.generator_losses(batch, noise_).losses; };
  discriminator_.optimizer = std::make_unique<nn::Adam>(model.discriminator().named_parameters(), options);
  discriminator_.forward = [this](const Batch& batch) { return model_.discriminator_losses(batch, noise_); };
  for (const nn::Module* network : std::initializer_list<nn::Module*>{&model.generator(), &model.discriminator()}) {
    for (const auto& [name, variable] : network->named_state()) weights_.push_back(variable);
  }
  set_lr(config.lr);
}

void GanStep::set_lr(double lr) {
  lr_ = lr;
  generator_.optimizer->set_lr(config_.no_TTUR ? lr : lr / 2);
  discriminator_.optimizer->set_lr(config_.no_TTUR ? lr : lr * 2);
}

// All that a step does on the device. The losses' tensor is made by the first step, so that a graph can write it too.
void GanStep::queue(Step& step, const Batch& batch) {
  const Gradients gradients(*step.optimizer);
  const Losses losses = step.forward(batch);
  losses.total().backward();
  const Tensor values = losses.stacked();
  step.optimizer->step_if_finite(values);
  step.names = losses.names();
  if (alike(step.losses, values)) {
    step.losses.copy_from(values);
  } else {
    step.losses = values;
  }
}

LossValues GanStep::run(Step& step, const Batch& batch) {
  if (graphs_ && !model_.encoder() && batch.image.defined() && batch.image.device() != Device::cpu) {
    if (surroundings(batch) != surroundings_) drop_graphs();
    if (step.done) {
      record_or_replay(step, batch);
    } else {
      queue(step, batch);
      step.done = true;
    }
    surroundings_ = surroundings(batch);
  } else {
    queue(step, batch);
  }
  const LossValues values = read_losses(step.names, step.losses);
  for (const auto& [name, value] : values) ASAP_CHECK(std::isfinite(value), "training: the loss ", name, " is ", value);
  return values;
}

void GanStep::record_or_replay(Step& step, const Batch& batch) {
  const auto inputs = tensors_of(inputs_);
  const auto given = tensors_of(batch);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!given[i]->defined()) continue;
    if (!inputs[i]->defined()) *inputs[i] = Tensor::like(*given[i]);
    inputs[i]->copy_from(*given[i]);
  }
  if (step.graph) {
    step.graph->replay();
    ++replays_;
    for (Tensor& tensor : step.written)
      tensor.bump_version();  // as the work would have done: see Saved in autograd/variable.h
    return;
  }
  std::vector<uint64_t> versions;
  for (const Variable& weight : weights_) versions.push_back(weight.value().version());
  const Step& other = &step == &generator_ ? discriminator_ : generator_;  // never at the same time: they share memory
  step.graph = backend(batch.image.device()).capture([this, &step] { queue(step, inputs_); }, other.graph.get());
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i].value().version() != versions[i]) step.written.push_back(weights_[i].value());
  }
}

void GanStep::use_graphs(bool on) {
  graphs_ = on;
  drop_graphs();
}

void GanStep::drop_graphs() {
  for (Step* step : {&generator_, &discriminator_}) {
    step->done = false;
    step->graph.reset();
    step->written.clear();
  }
  inputs_ = {};
}

GanStep::Surroundings GanStep::surroundings(const Batch& batch) const {
  Surroundings now{.batch = {}, .precision = current_precision(), .forcings = forcing_count(), .weights = {}};
  for (const Tensor* tensor : tensors_of(batch)) {
    if (tensor->defined()) now.batch.emplace_back(tensor->shape(), tensor->dtype(), tensor->device());
  }
  for (const Variable& weight : weights_) now.weights.emplace_back(weight.value().raw(), weight.requires_grad());
  for (const Step* step : {&generator_, &discriminator_})
    now.weights.emplace_back(step->optimizer->state().raw(), true);
  now.weights.emplace_back(model_.vgg() ? model_.vgg()->memory() : nullptr, false);
  return now;
}

}  // namespace asap::asapnet
