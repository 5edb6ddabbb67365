// Times the whole model: inference and its two streams, and a training iteration (G step + D step), with the names that
// peers/bench_torch.py prints for PyTorch. Batch 1, random weights, VGG-19 of torchvision's widths.
// Each row: median and spread over the repetitions, peak memory of our allocator and of the process.
// --device=cuda: the same on the card, and larger, in batches of 8, in tf32 and bf16.
//   bench_asapnet --benchmark_filter=inference/facades512 --benchmark_repetitions=9
#include <benchmark/benchmark.h>

#include <fstream>
#include <memory>
#include <string>

#include "asapnet/highres_stream.h"
#include "asapnet/model.h"
#include "asapnet/session.h"
#include "bench/yardsticks/yardsticks.h"
#include "cuda/context.h"
#include "nn/init.h"
#include "tensor/precision.h"
#include "tensor/storage.h"
#include "tensor/threads.h"

namespace {

using namespace asap;
using namespace asap::asapnet;

// What a row is about; the device is the program's.
struct Setting {
  std::string preset;
  int64_t batch = 1;
  Precision precision = Precision::f32;

  Config config() const {
    if (preset != "facades2048") return asapnet::preset(preset);
    Config config = asapnet::preset("facades1024");  // larger than any published one
    config.crop_size = 2048;
    return config;
  }
  // The row's name as peers/bench_torch.py prints it.
  std::string name(const std::string& kind) const {
    const std::string precision_name = precision == Precision::f32 ? "float32" : asap::name(precision);
    return kind + "/" + preset + (batch > 1 ? "/batch" + std::to_string(batch) : "") + "/" + precision_name;
  }
};
Device device = Device::cpu;

// On a card a run is over when its queue is empty.
template <class F>
void time_runs(benchmark::State& state, const F& run) {
  run();  // takes fresh memory, loads kernels
  backend(device).synchronize();
  for (auto _ : state) {
    run();
    backend(device).synchronize();
  }
}

// Starts the process's resident peak anew (Linux) and empties our cache, so that rows do not see each other's memory.
void reset_peaks() {
  release_cached_memory(device);
  reset_peak_memory(device);
  std::ofstream("/proc/self/clear_refs") << "5";
}

// Peak resident memory in MiB since reset_peaks(); 0 where /proc does not tell.
double peak_resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

void report_memory(benchmark::State& state) {
  state.counters["tensors_MiB"] = static_cast<double>(memory_use(device).peak) / (1 << 20);
  state.counters["process_MiB"] = peak_resident_mib();
}

Batch random_batch(const Config& config, int64_t count, Device place) {
  const int64_t h = config.height(), w = config.crop_size;
  const double classes = static_cast<double>(config.label_channels());
  Batch batch;
  batch.labels = random_uniform({count, h, w}, {.seed = 1, .a = 0, .b = classes}).to(DType::i32).to(place);
  if (config.instance_channel()) {
    batch.instance = random_uniform({count, 1, h, w}, {.seed = 2, .b = 2}).to(DType::i32).to(DType::f32).to(place);
  }
  batch.image = random_uniform({count, 3, h, w}, {.seed = 3, .a = -1, .b = 1}).to(place);
  return batch;
}

std::shared_ptr<Vgg19> random_vgg() {
  const std::pair<int, int64_t> convs[] = {{0, 64},   {2, 64},   {5, 128},  {7, 128},  {10, 256}, {12, 256}, {14, 256},
                                           {16, 256}, {19, 512}, {21, 512}, {23, 512}, {25, 512}, {28, 512}};
  nn::StateDict weights;
  int64_t in = 3;
  for (const auto& [number, out] : convs) {
    const std::string key = "features." + std::to_string(number);
    Tensor w = Tensor::empty({out, in, 3, 3});
    nn::init::kaiming_normal(w);
    weights.set(key + ".weight", w);
    weights.set(key + ".bias", Tensor::zeros({out}));
    in = out;
  }
  return std::make_shared<Vgg19>(weights, false);
}

void inference(benchmark::State& state, const Setting& setting) {
  const Config config = setting.config();
  reset_peaks();
  const ScopedPrecision precision(setting.precision);
  Generator generator(config);  // alone: a discriminator's memory is no part of inference
  generator.to(device);
  const NoGrad no_grad;
  const Batch batch = random_batch(config, setting.batch, device);
  time_runs(state, [&] { benchmark::DoNotOptimize(generator.forward(encode_input(config, batch)).y.value().raw()); });
  report_memory(state);
}

// A session of the setting, and its input.
struct SessionWork {
  explicit SessionWork(const Setting& setting)
      : config(setting.config()),
        session(Generator(config), {.batch = setting.batch,
                                    .height = config.height(),
                                    .width = config.crop_size,
                                    .precision = setting.precision,
                                    .device = device}) {
    const Batch batch = random_batch(config, setting.batch, Device::cpu);
    input = {.labels = batch.labels.to(DType::u8), .instance = batch.instance, .z = {}};
  }
  Config config;
  InferenceSession session;
  SessionInput input;
};

// The same through a session: labels as bytes in, picture as bytes out, both on the host.
void session(benchmark::State& state, const Setting& setting) {
  reset_peaks();
  SessionWork work(setting);
  time_runs(state, [&] { benchmark::DoNotOptimize(work.session.run(work.input).raw()); });
  report_memory(state);
}

// A session's work on the card alone, by the card's clock: many pictures one after the other.
void session_graph(benchmark::State& state, const Setting& setting) {
  constexpr int kPictures = 20;
  SessionWork work(setting);
  work.session.run(work.input);
  cuda::Timer timer;
  for (auto _ : state) {
    timer.start();
    for (int i = 0; i < kPictures; ++i) work.session.compute();
    state.SetIterationTime(timer.stop() / kPictures);
  }
}

void lowres_stream(benchmark::State& state, const Setting& setting) {
  const NoGrad no_grad;
  const ScopedPrecision precision(setting.precision);
  Generator generator(setting.config());
  generator.to(device);
  const Tensor input = encode_input(setting.config(), random_batch(setting.config(), setting.batch, device));
  time_runs(state, [&] { benchmark::DoNotOptimize(generator.lowres_stream().forward(input).value().raw()); });
}

void highres_stream_only(benchmark::State& state, const Setting& setting) {
  const NoGrad no_grad;
  const ScopedPrecision precision(setting.precision);
  const Config config = setting.config();
  Generator generator(config);
  generator.to(device);
  const Tensor input = encode_input(config, random_batch(config, setting.batch, device));
  const Tensor phi = generator.lowres_stream().forward(input).value();
  time_runs(state, [&] { benchmark::DoNotOptimize(highres_stream({}, input, phi, config).value().raw()); });
}

void time_training(benchmark::State& state, const Setting& setting, bool graphs) {
  const Config config = setting.config();
  reset_peaks();
  const ScopedPrecision precision(setting.precision);
  AsapNet model(config, 1);
  model.set_vgg(random_vgg());
  model.to(device);
  GanStep step(model, OptimizerConfig::defaults(false), 1);
  if (!graphs) step.use_graphs(false);
  const Batch batch = random_batch(config, setting.batch, device);
  const auto iteration = [&] {
    step.generator_step(batch);
    step.discriminator_step(batch);
  };
  iteration();  // makes Adam's moments; on a card the next one records
  time_runs(state, iteration);
  report_memory(state);
}
void train_step(benchmark::State& state, const Setting& setting) { time_training(state, setting, true); }
void train_step_eager(benchmark::State& state, const Setting& setting) { time_training(state, setting, false); }

void add(const std::string& kind, const Setting& setting, void (*function)(benchmark::State&, const Setting&),
         int repetitions) {
  auto* row = benchmark::RegisterBenchmark(setting.name(kind).c_str(),
                                           [=](benchmark::State& state) { function(state, setting); });
  function == session_graph ? row->UseManualTime() : row->UseRealTime();
  row->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->Repetitions(repetitions)->ReportAggregatesOnly(true);
}

void add_all(Precision precision) {
  std::vector<std::string> presets{"facades256", "facades512", "facades1024", "cityscapes256", "cityscapes512"};
  if (device == Device::cuda) presets.push_back("facades2048");
  for (const std::string& name : presets) {
    const Setting setting{name, 1, precision};
    add("inference", setting, inference, 7);
    add("session", setting, session, 7);
    if (device == Device::cuda) add("session_graph", setting, session_graph, 7);
    add("lowres_stream", setting, lowres_stream, 7);
    add("highres_stream", setting, highres_stream_only, 7);
  }
  for (const char* name : {"facades256", "facades512"}) add("train_step", {name, 1, precision}, train_step, 5);
  if (device == Device::cpu) return;
  add("train_step", {"facades1024", 1, precision}, train_step, 5);
  for (const char* name : {"facades256", "facades512", "facades1024"}) {
    add("train_step", {name, 8, precision}, train_step, 3);
    add("train_step_eager", {name, 1, precision}, train_step_eager, 5);  // every launch made by the host
  }
}

}  // namespace

int main(int argc, char** argv) {
  asap::cuda::register_yardsticks();  // for ASAP_KERNEL
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) {
      set_num_threads(std::stoi(argument.substr(10)));
    } else if (argument == "--device=cuda" || argument == "--device=cpu") {
      device = argument == "--device=cuda" ? Device::cuda : Device::cpu;
    } else {
      std::fprintf(
          stderr, "bench_asapnet: unknown option %s (options: --threads=N, --device=cpu|cuda and Google Benchmark's)\n",
          argv[i]);
      return 2;
    }
  }
  if (!is_available(device)) {
    std::fprintf(stderr, "bench_asapnet: cuda is not available: %s\n", unavailable_reason(device).c_str());
    return 1;
  }
  add_all(Precision::f32);
  if (device == Device::cuda) {
    add_all(Precision::tf32);
    add_all(Precision::bf16);
  }
  benchmark::AddCustomContext("device", name(device));
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
