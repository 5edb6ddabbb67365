// Verification before timing, and the timing itself. Declared in op_timing.h.
#include "bench/op_timing.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "bench/one_row.h"
#include "bench/verified_row.h"
#include "bench/yardsticks/peak.h"
#include "cuda/context.h"
#include "tensor/precision.h"

namespace asap::bench {
namespace {

using tests::OpCase;

constexpr const char *kNotTaken = "does not take these arguments", *kPercent = "%peak";
bool failed = false;

// The row that is being timed; rows come one after the other, so one is kept.
VerifiedRow& kept_row(const OpCase& row, Device device, DType dtype = DType::f32) {
  static std::optional<VerifiedRow> kept;
  if (!kept || !kept->is(row, device, dtype)) {
    kept.reset();
    release_cached_memory(device);
    kept.emplace(row, device, dtype);
  }
  return *kept;
}

// Mean seconds of one run.
double time_on_cpu(benchmark::State& run, const VerifiedRow& row) {
  double total = 0;
  for (auto _ : run) {
    const auto start = std::chrono::steady_clock::now();
    Variable result = row.row().run(row.inputs());
    benchmark::DoNotOptimize(result);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    run.SetIterationTime(seconds);
    total += seconds;
  }
  return total / static_cast<double>(run.iterations());
}

// By the card's own clock, from an empty cache: the host queues the work while the cache is flushed, so that launches cost
// nothing.
double time_on_card(benchmark::State& run, const VerifiedRow& row) {
  cuda::Timer timer;
  double total = 0;
  for (auto _ : run) {
    cuda::flush_cache();
    timer.start();
    Variable result = row.row().run(row.inputs());
    const double seconds = timer.stop();
    run.SetIterationTime(seconds);
    total += seconds;
  }
  return total / static_cast<double>(run.iterations());
}

void time_row(benchmark::State& run, const OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device,
              const MachinePeak& peak) {
  std::string verdict;
  try {
    verdict = verify(row, slot, variant, device);
  } catch (const Error& error) {
    failed = true;
    return run.SkipWithError(error.what());
  }
  if (verdict.empty()) return run.SkipWithError(kNotTaken);
  VerifiedRow& kept = kept_row(row, device);
  const ForcedVariant forced(slot, variant);
  const ScopedPrecision precision(tests::precision_of(variant));
  const double seconds = device == Device::cpu ? time_on_cpu(run, kept) : time_on_card(run, kept);
  const double bytes = kept.bytes(kept.result_of(slot, variant));
  const double percent =
      100 * peak.seconds(row.flops / saved_multiplications(variant), bytes, tests::precision_of(variant)) / seconds;
  run.SetLabel(verdict);
  run.counters["GFLOP/s"] = row.flops / seconds / 1e9;
  run.counters["GB/s"] = bytes / seconds / 1e9;
  run.counters[kPercent] = percent;
}

// What a row may come to. NVIDIA's convolutions may be Winograd's as well, and do not say so.
double most_percent(const std::string& name) { return name.find("/cudnn") != std::string::npos ? 400 : 100; }

// One line or entry a benchmark, in the format that was asked for: the median of its repetitions, under the plain name.
// Variants that do not take a row have none. The median is what is judged: Google Benchmark wants all repetitions of a row to
// end alike, so none of them may be an error on its own.
class MedianReporter final : public benchmark::BenchmarkReporter {
 public:
  MedianReporter() : shown_by_(benchmark::CreateDefaultDisplayReporter()) {
    is_console_ = dynamic_cast<benchmark::ConsoleReporter*>(shown_by_) != nullptr;
    if (is_console_) shown_by_ = &tabular_;
    if (dynamic_cast<benchmark::JSONReporter*>(shown_by_)) shown_by_ = &json_;  // the default one serves one run
  }
  bool ReportContext(const Context& context) override { return shown_by_->ReportContext(context); }
  void Finalize() override { shown_by_->Finalize(); }
  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      const bool median = run.run_type == Run::RT_Aggregate && run.aggregate_name == "median";
      const bool error = run.error_occurred && run.error_message != kNotTaken && shown.empty();
      if (!median && !error) continue;
      shown.push_back(run);
      shown.back().run_name = {};
      shown.back().run_name.function_name = run.run_name.function_name;
      shown.back().aggregate_name.clear();
      shown.back().run_type = Run::RT_Iteration;
      if (median) judge(shown.back());
    }
    if (!shown.empty()) shown_by_->ReportRuns(shown);
  }

 private:
  void judge(Run& run) const {
    const auto percent = run.counters.find(kPercent);
    if (percent == run.counters.end() || percent->second <= most_percent(run.run_name.function_name)) return;
    failed = true;
    run.error_message = str("runs at ", percent->second.value, " % of the machine's peak: the measurement is wrong");
    run.report_label = "ERROR OCCURRED: " + run.error_message;
    run.error_occurred = !is_console_;  // the console would leave the numbers out
  }

  benchmark::ConsoleReporter tabular_{benchmark::ConsoleReporter::OO_Tabular};
  benchmark::JSONReporter json_;
  benchmark::BenchmarkReporter* shown_by_;
  bool is_console_;
};

}  // namespace

std::string verify(const OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device, DType dtype) {
  return kept_row(row, device, dtype).verify(slot, variant);
}

void print_timing(const OpCase& row, const std::string& variant, DType dtype, int calls, bool verified) {
  KernelSlotBase& slot = *row.slots[0];
  VerifiedRow& kept = kept_row(row, Device::cpu, dtype);
  const ForcedVariant forced(slot, variant.empty() ? slot.forced() : variant);
  const tests::QuietErrors quiet;
  Tensor result = row.run(kept.inputs()).value();
  const std::string ran = slot.last_variant();
  ASAP_CHECK(variant.empty() || ran == variant, row.name, ": ", variant, " ", kNotTaken);
  const std::string verdict = verified ? verify(row, slot, ran, Device::cpu, dtype) : "not compared";
  const double bytes = kept.bytes(result);
  result = {};
  const std::vector<double> milliseconds =
      time_calls(calls, [&] { benchmark::DoNotOptimize(row.run(kept.inputs()).value().raw()); });
  print_row(row.name, milliseconds, {{"variant", ran}, {"compared", verdict}, {"flops", row.flops}, {"bytes", bytes}});
}

void register_timing(const OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device,
                     const MachinePeak& peak) {
  if (variant == "naive" && !times_naive(row, device)) return;
  const std::string place = device == Device::cpu ? "" : str(device, "/");
  benchmark::RegisterBenchmark((place + row.name + "/" + variant).c_str(),
                               [&row, &slot, variant, device, &peak](benchmark::State& run) {
                                 time_row(run, row, slot, variant, device, peak);
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseManualTime()
      ->MinTime(device == Device::cpu ? 0.1 : 0.01)  // a card's own clock needs no long runs, and its time is short
      ->Repetitions(5)
      ->ReportAggregatesOnly(true);
}

int run_timings() {
  failed = false;
  MedianReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  return failed;
}

}  // namespace asap::bench
