// What the children of `asapnet bench` do: they run the kernels and report each step as a line of JSON. Declared in kernel_bench.h.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <nlohmann/json.hpp>

#include "bench/kit/child.h"
#include "bench/kit/kernel_bench.h"
#include "bench/kit/shape_rows.h"
#include "bench/verified_row.h"
#include "bench/yardsticks/peak.h"
#include "cuda/context.h"
#include "tensor/kernel_library.h"
#include "tensor/threads.h"
#include "tests/check_kernels.h"

namespace asap::bench {
namespace {

using nlohmann::json;
using tests::OpCase;

constexpr int kGoOnInAnother = 4;  // exit code: what was reported stands, the rest wants a new process

// The variants to look at, slot by slot, with those that the libraries added in front.
struct Candidates {
  std::vector<NamedVariant> added;
  std::vector<KernelSlotBase*> slots;

  bool is_added(const KernelSlotBase& slot, Device device, const std::string& variant) const {
    return std::any_of(added.begin(), added.end(), [&](const NamedVariant& other) {
      return other.slot == &slot && other.device == device && other.name == variant;
    });
  }
  std::vector<std::string> variants(const KernelSlotBase& slot, const KernelBenchOptions& options) const {
    std::vector<std::string> all = slot.variants(options.device);
    std::stable_partition(all.begin(), all.end(), [&](const auto& name) { return is_added(slot, options.device, name); });
    if (!options.variants.empty()) {
      std::erase_if(all, [&](const std::string& name) {
        return std::find(options.variants.begin(), options.variants.end(), name) == options.variants.end();
      });
    }
    return all;
  }
};

void check_variants_exist(const Candidates& candidates, const KernelBenchOptions& options) {
  for (const std::string& wanted : options.variants) {
    std::string known;
    bool found = false;
    for (const KernelSlotBase* slot : candidates.slots) {
      for (const std::string& name : slot->variants(options.device)) {
        found |= name == wanted;
        known += " " + name;
      }
    }
    ASAP_CHECK(found, "bench: there is no variant '", wanted, "' on ", options.device, "; there are", known);
  }
}

Candidates load(const KernelBenchOptions& options) {
  ASAP_CHECK(is_available(options.device), "bench: ", options.device, " is not available: ", unavailable_reason(options.device));
  if (options.threads > 0) set_num_threads(options.threads);
  Candidates candidates;
  for (const std::string& library : options.libraries) {
    const std::vector<NamedVariant> added = load_kernel_library(library);
    ASAP_CHECK(!added.empty(), library, ": registered no kernel");
    candidates.added.insert(candidates.added.end(), added.begin(), added.end());
  }
  for (const std::string& slot : options.slots) candidates.slots.push_back(&find_kernel_slot(slot));
  for (const NamedVariant& variant : candidates.added) {
    const bool known = std::find(candidates.slots.begin(), candidates.slots.end(), variant.slot) != candidates.slots.end();
    if (options.slots.empty() && !known) candidates.slots.push_back(variant.slot);
  }
  ASAP_CHECK(!candidates.slots.empty(), "bench: give a --slot, or a --kernel library that adds to one (asapnet kernels lists them)");
  check_variants_exist(candidates, options);
  return candidates;
}

bool is_wanted(const OpCase& row, const KernelBenchOptions& options) { return row.name.find(options.rows) != std::string::npos; }
// "conv2d_forward=mine": what variants go by between parent and children, since slots may have variants of one name.
std::string full_name(const KernelSlotBase& slot, const std::string& variant) { return slot.name() + "=" + variant; }
bool is_left_out(const std::string& name, const KernelBenchWork& work) {
  return std::find(work.without.begin(), work.without.end(), name) != work.without.end();
}

void list(const Candidates& candidates, const KernelBenchOptions& options) {
  for (KernelSlotBase* slot : candidates.slots) {
    std::vector<std::string> added;
    for (const std::string& variant : slot->variants(options.device)) {
      if (candidates.is_added(*slot, options.device, variant)) added.push_back(variant);
    }
    report_line(json{{"slot", slot->name()}, {"variants", candidates.variants(*slot, options)}, {"added", added}}.dump());
  }
}

// Compares what a library added, and the built-in variants where they are named, or where there is nothing else to do.
void verify(const Candidates& candidates, const KernelBenchOptions& options, const KernelBenchWork& work) {
  int item = 0;
  for (KernelSlotBase* slot : candidates.slots) {
    std::vector<std::string> variants = candidates.variants(*slot, options);
    std::erase_if(variants, [&](const std::string& variant) {
      const bool wanted = !options.variants.empty() || (options.verify_only && candidates.added.empty());
      return !wanted && !candidates.is_added(*slot, options.device, variant);
    });
    for (const tests::KernelCheck& check : tests::kernel_checks(*slot, variants, options.device)) {
      if (!is_wanted(*check.row, options) || item++ < work.from) continue;
      const std::string name = full_name(*slot, check.variant), doing = name + " on " + check.name();
      if (is_left_out(name, work)) continue;
      report_line(json{{"item", item - 1}, {"doing", doing}, {"name", name}}.dump());
      json line = json::object({{"name", name}});
      try {
        const tests::CheckResult result = tests::run_check(check);
        line["ran"] = result.ran;
        if (!result.passed()) line["text"] = result.text(check);
      } catch (const std::exception& error) {
        line["text"] = doing + ": " + error.what();
      }
      report_line(line.dump());
      // A card's context is of no more use behind a fault.
      if (line.contains("text") && options.device == Device::cuda) std::exit(kGoOnInAnother);
    }
  }
}

// The large rows of the table or the shapes that were asked for.
std::deque<OpCase> rows_to_time(const Candidates& candidates, const KernelBenchOptions& options) {
  std::deque<OpCase> rows;
  for (KernelSlotBase* slot : candidates.slots) {
    for (const std::string& shape : options.shapes) rows.push_back(row_of_shape(*slot, shape));
    if (!options.shapes.empty()) continue;
    for (const OpCase& row : tests::op_cases()) {
      if (row.large && row.slots[0] == slot && is_wanted(row, options)) rows.push_back(row);
    }
  }
  ASAP_CHECK(!rows.empty(), "bench: there is no row to time", options.rows.empty() ? str("; give a --shape") : str(" with '", options.rows, "' in its name"));
  return rows;
}

// Goes through more memory than the last-level cache holds.
void flush_cpu_caches() {
  static std::vector<char> memory(size_t{256} << 20);
  for (size_t i = 0; i < memory.size(); i += 64) ++memory[i];
}

double time_once(VerifiedRow& row, const KernelBenchOptions& options) {
  if (options.device == Device::cuda) {
    static cuda::Timer timer;
    if (!options.warm) cuda::flush_cache();
    timer.start();
    const Variable result = row.row().run(row.inputs());
    return timer.stop();
  }
  if (!options.warm) flush_cpu_caches();
  const auto start = std::chrono::steady_clock::now();
  const Variable result = row.row().run(row.inputs());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void time_row(const OpCase& op, const Candidates& candidates, const KernelBenchOptions& options, const KernelBenchWork& work) {
  KernelSlotBase& slot = *op.slots[0];
  VerifiedRow row(op, options.device, options.dtype);
  struct Timed {
    std::string variant, verdict;
    std::vector<double> seconds = {};
  };
  const auto doing = [&](const std::string& variant) {
    const std::string name = full_name(slot, variant);
    report_line(json{{"doing", name + " on " + op.name}, {"name", name}}.dump());
  };
  std::vector<Timed> timed;
  for (const std::string& variant : candidates.variants(slot, options)) {
    if (is_left_out(full_name(slot, variant), work) || (variant == "naive" && !times_naive(op, options.device))) continue;
    doing(variant);
    try {
      const std::string verdict = row.verify(slot, variant);
      if (!verdict.empty()) timed.push_back({variant, verdict});
    } catch (const std::exception& error) {
      report_line(json{{"name", full_name(slot, variant)}, {"text", slot.name() + ": " + error.what()}}.dump());
    }
  }
  constexpr double kLongest = 6;  // seconds that a row may take once every variant has run three times
  double total = 0;
  for (int round = -1; round < options.rounds && (round < 3 || total < kLongest); ++round) {  // the first does not count
    for (Timed& one : timed) {
      doing(one.variant);
      const ForcedVariant forced(slot, one.variant);
      const ScopedPrecision precision(tests::precision_of(one.variant));
      const tests::QuietErrors quiet;  // of a variant that runs on copies
      const double seconds = time_once(row, options);
      if (round >= 0) one.seconds.push_back(seconds);
      total += seconds;
    }
  }
  const bool of_bf16 = std::any_of(row.inputs().begin(), row.inputs().end(), [](const Variable& x) { return x.dtype() == DType::bf16; });
  for (const Timed& one : timed) {
    report_line(json{{"name", full_name(slot, one.variant)},
                     {"slot", slot.name()},
                     {"row", op.name},
                     {"variant", one.variant},
                     {"verdict", one.verdict},
                     {"added", candidates.is_added(slot, options.device, one.variant)},
                     {"seconds", one.seconds},
                     {"flops", op.flops},
                     {"bf16", of_bf16},
                     {"saved", saved_multiplications(one.variant)},
                     {"bytes", row.bytes(row.result_of(slot, one.variant))}}
                    .dump());
  }
}

}  // namespace

void work_for_bench(const KernelBenchOptions& options, const KernelBenchWork& work) {
  try {
    const Candidates candidates = load(options);
    if (work.stage == "list") list(candidates, options);
    if (work.stage == "verify") verify(candidates, options, work);
    if (work.stage != "time") return;
    const std::deque<OpCase> rows = rows_to_time(candidates, options);
    for (size_t item = static_cast<size_t>(work.from); item < rows.size(); ++item) {
      report_line(json{{"item", item}, {"row", rows[item].name}}.dump());
      time_row(rows[item], candidates, options, work);
    }
  } catch (const Error& error) {
    report_line(json::object({{"error", error.what()}}).dump());
  }
}

}  // namespace asap::bench
