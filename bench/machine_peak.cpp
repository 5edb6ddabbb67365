// Measures arithmetic and read bandwidth with loops in the widest vectors that the processor has (Highway compiles this file
// once for each instruction set), and bf16 with the product that the kernels stand on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/machine_peak.cpp"
#include "bench/machine_peak.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "bench/yardsticks/peak.h"
#include "cuda/context.h"
#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/targets.h"
#include "tensor/error.h"
#include "tensor/tensor.h"
#include "tensor/threads.h"
// After what it does not concern:
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace asap::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::ScalableTag<int32_t>;

constexpr int kChains = 12;
constexpr int kReadChains = 8;

// One step of every chain. Constant indices let the chains live in registers.
template <class V, size_t... I>
HWY_INLINE void multiply_add(V* chains, V factor, V term, std::index_sequence<I...>) {
  ((chains[I] = hn::MulAdd(chains[I], factor, term)), ...);
}

// 12 chains hide the latency of 4 or 5 cycles at two instructions a cycle. Lane l tends to term / (1 - factor) = l + 1, far from
// the denormal numbers in which a chain that decays to 0 ends: with them many processors are a hundred times slower.
// Returns how many operations that was.
double multiply_adds(int64_t rounds) {
  const FloatTag d;
  const auto factor = hn::Set(d, 0.999f), term = hn::Mul(hn::Set(d, 0.001f), hn::Iota(d, 1));
  hn::Vec<FloatTag> chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = hn::Add(term, hn::Set(d, static_cast<float>(i)));  // differ: none is left out
  for (int64_t round = 0; round < rounds; ++round) multiply_add(chains, factor, term, std::make_index_sequence<kChains>());
  auto total = chains[0];
  for (int i = 1; i < kChains; ++i) total = hn::Add(total, chains[i]);
  std::vector<float> lanes(hn::Lanes(d));
  hn::StoreU(total, d, lanes.data());
  for (size_t lane = 0; lane < lanes.size(); ++lane) {
    const float mean = lanes[lane] / kChains, expected = static_cast<float>(lane + 1);
    ASAP_CHECK(std::abs(mean - expected) < 0.1f * expected, "machine peak: lane ", lane, " came to ", mean, ", expected ",
               expected);
  }
  return 2.0 * kChains * static_cast<double>(lanes.size()) * static_cast<double>(rounds);
}

