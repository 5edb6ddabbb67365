// The two optimisation steps of an iteration, done directly or as graphs of the device. Declared in model.h.
#include <array>
#include <chrono>
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

// Spectral norm's power iteration, once a step: the first part does it, and the others use the vectors that it left, as the
// rest of one larger batch would.
class OnePowerIteration {
 public:
  OnePowerIteration(AsapNet& model, bool first) : model_(model) { model_.train(first); }
  ~OnePowerIteration() { model_.train(true); }
  OnePowerIteration(const OnePowerIteration&) = delete;
  OnePowerIteration& operator=(const OnePowerIteration&) = delete;

 private:
  AsapNet& model_;
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
  generator_.parameters = std::move(parameters_G);
  generator_.forward = [this](const Batch& batch, const BatchPart& part) {
    return model_.generator_losses(batch, noise_, part).losses;
  };
  discriminator_.parameters = model.discriminator().named_parameters();
  discriminator_.forward = [this](const Batch& batch, const BatchPart& part) {
    return model_.discriminator_losses(batch, noise_, part);
  };
  for (Step* step : {&generator_, &discriminator_}) step->optimizer = std::make_unique<nn::Adam>(step->parameters, options);
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

void GanStep::share_steps(const World& ranks, DType wire) {
  ranks_ = ranks;
  if (ranks.size == 1) return;
  for (Step* step : {&generator_, &discriminator_})
    step->sums = std::make_unique<nn::GradientBuckets>(step->parameters, ranks, wire);
  use_graphs(false);
}

double GanStep::waited_for_ranks() const {
  double seconds = 0;
  for (const Step* step : {&generator_, &discriminator_}) seconds += step->sums ? step->sums->waited() : 0;
  return seconds;
}

// Leaves the mean of the parts' gradients behind, those of all ranks, and returns that of their losses.
Tensor GanStep::accumulate(Step& step, std::span<const Batch> parts) {
  const BatchPart place{.ranks = ranks_, .parts = std::ssize(parts) * ranks_.size};
  const double share = 1 / static_cast<double>(place.parts);
  Tensor values;
  for (const Batch& part : parts) {
    const OnePowerIteration power(model_, &part == parts.data());
    const Losses losses = step.forward(part, place);
    const Variable& total = losses.total();
    if (step.sums && &part == &parts.back()) step.sums->begin();
    total.backward(Tensor::full(total.shape(), share, total.dtype(), total.device()));
    step.names = losses.names();
    const Tensor own = place.parts == 1 ? losses.stacked() : affine(losses.stacked(), share, 0);
    values = values.defined() ? add(values, own) : own;
  }
  if (!step.sums) return values;
  step.sums->finish();
  all_reduce(ranks_, values.dtype(), values);
  return values;
}

// All that a step does on the device. The losses' tensor is made by the first step, so that a graph can write it too.
void GanStep::queue(Step& step, std::span<const Batch> parts) {
  const Gradients gradients(*step.optimizer);
  const Tensor values = accumulate(step, parts);
  step.optimizer->step_if_finite(values);
  if (average_ && &step == &generator_) average_->update(step.optimizer->went());
  if (alike(step.losses, values)) {
    step.losses.copy_from(values);
  } else {
    step.losses = values;
  }
}

LossValues GanStep::run(Step& step, std::span<const Batch> parts) {
  ASAP_CHECK(!parts.empty(), "training: expected at least one batch a step, got none");
  for (const Batch& part : parts)
    ASAP_CHECK(part.labels.shape() == parts[0].labels.shape(),
               "training: expected the batches of a step to be of one size, got ", parts[0].labels.shape(), " and ",
               part.labels.shape());
  const Tensor& image = parts[0].image;
  if (graphs_ && !model_.encoder() && image.defined() && image.device() != Device::cpu) {
    if (surroundings(parts) != surroundings_) drop_graphs();
    if (step.done) {
      record_or_replay(step, parts);
    } else {
      queue(step, parts);
      step.done = true;
    }
    surroundings_ = surroundings(parts);
  } else {
    queue(step, parts);
  }
  const auto queued = std::chrono::steady_clock::now();
  const LossValues values = read_losses(step.names, step.losses);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - queued).count();
  for (const auto& [name, value] : values) {
    if (!std::isfinite(value)) throw LossNotFinite(str("training: the loss ", name, " is ", value));
  }
  return values;
}

void GanStep::record_or_replay(Step& step, std::span<const Batch> parts) {
  inputs_.resize(parts.size());
  for (size_t part = 0; part < parts.size(); ++part) {
    const auto inputs = tensors_of(inputs_[part]);
    const auto given = tensors_of(parts[part]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!given[i]->defined()) continue;
      if (!inputs[i]->defined()) *inputs[i] = Tensor::like(*given[i]);
      inputs[i]->copy_from(*given[i]);
    }
  }
  if (step.graph) {
    step.graph->replay();
    ++replays_;
    for (Tensor& tensor : step.written)
      tensor.bump_version();  // as the work would have done: see Saved in autograd/variable.h
    return;
  }
  const std::vector<Tensor> tensors = written_tensors();
  std::vector<uint64_t> versions;
  for (const Tensor& tensor : tensors) versions.push_back(tensor.version());
  const Step& other = &step == &generator_ ? discriminator_ : generator_;  // never at the same time: they share memory
  step.graph = backend(parts[0].image.device()).capture([this, &step] { queue(step, inputs_); }, other.graph.get());
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].version() != versions[i]) step.written.push_back(tensors[i]);
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

// What steps may write: parameters and buffers of both networks, and the average.
std::vector<Tensor> GanStep::written_tensors() const {
  std::vector<Tensor> tensors;
  for (const Variable& weight : weights_) tensors.push_back(weight.value());
  if (average_) {
    for (const auto& [name, tensor] : average_->state_dict()) tensors.push_back(tensor);
  }
  return tensors;
}

GanStep::Surroundings GanStep::surroundings(std::span<const Batch> parts) const {
  Surroundings now{.batch = {}, .precision = current_precision(), .forcings = forcing_count(), .weights = {}};
  for (const Batch& part : parts) {
    for (const Tensor* tensor : tensors_of(part)) {
      if (tensor->defined()) now.batch.emplace_back(tensor->shape(), tensor->dtype(), tensor->device());
    }
  }
  for (const Variable& weight : weights_) now.weights.emplace_back(weight.value().raw(), weight.requires_grad());
  for (const Step* step : {&generator_, &discriminator_})
    now.weights.emplace_back(step->optimizer->state().raw(), true);
  if (average_) {
    for (const auto& [name, tensor] : average_->state_dict()) now.weights.emplace_back(tensor.raw(), false);
  }
  now.weights.emplace_back(model_.vgg() ? model_.vgg()->memory() : nullptr, false);
  return now;
}

}  // namespace asap::asapnet
