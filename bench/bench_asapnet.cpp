// Times the whole model: inference and its two streams, and a training iteration (G step + D step, SPEC section 5), with
// the names that peers/bench_torch.py prints for PyTorch. Batch 1, random weights, VGG-19 of torchvision's widths.
// Each row: median and spread over the repetitions, peak memory of our allocator and of the process.
//   bench_asapnet --benchmark_filter=inference/facades512 --benchmark_repetitions=9
#include <benchmark/benchmark.h>

#include <fstream>
#include <memory>
#include <string>

#include "asapnet/highres_stream.h"
#include "asapnet/model.h"
#include "asapnet/session.h"
#include "nn/init.h"
#include "tensor/storage.h"
#include "tensor/threads.h"

namespace {

using namespace asap;
using namespace asap::asapnet;

// Starts the process's resident peak anew (Linux) and empties our cache, so that rows do not see each other's memory.
void reset_peaks() {
  release_cached_memory(Device::cpu);
  reset_peak_memory(Device::cpu);
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
  state.counters["tensors_MiB"] = static_cast<double>(memory_use(Device::cpu).peak) / (1 << 20);
  state.counters["process_MiB"] = peak_resident_mib();
}

Tensor random_labels(const Config& config) {
  const Shape shape{1, config.height(), config.crop_size};
  const double classes = static_cast<double>(config.label_channels());
  return random_uniform(shape, {.seed = 1, .a = 0, .b = classes}).to(DType::i32);
}

Batch random_batch(const Config& config) {
  Batch batch;
  batch.labels = random_labels(config);
  const Shape plane{1, 1, config.height(), config.crop_size};
  if (config.instance_channel()) batch.instance = random_uniform(plane, {.seed = 2}).to(DType::i32).to(DType::f32);
  batch.image = random_uniform({1, 3, config.height(), config.crop_size}, {.seed = 3, .a = -1, .b = 1});
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

void inference(benchmark::State& state, const std::string& preset_name) {
  const Config config = preset(preset_name);
  reset_peaks();
  Generator generator(config);  // alone: a discriminator's memory is no part of inference
  const NoGrad no_grad;
  const Batch batch = random_batch(config);
  auto run = [&] { return generator.forward(encode_input(config, batch)).y.value(); };
  run();
  for (auto _ : state) benchmark::DoNotOptimize(run().raw());
  report_memory(state);
}

// The same through a session: labels as bytes in, picture as bytes out.
void session(benchmark::State& state, const std::string& preset_name) {
  const Config config = preset(preset_name);
  reset_peaks();
  const Generator generator(config);
  InferenceSession session(generator, {.batch = 1, .height = config.height(), .width = config.crop_size});
  const Batch batch = random_batch(config);
  const SessionInput input{.labels = batch.labels.to(DType::u8), .instance = batch.instance, .z = {}};
  session.run(input);
  for (auto _ : state) benchmark::DoNotOptimize(session.run(input).raw());
  report_memory(state);
}

void lowres_stream(benchmark::State& state, const std::string& preset_name) {
  const NoGrad no_grad;
  AsapNet model(preset(preset_name), 1);
  const Tensor input = encode_input(model.config(), random_batch(model.config()));
  model.generator().lowres_stream().forward(input);
  for (auto _ : state) benchmark::DoNotOptimize(model.generator().lowres_stream().forward(input).value().raw());
}

void highres_stream_only(benchmark::State& state, const std::string& preset_name) {
  const NoGrad no_grad;
  AsapNet model(preset(preset_name), 1);
  const Tensor input = encode_input(model.config(), random_batch(model.config()));
  const Tensor phi = model.generator().lowres_stream().forward(input).value();
  for (auto _ : state) benchmark::DoNotOptimize(highres_stream(input, phi, model.config()).value().raw());
}

void train_step(benchmark::State& state, const std::string& preset_name) {
  const Config config = preset(preset_name);
  reset_peaks();
  AsapNet model(config, 1);
  model.set_vgg(random_vgg());
  GanStep step(model, OptimizerConfig::defaults(false), 1);
  const Batch batch = random_batch(config);
  auto iterate = [&] {
    step.generator_step(batch);
    step.discriminator_step(batch);
  };
  iterate();  // the first one also takes fresh memory from the system and makes Adam's moments
  for (auto _ : state) iterate();
  report_memory(state);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) {
      set_num_threads(std::stoi(argument.substr(10)));
    } else {
      std::fprintf(stderr, "bench_asapnet: unknown option %s (options: --threads=N and Google Benchmark's)\n", argv[i]);
      return 2;
    }
  }
  auto add = [](const std::string& kind, const std::string& name, auto function, int repetitions) {
    benchmark::RegisterBenchmark((kind + "/" + name + "/float32").c_str(),
                                 [function, name](benchmark::State& state) { function(state, name); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->MeasureProcessCPUTime()
        ->Repetitions(repetitions)
        ->ReportAggregatesOnly(true);
  };
  for (const char* name : {"facades256", "facades512", "facades1024", "cityscapes256", "cityscapes512"}) {
    add("inference", name, inference, 7);
    add("session", name, session, 7);
    add("lowres_stream", name, lowres_stream, 7);
    add("highres_stream", name, highres_stream_only, 7);
  }
  for (const char* name : {"facades256", "facades512"}) add("train_step", name, train_step, 5);
  std::printf("threads: %d\n", num_threads());
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
