// Synthetic facades as files: base/cmp_bNNNN.jpg and .png with the split lists. See synth.h; how they are made: scene.h.
#include "train/synth/synth.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tensor/error.h"
#include "train/data/list_facades.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"
#include "train/synth/scene.h"

namespace asap::train {
namespace {

constexpr int kClasses = 13;

void write_pair(const std::filesystem::path& base, int number, const SynthOptions& options) {
  const SyntheticFacade facade = make_synthetic_facade(options.size, options.seed, number, options.same_style);
  const std::string name = cmp_name(number);
  write_jpeg(base / (name + ".jpg"), facade.photo, 92);
  write_label_png(base / (name + ".png"), facade.label, label_palette(kClasses));
}

void write_names(const std::filesystem::path& file, int first, int last) {
  std::string text;
  for (int i = first; i <= last; ++i) text += cmp_name(i) + "\n";
  write_file(file, text);
}

void check_nothing_there(const std::filesystem::path& folder, int count) {
  std::vector<std::filesystem::path> files{folder / "split_train.txt", folder / "split_test.txt"};
  for (int i = 1; i <= count; ++i) {
    for (const char* extension : {".jpg", ".png"}) files.push_back(folder / "base" / (cmp_name(i) + extension));
  }
  for (const auto& file : files) {
    ASAP_CHECK(!is_there(file), file.string(), " is there already; synth writes over nothing: choose another --out");
  }
}

// Runs work(1) .. work(count) on `threads` threads; rethrows the first error after all have stopped.
template <class Work>
void run_parallel(int count, int threads, const Work& work) {
  std::atomic<int> next = 1;
  std::mutex mutex;
  std::exception_ptr error;
  const auto loop = [&] {
    for (int i = next++; i <= count; i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        next = count + 1;
      }
    }
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < std::min(threads, count); ++t) others.emplace_back(loop);
  loop();
  others.clear();  // joins
  if (error) std::rethrow_exception(error);
}

}  // namespace

SyntheticFacade make_synthetic_facade(int size, uint64_t seed, int64_t index, bool same_style) {
  ASAP_CHECK(size >= 32 && size <= 2048, "make_synthetic_facade: expected a size from 32 to 2048, got ", size);
  const synth::Scene scene = synth::plan_facade(size, seed, index, same_style);
  return {synth::label_map(scene), synth::light_up(synth::paint(scene), scene.light)};
}

void write_synthetic_facades(const std::filesystem::path& folder, const SynthOptions& options) {
  ASAP_CHECK(options.count >= 1 && options.count <= 9999, "write_synthetic_facades: expected a count from 1 to 9999, got ",
             options.count);
  ASAP_CHECK(options.test_share >= 0 && options.test_share <= 1,
             "write_synthetic_facades: expected a test_share from 0 to 1, got ", options.test_share);
  ASAP_CHECK(options.threads >= 0, "write_synthetic_facades: expected a number of threads, or 0 for all, got ", options.threads);
  check_nothing_there(folder, options.count);
  const auto base = folder / "base";
  make_folder(base);
  const int threads = options.threads > 0 ? options.threads : int(std::max(1u, std::thread::hardware_concurrency()));
  run_parallel(options.count, threads, [&](int i) { write_pair(base, i, options); });
  const int tests = int(options.test_share * options.count + 0.5);
  write_names(folder / "split_test.txt", 1, tests);
  write_names(folder / "split_train.txt", tests + 1, options.count);
}

}  // namespace asap::train
