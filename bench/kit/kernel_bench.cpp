// The parent of `asapnet bench`: sends children to work and collects what they report. Declared in kernel_bench.h.
#include "bench/kit/kernel_bench.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/kit/bench_report.h"
#include "bench/kit/child.h"
#include "tensor/threads.h"
#include "tests/op_cases.h"

namespace asap::bench {
namespace {

using nlohmann::json;

// What one variant came to on the table's small rows.
struct Comparisons {
  int passed = 0, not_taken = 0, failed = 0;
};

class Bench {
 public:
  explicit Bench(const KernelBenchOptions& options) : options_(options) {}

  KernelBenchResult run() {
    list();
    verify();
    if (!options_.verify_only) time();
    return std::move(result_);
  }

 private:
  // Runs a stage in as many children as it takes. `line` gets what is neither an item nor an error.
  void run_stage(const std::string& stage, const std::function<void(const json&)>& line) {
    KernelBenchWork work{.stage = stage};
    if (stage == "time") work.without.assign(wrong_.begin(), wrong_.end());  // what is wrong has no speed
    for (;;) {
      std::string doing, name, error;
      bool waiting = false;  // for the result of what it is doing
      int item = work.from - 1;
      const ChildEnd end = run_child(worker_arguments(options_, work), options_.patience, [&](const std::string& text) {
        const json told = json::parse(text);
        if (told.contains("error")) {
          error = told["error"];
          return;
        }
        if (told.contains("item")) item = told["item"];
        if (told.contains("doing")) {
          doing = told["doing"];
          name = told["name"];
        }
        waiting = told.contains("doing");
        if (!waiting) line(told);
      });
      ASAP_CHECK(error.empty(), error);
      if (end.ok) return;
      ASAP_CHECK(!doing.empty(), "bench: the kernels ", end.how, " while the libraries were loaded");
      if (waiting) {
        ++counts_[name].failed;
        fail_variant(name, doing + ": " + end.how);
      }
      // Behind a crash while rows are timed, the row is done again without the variant.
      const bool again = stage == "time" && waiting;
      if (again) work.without.push_back(name);
      work.from = again ? item : item + 1;
    }
  }

  void fail_variant(const std::string& name, const std::string& text) {
    std::cout << "  WRONG " << text << std::endl;
    result_.failures.push_back(text);
    wrong_.insert(name);
  }

  void list() {
    run_stage("list", [&](const json& told) {
      std::cout << told["slot"].get<std::string>() << " on " << str(options_.device) << ":";
      for (const std::string variant : told["variants"]) {
        const bool added = std::find(told["added"].begin(), told["added"].end(), variant) != told["added"].end();
        std::cout << " " << variant << (added ? "*" : "");
        any_added_ |= added;
      }
      std::cout << (any_added_ ? "    (*: from the library)" : "") << std::endl;
    });
  }

  void verify() {
    run_stage("verify", [&](const json& told) {
      if (!told.contains("name")) return;
      const std::string name = told["name"];
      if (told.contains("text")) {
        ++counts_[name].failed;
        return fail_variant(name, told["text"]);
      }
      ++(told["ran"].get<bool>() ? counts_[name].passed : counts_[name].not_taken);
    });
    for (const auto& [name, count] : counts_) {
      std::cout << name << ": " << count.passed << " comparisons with the definition passed, " << count.failed << " failed; "
                << count.not_taken << " calls it does not take" << std::endl;
      if (count.passed + count.failed > 0) continue;
      fail_variant(name, name + ": takes no row of the table, so nothing is known of its values");
    }
  }

  void time() {
    result_.peak = options_.device == Device::cpu ? measure_machine_peak() : measure_card_peak();
    // From flushed caches, main memory is the one level.
    if (options_.device == Device::cpu && !options_.warm) result_.peak.read = {{0, result_.peak.read.back().bytes_per_second}};
    std::cout << "\n" << result_.peak.str() << std::endl;
    std::vector<VariantTiming> of_row;
    const auto finish_row = [&] {
      if (!of_row.empty()) std::cout << "\n" << timing_table(of_row) << std::flush;
      result_.timings.insert(result_.timings.end(), of_row.begin(), of_row.end());
      of_row.clear();
    };
    run_stage("time", [&](const json& told) {
      if (!told.contains("name")) return finish_row();
      if (told.contains("text")) return fail_variant(told["name"], told["text"]);
      VariantTiming timing{.slot = told["slot"], .row = told["row"], .variant = told["variant"], .added = told["added"]};
      const Precision precision = told["bf16"] ? Precision::bf16 : tests::precision_of(timing.variant);
      timing.seconds = told["seconds"].get<std::vector<double>>();
      timing.flops = told["flops"];
      timing.bytes = told["bytes"];
      timing.approximate = tests::precision_of(timing.variant) != Precision::f32;
      timing.of_bf16 = precision == Precision::bf16;
      timing.roofline_seconds = result_.peak.seconds(timing.flops / told["saved"].get<double>(), timing.bytes, precision);
      of_row.push_back(timing);
    });
    finish_row();
  }

  const KernelBenchOptions& options_;
  KernelBenchResult result_;
  std::map<std::string, Comparisons> counts_;  // by name: "slot=variant"
  std::set<std::string> wrong_;                // names
  bool any_added_ = false;
};

}  // namespace

double median(std::vector<double> samples) {
  std::nth_element(samples.begin(), samples.begin() + std::ssize(samples) / 2, samples.end());
  return samples[samples.size() / 2];
}

KernelBenchResult bench_kernels(const KernelBenchOptions& options) {
  if (options.threads > 0) set_num_threads(options.threads);
  return Bench(options).run();
}

std::vector<std::string> worker_arguments(const KernelBenchOptions& options, const KernelBenchWork& work) {
  std::vector<std::string> arguments{"bench", "--worker", work.stage, "--from", str(work.from), "--device", str(options.device),
                                     "--dtype", str(options.dtype), "--threads", str(options.threads), "--rounds", str(options.rounds)};
  const auto add = [&](const char* flag, const std::vector<std::string>& values) {
    for (const std::string& value : values) {
      arguments.emplace_back(flag);
      arguments.push_back(value);
    }
  };
  add("--kernel", options.libraries);
  add("--slot", options.slots);
  add("--variants", options.variants);
  add("--shape", options.shapes);
  add("--without", work.without);
  if (!options.rows.empty()) add("--rows", {options.rows});
  if (options.warm) arguments.emplace_back("--warm");
  if (options.verify_only) arguments.emplace_back("--verify-only");
  return arguments;
}

}  // namespace asap::bench
