// Measures arithmetic and read bandwidth with loops that the compiler turns into independent vector instructions.
#include "bench/machine_peak.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <utility>

#include "bench/yardsticks/peak.h"
#include "cuda/context.h"
#include "tensor/error.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"

namespace asap::bench {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kLanes = kVectorBytes / 4;
using FloatVector = float __attribute__((vector_size(kVectorBytes)));
using IntVector = int32_t __attribute__((vector_size(kVectorBytes)));

// Runs f(call) on every thread at once, call = 0, 1, 2, ... for `seconds`, and adds up the threads' best rates in calls
// per second: on a busy machine the best calls are those that nothing interrupted. A call should take about a millisecond.
template <class F>
double calls_per_second(double seconds, const F& f) {
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  double total = 0;
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#pragma omp parallel num_threads(num_threads()) reduction(+ : total)
  {
    double best = 1e30;
    const auto start = Clock::now();
    auto before = start;
    for (int64_t call = 0; Seconds(before - start).count() < seconds && !failed; ++call) {
      try {
        f(call);
      } catch (...) {
#pragma omp critical(asap_machine_peak_error)
        error = std::current_exception();
        failed = true;
      }
      const auto after = Clock::now();
      best = std::min(best, Seconds(after - before).count());
      before = after;
    }
    total += 1 / best;
  }
  if (error) std::rethrow_exception(error);
  return total;
}

// One step of every chain. Constant indices let the chains live in registers.
template <size_t... I>
void multiply_add(FloatVector* chains, FloatVector factor, FloatVector term, std::index_sequence<I...>) {
  ((chains[I] = chains[I] * factor + term), ...);
}

// 12 chains hide the latency of 4 or 5 cycles at two instructions a cycle. Lane l tends to term / (1 - factor) = l + 1, far from
// the denormal numbers in which a chain that decays to 0 ends: with them many processors are a hundred times slower.
double measure_flops() {
  constexpr int kChains = 12;
  constexpr int64_t kRounds = 500000;
  const double rate = calls_per_second(0.3, [](int64_t) {
    FloatVector chains[kChains], factor, term, total{};
    for (int lane = 0; lane < kLanes; ++lane) factor[lane] = 0.999f, term[lane] = 0.001f * static_cast<float>(lane + 1);
    for (int i = 0; i < kChains; ++i) chains[i] = term + static_cast<float>(i);  // differ, so that none is left out
    for (int64_t round = 0; round < kRounds; ++round) {
      multiply_add(chains, factor, term, std::make_index_sequence<kChains>());
    }
    for (int i = 0; i < kChains; ++i) total += chains[i];
    for (int lane = 0; lane < kLanes; ++lane) {
      const float mean = total[lane] / kChains, expected = static_cast<float>(lane + 1);
      ASAP_CHECK(std::abs(mean - expected) < 0.1f * expected, "machine peak: lane ", lane, " came to ", mean, ", expected ",
                 expected);
    }
  });
  return 2.0 * kChains * kLanes * kRounds * rate;
}

// All threads together read `bytes`, each its own part again and again, at most 4 MiB a call.
double measure_read(int64_t bytes) {
  constexpr int kChains = 8;
  constexpr int64_t kStep = kChains * kVectorBytes, kCall = int64_t{4} << 20;
  const int64_t part = bytes / num_threads() / kStep * kStep, chunk = std::min(part, kCall);
  const int64_t chunks = part / chunk, steps = chunk / kStep, passes = kCall / chunk;
  const Tensor buffer = Tensor::full({part / 4 * num_threads()}, 1.0);
  const char* first = reinterpret_cast<const char*>(buffer.data<float>());
  const double rate = calls_per_second(0.3, [=](int64_t call) {
    const auto* mine = reinterpret_cast<const IntVector*>(first + omp_get_thread_num() * part + call % chunks * chunk);
    IntVector chains[kChains] = {}, total{};
    for (int64_t pass = 0; pass < passes; ++pass) {
      for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 8
        for (int i = 0; i < kChains; ++i) chains[i] |= mine[step * kChains + i];
      }
      asm volatile("" : : : "memory");  // every pass reads again
    }
    for (int i = 0; i < kChains; ++i) total |= chains[i];
    volatile int32_t used = total[0];
    (void)used;
  });
  return static_cast<double>(steps * kStep * passes) * rate;
}

}  // namespace

double MachinePeak::bandwidth(double bytes) const {
  double found = read.front().bytes_per_second;
  for (const Bandwidth& level : read) {
    if (level.working_set <= bytes) found = level.bytes_per_second;
  }
  return found;
}

double MachinePeak::seconds(double flop_count, double bytes, Precision precision) const {
  const double rate = precision == Precision::f32 ? flops : precision == Precision::tf32 ? tf32_flops : bf16_flops;
  return std::max(flop_count / rate, bytes / bandwidth(bytes));
}

std::string MachinePeak::str() const {
  std::string text = asap::str(name, ", float32 peak ", flops / 1e9, " GFLOP/s");
  if (bf16_flops > 0) text += asap::str(", tf32 ", tf32_flops / 1e9, ", bf16 ", bf16_flops / 1e9);
  text += ", memory";
  for (const Bandwidth& level : read) {
    if (level.working_set > 0) text += asap::str("  ", level.working_set / 1024, " KiB:");
    text += asap::str(" ", level.bytes_per_second / 1e9, " GB/s");
  }
  return text;
}

MachinePeak measure_machine_peak() {
  MachinePeak peak;
  peak.name = asap::str("this processor, threads ", num_threads());
  peak.flops = measure_flops();
  const int64_t threads = num_threads();
  for (const int64_t bytes : {threads << 14, threads << 19, int64_t{8} << 20, int64_t{256} << 20}) {
    peak.read.push_back({static_cast<double>(bytes), measure_read(bytes)});
  }
  return peak;
}

// Timings begin with an empty cache, so that memory is the one level.
MachinePeak measure_card_peak() {
  const cuda::CardPeak card = cuda::measure_card_peak();
  return {.name = asap::str(cuda::card().name, card.tensor_cores.empty() ? "" : ", tensor cores by ", card.tensor_cores),
          .flops = card.f32_flops,
          .tf32_flops = card.tf32_flops,
          .bf16_flops = card.bf16_flops,
          .read = {{0, card.bytes_per_second}}};
}

}  // namespace asap::bench
