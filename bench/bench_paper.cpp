// The paper's speed table (Rott Shaham et al., CVPR 2021) on this machine: SPADE, pix2pixHD and ASAPNet from label maps of 13 classes to
// pictures, batch 1, random weights, all on this library's kernels, in turns. Beside them the published milliseconds.
//   bench_paper [--sizes=256,512,1024] [--rounds=N] [--threads=N] [--device=cpu|cuda] [--out=FOLDER]
// Prints the table and writes FOLDER/paper.md and FOLDER/paper.svg (default: bench-results). scripts/bench paper runs it.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>

#include "asapnet/model.h"
#include "asapnet/session.h"
#include "bench/kit/kernel_bench.h"
#include "bench/kit/log_chart.h"
#include "docs/examples/pix2pixhd_generator.h"
#include "docs/examples/spade_generator.h"
#include "nn/init.h"
#include "tensor/threads.h"

namespace {

using namespace asap;

struct Options {
  std::vector<int64_t> sizes{256, 512, 1024};
  int rounds = 5, threads = 0;
  Device device = Device::cpu;
  std::string out = "bench-results";
};

constexpr int64_t kClasses = 13;  // of the facades
constexpr const char* kNetworks[] = {"SPADE", "pix2pixHD", "ASAPNet"};

// Published milliseconds (the authors' table; a GPU of the GTX 1080 Ti class); 0: not published.
double published(const std::string& network, int64_t size) {
  static const std::map<std::string, std::map<int64_t, double>> table{{"SPADE", {{512, 94}, {1024, 359}}},
                                                                      {"pix2pixHD", {{256, 20}, {512, 61}, {1024, 166}}},
                                                                      {"ASAPNet", {{256, 8.6}, {512, 14}, {1024, 35}}}};
  const auto& row = table.at(network);
  const auto found = row.find(size);
  return found == row.end() ? 0 : found->second;
}

// From a label map in host memory to a picture there.
using Network = std::function<void(const Tensor& labels)>;

template <class Generator>
Network whole_network(std::shared_ptr<Generator> generator, Device device) {
  generator->eval();
  generator->to(device);
  return [=](const Tensor& labels) {
    const NoGrad no_grad;
    generator->forward(one_hot(labels.to(device), kClasses)).value().to(Device::cpu);
  };
}

Network make(const std::string& network, int64_t size, Device device) {
  if (network == "SPADE") {
    // The published generator: it grows from 1/32 of the picture ("normal"), batch norm, whose running statistics it uses here.
    return whole_network(std::make_shared<examples::SpadeGenerator>(examples::SpadeOptions{.classes = kClasses, .norm = examples::SpadeNorm::batch}), device);
  }
  if (network == "pix2pixHD") {
    return whole_network(std::make_shared<examples::Pix2pixHdGenerator>(examples::Pix2pixHdOptions{.classes = kClasses}), device);
  }
  const auto session = std::make_shared<asapnet::InferenceSession>(
      asapnet::Generator(asapnet::preset("facades" + std::to_string(size))),
      asapnet::SessionOptions{.height = size, .width = size, .device = device});
  return [=](const Tensor& labels) { session->run({.labels = labels, .instance = {}, .z = {}}); };
}

struct Timing {
  int64_t size;
  std::string network;
  std::vector<double> ms;
  double median() const { return bench::median(ms); }
};

std::vector<Timing> time_size(int64_t size, const Options& options) {
  const Tensor labels = random_uniform({1, size, size}, {.seed = 1, .b = kClasses}).to(DType::u8);
  std::vector<Timing> timings;
  std::vector<Network> networks;
  for (const char* name : kNetworks) {
    networks.push_back(make(name, size, options.device));
    timings.push_back({size, name, {}});
  }
  for (int round = -1; round < options.rounds; ++round) {  // the first does not count
    for (size_t i = 0; i < networks.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      networks[i](labels);
      const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
      if (round >= 0) timings[i].ms.push_back(time.count());
      std::fprintf(stderr, "%lldx%lld  round %d of %d  %-10s %.0f ms\n", static_cast<long long>(size), static_cast<long long>(size), round + 1,
                   options.rounds, kNetworks[i], time.count());
    }
  }
  return timings;
}

const Timing& find(const std::vector<Timing>& timings, int64_t size, const std::string& network) {
  return *std::find_if(timings.begin(), timings.end(), [&](const Timing& t) { return t.size == size && t.network == network; });
}

std::string three_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  return text;
}

