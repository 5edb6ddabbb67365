// Times the whole model: inference and its two streams, and a training iteration (G step + D step), with the names that
// peers/bench_torch.py prints for PyTorch. Batch 1, random weights, VGG-19 of torchvision's widths.
// Each row: median and spread over the repetitions, peak memory of our allocator and of the process.
// In f32 and bf16; --device=cuda: the same on the card, and larger, in batches of 8, in tf32 too.
//   bench_asapnet --benchmark_filter=inference/facades512/float32
// --row=NAME times the calls of one row one by one and prints a line of JSON (one_row.h), as scripts/bench asks for it:
//   bench_asapnet --row=session/facades512/bf16 --calls=9
#include <benchmark/benchmark.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "asapnet/highres_stream.h"
#include "asapnet/model.h"
#include "asapnet/session.h"
#include "bench/one_row.h"
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

// What a row times: made once, then called again and again. On a card a call is over when its queue is empty.
using Work = std::function<void()>;

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

Work inference(const Setting& setting) {
  const Config config = setting.config();
  // Alone: a discriminator's memory is no part of inference.
  const auto generator = std::make_shared<Generator>(config);
  generator->to(device);
  return [=, batch = random_batch(config, setting.batch, device)] {
    const NoGrad no_grad;
    benchmark::DoNotOptimize(generator->forward(encode_input(config, batch)).y.value().raw());
  };
}

// A generator whose weights are a session's: each is drawn, converted and let go before the next, as when a file is read.
std::unique_ptr<Generator> session_generator(const Config& config, const SessionOptions& options) {
  auto generator = (nn::init::Blank(), std::make_unique<Generator>(config));
  for (auto& [name, parameter] : generator->named_parameters()) {
    const Shape shape = parameter.shape();
    const bool drawn = shape.rank() == 4;
    parameter.set_value(session_weight(
        drawn ? nn::init::default_weight(shape, shape.numel() / shape[0]) : parameter.value().contiguous(), options));
    release_cached_memory(Device::cpu);
  }
  return generator;
}

// A session of the setting, and its input.
struct SessionWork {
  explicit SessionWork(const Setting& setting)
      : config(setting.config()),
        options{.batch = setting.batch,
                .height = config.height(),
                .width = config.crop_size,
                .precision = setting.precision,
                .device = device},
        session(*session_generator(config, options), options) {
    const Batch batch = random_batch(config, setting.batch, Device::cpu);
    input = {.labels = batch.labels.to(DType::u8), .instance = batch.instance, .z = {}};
  }
  Config config;
  SessionOptions options;
  InferenceSession session;
  SessionInput input;
};