// Reads `bytes`, a multiple of kReadStep, so many times over.
void read_again(const char* from, int64_t bytes, int64_t passes) {
  const IntTag d;
  const auto* at = reinterpret_cast<const int32_t*>(from);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), step = kReadChains * lanes, count = bytes / 4;
  hn::Vec<IntTag> chains[kReadChains];
  for (auto& chain : chains) chain = hn::Zero(d);
  for (int64_t pass = 0; pass < passes; ++pass) {
    for (int64_t i = 0; i < count; i += step) {
#pragma GCC unroll 8
      for (int k = 0; k < kReadChains; ++k) chains[k] = hn::Or(chains[k], hn::LoadU(d, at + i + k * lanes));
    }
    asm volatile("" : : : "memory");  // every pass reads again
  }
  for (int k = 1; k < kReadChains; ++k) chains[0] = hn::Or(chains[0], chains[k]);
  volatile int32_t used = hn::GetLane(chains[0]);
  (void)used;
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::bench {
namespace {

HWY_EXPORT(multiply_adds);
HWY_EXPORT(read_again);

constexpr int64_t kReadStep = 512;  // eight of the widest vectors

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

double measure_flops() {
  constexpr int64_t kRounds = 500000;
  static std::atomic<double> operations;
  const double rate = calls_per_second(0.3, [](int64_t) { operations = HWY_DYNAMIC_DISPATCH(multiply_adds)(kRounds); });
  return operations * rate;
}

// The block product on operands that stay in the first-level cache (42 KiB): 20 taps that read the same pixels.
double measure_bf16_flops() {
  constexpr int64_t kRuns = 20, kBlock = cpu::kProductRows * cpu::kProductDepth, kPairs = cpu::kProductDepth / 2;
  constexpr int kProducts = 1000;
  const std::vector<int64_t> offsets(kRuns, 0);
  const double rate = calls_per_second(0.3, [&](int64_t) {
    struct alignas(64) Operands {
      bf16 a[kRuns * kBlock];
      cpu::bf16_pair b[kPairs * cpu::kProductColumns];
      float c[cpu::kProductRows * cpu::kProductColumns];
    };
    static thread_local Operands at;
    const cpu::ScopedTiles tiles;
    for (bf16& a : at.a) a = bf16(0.5f);
    for (cpu::bf16_pair& b : at.b) b = {bf16(0.25f), bf16(0.25f)};
    for (int i = 0; i < kProducts; ++i) {
      cpu::bf16_product({.runs = kRuns, .steps = 1, .a = at.a, .offsets = offsets.data(),
                         .b = {at.b, at.b + cpu::kTileColumns}, .row_step = cpu::kProductColumns, .c = at.c});
    }
    constexpr float kExpected = kRuns * cpu::kProductDepth * 0.125f;
    ASAP_CHECK(at.c[0] == kExpected, "machine peak: a product of bf16 came to ", at.c[0], ", expected ", kExpected);
  });
  return 2.0 * kProducts * kRuns * kBlock * cpu::kProductColumns * rate;
}

// All threads together read `bytes`, each its own part again and again, at most 4 MiB a call.
double measure_read(int64_t bytes) {
  constexpr int64_t kCall = int64_t{4} << 20;
  const int64_t part = bytes / num_threads() / kReadStep * kReadStep, chunk = std::min(part, kCall);
  const int64_t chunks = part / chunk, passes = kCall / chunk;
  const Tensor buffer = Tensor::full({part / 4 * num_threads()}, 1.0);
  const char* first = reinterpret_cast<const char*>(buffer.data<float>());
  const double rate = calls_per_second(0.3, [=](int64_t call) {
    HWY_DYNAMIC_DISPATCH(read_again)(first + omp_get_thread_num() * part + call % chunks * chunk, chunk, passes);
  });
  return static_cast<double>(chunk * passes) * rate;
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
  const double units = precision == Precision::f32 ? flops : precision == Precision::tf32 ? tf32_flops : bf16_flops;
  const double rate = std::max(units, flops);  // a processor without products of bf16 does them in f32
  return std::max(flop_count / rate, bytes / bandwidth(bytes));
}

std::string MachinePeak::str() const {
  std::string text = asap::str(name, ", float32 peak ", flops / 1e9, " GFLOP/s");
  if (tf32_flops > 0) text += asap::str(", tf32 ", tf32_flops / 1e9);
  if (bf16_flops > 0) text += asap::str(", bf16 ", bf16_flops / 1e9);
  text += ", memory";
  for (const Bandwidth& level : read) {
    if (level.working_set > 0) text += asap::str("  ", level.working_set / 1024, " KiB:");
    text += asap::str(" ", level.bytes_per_second / 1e9, " GB/s");
  }
  return text;
}

std::string MachinePeak::json() const {
  nlohmann::json levels = nlohmann::json::array();
  for (const Bandwidth& level : read) levels.push_back({level.working_set / 1024, level.bytes_per_second / 1e9});
  return nlohmann::json{{"float32_gflops", flops / 1e9}, {"bf16_gflops", bf16_flops / 1e9}, {"read_kib_gbs", levels}}.dump();
}

MachinePeak measure_machine_peak() {
  MachinePeak peak;
  peak.name = asap::str("this processor, isa ", cpu::name(cpu::isa()), ", threads ", num_threads());
  peak.flops = measure_flops();
  if (cpu::has_bf16_products()) peak.bf16_flops = measure_bf16_flops();
  const int64_t threads = num_threads();
  // Half of a first-level cache and more than it; where a second level is of 256 KiB or more, the next is in it.
  for (const int64_t bytes : {threads << 14, threads * 192 << 10, int64_t{8} << 20, int64_t{256} << 20}) {
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
#endif  // HWY_ONCE
