// Reading data sets on this machine: how fast a data set is listed and in how much memory, and how many pictures a second the
// prefetching threads deliver. bench/peers/bench_data.py is the same with torchvision.
//   bench_data list LABELS IMAGES
//   bench_data load LABELS IMAGES [--load-size=286] [--crop-size=256] [--aspect=1] [--threads=1,2] [--samples=N] [--classes=256]
// One JSON object a line. Pictures are pairs of a label map and a photo, as of --dataset custom.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <sstream>
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

bool takes(const std::string& argument, const char* flag, std::string& value) {
  if (!argument.starts_with(std::string(flag) + "=")) return false;
  value = argument.substr(std::strlen(flag) + 1);
  return true;
}

int run(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "";
  if (count < 4 || (what != "list" && what != "load")) {
    std::fprintf(
        stderr,
        "usage: bench_data list|load LABELS IMAGES [--load-size=N] [--crop-size=N] [--aspect=X] [--threads=N,..] "
        "[--samples=N] [--classes=N]\n");
    return 2;
  }
  Settings s;
  s.data.label_dir = arguments[2];
  s.data.image_dir = arguments[3];
  for (int i = 4; i < count; ++i) {
    std::string value;
    if (takes(arguments[i], "--load-size", value))
      s.preprocess.load_size = std::stoi(value);
    else if (takes(arguments[i], "--crop-size", value))
      s.preprocess.crop_size = std::stoi(value);
    else if (takes(arguments[i], "--aspect", value))
      s.preprocess.aspect_ratio = std::stod(value);
    else if (takes(arguments[i], "--classes", value))
      s.preprocess.label_nc = std::stoi(value);
    else if (takes(arguments[i], "--samples", value))
      s.samples = std::stoll(value);
    else if (takes(arguments[i], "--threads", value)) {
      s.threads.clear();
      std::istringstream list(value);
      for (std::string one; std::getline(list, one, ',');) s.threads.push_back(std::stoi(one));
    } else
      fail("bench_data: there is no option ", arguments[i]);
  }
  what == "list" ? time_list(s) : time_load(s);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
