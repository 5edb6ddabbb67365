// Reading data sets on this machine: how fast a data set is listed and in how much memory, and how many pictures a second the
// prefetching threads deliver. bench/peers/bench_data.py is the same with torchvision.
// One JSON object a line (bench_data --help). Pictures are pairs of a label map and a photo, as of --dataset custom.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

#include "train/data/prefetch_loader.h"

namespace {

using namespace asap;
using namespace asap::train;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Bytes in memory now and at most so far.
long resident_bytes() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * 4096;
}
long peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

struct Settings {
  DatasetOptions data{.layout = DatasetLayout::custom};
  PreprocessOptions preprocess{.label_nc = 256};
  std::vector<int> threads{1, 2};
  int64_t samples = 400;
};

void time_list(const Settings& s) {
  const long before = resident_bytes();
  const auto begin = Clock::now();
  const auto pairs = list_pairs(s.data);
  const double seconds = seconds_since(begin);
  const auto count = double(pairs.size());
  std::printf("{\"pairs\": %zu, \"seconds\": %.3f, \"bytes_a_pair\": %.0f, \"peak_bytes_a_pair\": %.0f}\n",
              pairs.size(), seconds, double(resident_bytes() - before) / count, double(peak_bytes() - before) / count);
}

// Batches of one, their photos as floats, as a training loop takes them.
void time_load(const Settings& s) {
  const PairList pairs = list_pairs(s.data);
  std::vector<float> floats;
  for (const int threads : s.threads) {
    PrefetchLoader loader(pairs, s.preprocess, {.threads = threads, .seed = 1});
    int64_t done = 0;
    const auto begin = Clock::now();
    for (int64_t epoch = 1; done < s.samples; ++epoch) {
      loader.start_epoch(epoch);
      while (done < s.samples) {
        const auto batch = loader.next();
        if (!batch) break;
        floats.resize(batch->front().photo.pixels.size());
        image_to_floats(batch->front().photo, floats.data());
        ++done;
      }
    }
    std::printf("{\"threads\": %d, \"pictures\": %lld, \"pictures_a_second\": %.2f}\n", threads,
                static_cast<long long>(done), double(done) / seconds_since(begin));
  }
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  std::string what;
  CLI::App app("Times listing or loading of a data set", "bench_data");
  app.add_option("what", what, "list or load")->required()->check(CLI::IsMember({"list", "load"}));
  app.add_option("labels", s.data.label_dir, "folder of label maps")->required();
  app.add_option("images", s.data.image_dir, "folder of photos")->required();
  app.add_option("--load-size", s.preprocess.load_size, "width that pictures are resized to")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--crop-size", s.preprocess.crop_size, "width of the piece that is taken")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--aspect", s.preprocess.aspect_ratio, "width over height")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--classes", s.preprocess.label_nc, "of the label maps")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--threads", s.threads, "that load")->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--samples", s.samples, "pictures to load")->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    what == "list" ? time_list(s) : time_load(s);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