std::string table(const std::vector<Timing>& timings, const Options& options) {
  std::string text = str("Median of ", options.rounds, " pictures in turns, ", options.device, ", ", num_threads(),
                         " threads, float32; in brackets how many times ASAPNet's. Published: a GTX 1080 Ti.\n\n| pixels |");
  for (const char* network : kNetworks) text += str(" ", network, ", ms |");
  for (const char* network : kNetworks) text += str(" published ", network, ", ms |");
  text += "\n|---|---|---|---|---|---|---|\n";
  for (const int64_t size : options.sizes) {
    text += str("| ", size, "x", size, " |");
    const double asapnet = find(timings, size, "ASAPNet").median();
    for (const char* network : kNetworks) {
      const double ms = find(timings, size, network).median();
      text += str(" ", three_digits(ms), ms == asapnet ? "" : " (" + three_digits(ms / asapnet) + ")", " |");
    }
    for (const char* network : kNetworks) {
      const double ms = published(network, size), least = published("ASAPNet", size);
      text += ms == 0 ? " - |" : str(" ", three_digits(ms), ms == least || least == 0 ? "" : " (" + three_digits(ms / least) + ")", " |");
    }
    text += "\n";
  }
  return text;
}

std::string figure(const std::vector<Timing>& timings, const Options& options) {
  std::map<std::string, std::vector<bench::LogChart::Point>> measured, from_paper;
  std::vector<bench::LogChart::Point> all;
  for (const Timing& timing : timings) {
    const double megapixels = static_cast<double>(timing.size * timing.size) / 1e6, ms = published(timing.network, timing.size);
    all.push_back(measured[timing.network].emplace_back(megapixels, timing.median()));
    if (ms > 0) all.push_back(from_paper[timing.network].emplace_back(megapixels, ms));
  }
  bench::LogChart chart(str("A label map to a picture: this machine (", options.device, ", ", num_threads(), " threads), dashed: published, GTX 1080 Ti"),
                        "megapixels", "ms", all);
  for (size_t i = 0; i < std::size(kNetworks); ++i) {
    const char* colour = bench::LogChart::colour(i);
    chart.line(measured[kNetworks[i]], colour);
    chart.line(from_paper[kNetworks[i]], colour, true);
    for (const auto& point : measured[kNetworks[i]]) {
      chart.dot(point, colour, 5);
      chart.label(point, three_digits(point.second), colour);
    }
    for (const auto& point : from_paper[kNetworks[i]]) chart.dot(point, colour, 3);
    chart.legend(kNetworks[i], colour, 5);
  }
  return chart.svg();
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  ASAP_CHECK(file << text << std::flush, path.string(), ": cannot be written");
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i], value = argument.substr(argument.find('=') + 1);
    if (argument.starts_with("--sizes=")) {
      options.sizes.clear();
      std::istringstream list(value);
      for (std::string size; std::getline(list, size, ',');) options.sizes.push_back(std::stoll(size));
    } else if (argument.starts_with("--rounds=")) {
      options.rounds = std::stoi(value);
    } else if (argument.starts_with("--threads=")) {
      options.threads = std::stoi(value);
    } else if (argument == "--device=cpu" || argument == "--device=cuda") {
      options.device = value == "cuda" ? Device::cuda : Device::cpu;
    } else if (argument.starts_with("--out=")) {
      options.out = value;
    } else {
      fail("unknown option ", argument, " (options: --sizes=256,512,1024, --rounds=N, --threads=N, --device=cpu|cuda, --out=FOLDER)");
    }
  }
  for (const int64_t size : options.sizes) ASAP_CHECK(size == 256 || size == 512 || size == 1024, "the sizes are 256, 512 and 1024, got ", size);
  ASAP_CHECK(options.rounds > 0, "--rounds must be positive");
  ASAP_CHECK(is_available(options.device), "cuda is not available: ", unavailable_reason(options.device));
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  try {
    const Options options = parse(argc, argv);
    if (options.threads > 0) set_num_threads(options.threads);
    nn::manual_seed(1);
    std::vector<Timing> timings;
    for (const int64_t size : options.sizes) {
      for (Timing& timing : time_size(size, options)) timings.push_back(std::move(timing));
    }
    std::filesystem::create_directories(options.out);
    const std::string text = table(timings, options);
    write(std::filesystem::path(options.out) / "paper.md", text);
    write(std::filesystem::path(options.out) / "paper.svg", figure(timings, options));
    std::printf("%s", text.c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_paper: %s\n", error.what());
    return 1;
  }
}