// The same through a session: labels as bytes in, picture as bytes out, both on the host.
Work session(const Setting& setting) {
  const auto work = std::make_shared<SessionWork>(setting);
  return [=] { benchmark::DoNotOptimize(work->session.run(work->input).raw()); };
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

Work lowres_stream(const Setting& setting) {
  const Config config = setting.config();
  const auto generator = std::make_shared<Generator>(config);
  generator->to(device);
  return [=, input = encode_input(config, random_batch(config, setting.batch, device))] {
    const NoGrad no_grad;
    benchmark::DoNotOptimize(generator->lowres_stream().forward(input).value().raw());
  };
}

Work highres_stream_only(const Setting& setting) {
  const NoGrad no_grad;
  const Config config = setting.config();
  Generator generator(config);
  generator.to(device);
  const Tensor input = encode_input(config, random_batch(config, setting.batch, device));
  return [=, phi = generator.lowres_stream().forward(input).value()] {
    const NoGrad no_grads;
    benchmark::DoNotOptimize(highres_stream({}, input, phi, config).value().raw());
  };
}

struct Training {
  explicit Training(const Setting& setting) : model(setting.config(), 1) {
    model.set_vgg(random_vgg());
    model.to(device);
    batch = random_batch(setting.config(), setting.batch, device);
  }
  AsapNet model;
  GanStep step{model, OptimizerConfig::defaults(false), 1};
  Batch batch;
};

Work training(const Setting& setting, bool graphs) {
  const auto work = std::make_shared<Training>(setting);
  if (!graphs) work->step.use_graphs(false);
  const auto iteration = [=] {
    work->step.generator_step(work->batch);
    work->step.discriminator_step(work->batch);
  };
  iteration();  // makes Adam's moments; on a card the next one records
  return iteration;
}
Work train_step(const Setting& setting) { return training(setting, true); }
Work train_step_eager(const Setting& setting) { return training(setting, false); }

using MakeWork = Work (*)(const Setting&);

void time_row(benchmark::State& state, const Setting& setting, MakeWork make) {
  reset_peaks();
  const ScopedPrecision precision(setting.precision);
  const Work work = make(setting);
  work();  // takes fresh memory, loads kernels
  backend(device).synchronize();
  for (auto _ : state) {
    work();
    backend(device).synchronize();
  }
  report_memory(state);
}

// The row that --row asks for, and how often it is to be called.
std::string only_row;
int calls = 9;
bool row_found = false;

void print_one(const Setting& setting, const std::string& name, MakeWork make) {
  const ScopedPrecision precision(setting.precision);
  const Work work = make(setting);
  const std::vector<double> milliseconds = bench::time_calls(calls, [&] {
    work();
    backend(device).synchronize();
  });
  bench::print_row(name, milliseconds, {{"tensors_MiB", memory_use(device).peak >> 20}});
  row_found = true;
}

template <class Row>
void add_benchmark(const std::string& name, int repetitions, bool by_card, const Row& run) {
  auto* row = benchmark::RegisterBenchmark(name.c_str(), run);
  by_card ? row->UseManualTime() : row->UseRealTime();
  row->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->Repetitions(repetitions)->ReportAggregatesOnly(true);
}

void add(const std::string& kind, const Setting& setting, MakeWork make, int repetitions) {
  const std::string name = setting.name(kind);
  if (name == only_row) print_one(setting, name, make);
  if (!only_row.empty()) return;
  add_benchmark(name, repetitions, false, [=](benchmark::State& state) { time_row(state, setting, make); });
}

void add_session_graph(const Setting& setting) {
  add_benchmark(setting.name("session_graph"), 7, true, [=](benchmark::State& state) { session_graph(state, setting); });
}

void add_all(Precision precision) {
  std::vector<std::string> presets{"facades256", "facades512", "facades1024", "cityscapes256", "cityscapes512"};
  if (device == Device::cuda) presets.push_back("facades2048");
  for (const std::string& name : presets) {
    const Setting setting{name, 1, precision};
    add("inference", setting, inference, 7);
    add("session", setting, session, 7);
    if (device == Device::cuda) add_session_graph(setting);
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
    } else if (argument.starts_with("--row=")) {
      only_row = argument.substr(6);
    } else if (argument.starts_with("--calls=")) {
      calls = std::stoi(argument.substr(8));
    } else {
      std::fprintf(stderr,
                   "bench_asapnet: unknown option %s (options: --threads=N, --device=cpu|cuda, --row=NAME, --calls=N and "
                   "Google Benchmark's)\n",
                   argv[i]);
      return 2;
    }
  }
  if (!is_available(device)) {
    std::fprintf(stderr, "bench_asapnet: cuda is not available: %s\n", unavailable_reason(device).c_str());
    return 1;
  }
  add_all(Precision::f32);
  if (device == Device::cuda) add_all(Precision::tf32);
  add_all(Precision::bf16);
  if (row_found) return 0;
  if (!only_row.empty()) {
    std::fprintf(stderr, "bench_asapnet: there is no row %s\n", only_row.c_str());
    return 2;
  }
  benchmark::AddCustomContext("device", name(device));
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
