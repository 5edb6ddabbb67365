// Steps without numbers. Declared in memory_estimate.h.
#include "train/run/memory_estimate.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <new>

#include "asapnet/model.h"
#include "nn/checkpoint_file.h"
#include "nn/network_weights.h"
#include "tensor/caching_allocator.h"
#include "tensor/kernels.h"
#include "tensor/precision.h"
#include "train/options/resolve.h"
#include "train/run/architecture.h"

namespace asap::train {
namespace {

constexpr const char* kIdle = "idle";

// A last variant of every kernel, which takes all and does nothing. It never runs unless it is forced.
template <class... Args>
void add_idle(KernelSlot<void(Args...)>& slot) {
  slot.add(Device::cpu, kIdle, [](Args...) {}, {}, {.strided = true, .bf16 = true});
}
template <class... Slots>
void add_idle_to(Slots&... slots) {
  (add_idle(slots), ...);
}

void add_idle_variants() {
  namespace k = kernels;
  add_idle_to(k::fill, k::copy, k::random_uniform, k::random_normal, k::unary, k::unary_backward, k::binary, k::where,
              k::reduce, k::argmax, k::gather_forward, k::gather_backward, k::matmul, k::conv2d_forward,
              k::conv2d_input_grad, k::conv2d_weight_grad, k::norm_forward, k::norm_backward, k::conv2d_instance_norm,
              k::avg_pool2d_forward, k::avg_pool2d_backward, k::max_pool2d_forward, k::max_pool2d_backward,
              k::resize2d_forward, k::resize2d_backward, k::grid_sample_forward, k::grid_sample_backward,
              k::tile_mlp_forward, k::tile_mlp_backward, k::label_planes, k::adam_begin, k::adam,
              k::all_reduce, k::broadcast, k::all_gather);
}

// While one lives, no kernel does anything. asap::Error naming a kernel that the list above lacks.
class IdleKernels {
 public:
  IdleKernels() {
    [[maybe_unused]] static const bool added = (add_idle_variants(), true);
    for (KernelSlotBase* slot : all_kernel_slots()) forced_.emplace_back(*slot, kIdle);
  }

 private:
  std::deque<ForcedVariant> forced_;
};

// Zeros: large blocks are pages that nobody writes to, so that the system puts no memory behind them.
class UntouchedMemory final : public Allocator {
 public:
  Block allocate(size_t bytes) override {
    if (bytes <= kSmall) {
      void* memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
      if (!memory) throw std::bad_alloc();
      return {std::memset(memory, 0, bytes), bytes};
    }
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);  // ops look into labels and indices: one huge page of zeros serves them all
#endif
    return {memory, bytes};
  }
  void deallocate(Block block) noexcept override {
    if (block.bytes <= kSmall) return std::free(block.memory);
    munmap(block.memory, block.bytes);
  }

 private:
  static constexpr size_t kSmall = size_t{1} << 16, kAlignment = 64;
};

nn::StateDict vgg_shapes(const std::string& file) {
  if (file.empty()) return asapnet::vgg19_shapes();
  nn::StateDict state;
  nn::CheckpointFile opened(file);
  const nn::NetworkWeights weights(opened, signature(NetworkKind::vgg));
  for (const nn::TensorInfo& tensor : weights.tensors()) {
    if (tensor.name.starts_with("features.") || tensor.name.starts_with("aux."))
      state.set(tensor.name, Tensor::empty(Shape(tensor.sizes)));
  }
  return state;
}

asapnet::Batch batch_of(const Options& options) {
  const asapnet::Config& c = options.model;
  const int64_t n = options.train.batchSize, height = c.height(), width = c.crop_size;
  asapnet::Batch batch;
  batch.labels = c.no_one_hot ? Tensor::empty({n, 3, height, width}) : Tensor::empty({n, height, width}, DType::i32);
  if (c.instance_channel()) batch.instance = Tensor::empty({n, 1, height, width});
  batch.image = Tensor::empty({n, 3, height, width});
  return batch;
}

double bytes_of(const nn::StateDict& state) {
  double bytes = 0;
  for (const auto& [name, tensor] : state) bytes += static_cast<double>(tensor.bytes());
  return bytes;
}

double gradient_bytes(const nn::Module& network) {
  double bytes = 0;
  for (const Variable& parameter : network.parameters()) bytes += static_cast<double>(parameter.value().bytes());
  return bytes;
}

}  // namespace

MemoryEstimate estimate_memory(const Options& options) {
  const TrainOptions& o = options.train;
  // A card's training keeps f32 whatever the precision.
  const ScopedPrecision precision(o.device == "cpu" ? parse_precision(o.precision) : Precision::f32);
  UntouchedMemory memory;
  const auto counter = std::make_shared<CachingAllocator>(Device::cpu, &memory);
  const ScopedAllocator scope(Device::cpu, counter);
  const IdleKernels idle;

  std::vector<asapnet::Batch> parts;  // first, in fresh memory: labels are looked at
  for (int64_t i = 0; i < o.accumulate; ++i) parts.push_back(batch_of(options));
  asapnet::AsapNet model(options.model, 0);
  double weights = 0;
  if (!options.model.no_vgg_loss) {
    const nn::StateDict vgg = vgg_shapes(o.vgg);
    model.set_vgg(std::make_shared<asapnet::Vgg19>(vgg, options.model.vgg_normalise));
    weights += bytes_of(vgg);
  }
  asapnet::OptimizerConfig config = optimizer_config(o);
  const auto defaults = asapnet::OptimizerConfig::defaults(o.no_TTUR);
  if (config.beta1 < 0) config.beta1 = defaults.beta1;
  if (config.beta2 < 0) config.beta2 = defaults.beta2;
  asapnet::GanStep gan(model, config, 0);
  if (o.ema > 0) gan.keep_average(o.ema);
  for (int step = 0; step < 2; ++step) {  // the first makes the moments
    counter->reset_peak();
    gan.generator_step(parts);
    gan.discriminator_step(parts);
  }

  double optimizer =
      bytes_of(gan.generator_optimizer().state_dict()) + bytes_of(gan.discriminator_optimizer().state_dict());
  for (const nn::Module* network :
       std::initializer_list<const nn::Module*>{&model.generator(), &model.discriminator(), model.encoder()}) {
    if (!network) continue;
    weights += bytes_of(network->state_dict());
    optimizer += gradient_bytes(*network);
  }
  if (gan.average()) weights += bytes_of(gan.average()->state_dict());
  const MemoryUse use = counter->use();
  const auto peak = static_cast<double>(use.peak), taken = static_cast<double>(use.current + use.cached);
  return {.weights = weights, .optimizer = optimizer, .activations = peak - weights - optimizer, .reuse = taken - peak};
}

}  // namespace asap::train
