// Table, JSON and chart. Declared in bench_report.h.
#include "bench/kit/bench_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/kit/log_chart.h"
#include "tensor/error.h"

namespace asap::bench {
namespace {

using nlohmann::json;

// Seconds of the fastest built-in variant that computes as exactly; 0 if there is none.
double best_built_in(const std::vector<VariantTiming>& of_row, const VariantTiming& mine) {
  double best = 0;
  for (const VariantTiming& other : of_row) {
    if (other.added || (other.approximate && !mine.approximate)) continue;
    if (best == 0 || other.median() < best) best = other.median();
  }
  return best;
}

template <class... Args>
std::string text(const char* format, Args... args) {
  char buffer[256];
  std::snprintf(buffer, sizeof buffer, format, args...);
  return buffer;
}

}  // namespace

std::string timing_table(std::vector<VariantTiming> of_row) {
  std::sort(of_row.begin(), of_row.end(), [](const auto& a, const auto& b) { return a.median() < b.median(); });
  std::string table = of_row[0].row + "\n" +
                      text("  %-24s %11s %10s %8s %9s %13s\n", "variant", "ms", "GFLOP/s", "GB/s", "roofline", "best built-in");
  for (const VariantTiming& one : of_row) {
    const double seconds = one.median(), best = best_built_in(of_row, one);
    table += text("  %-24s %11.4f %10.1f %8.1f %8.1f%%", (one.variant + (one.added ? " *" : "")).c_str(), 1e3 * seconds,
                  one.flops / seconds / 1e9, one.bytes / seconds / 1e9, 100 * one.roofline_seconds / seconds);
    table += best > 0 ? text(" %12.2fx\n", best / seconds) : "             -\n";
  }
  return table;
}

std::string timings_json(const KernelBenchResult& result) {
  const std::time_t now = std::time(nullptr);
  char date[64] = "";
  std::strftime(date, sizeof date, "%FT%T%z", std::localtime(&now));
  json context{{"date", date},
               {"executable", "asapnet bench"},
               {"host_name", ""},
               {"num_cpus", std::thread::hardware_concurrency()},
               {"mhz_per_cpu", 0},
               {"cpu_scaling_enabled", false},
               {"caches", json::array()},
               {"load_avg", json::array()},
               {"library_build_type", "release"}};
  if (!result.timings.empty()) context["peak"] = json::parse(result.peak.json());
  json entries = json::array();
  int family = 0;
  for (const VariantTiming& one : result.timings) {
    const std::string name = one.row + "/" + one.variant;
    const auto entry = [&](double seconds) {
      return json{{"name", name},
                  {"family_index", family},
                  {"per_family_instance_index", 0},
                  {"run_name", name},
                  {"run_type", "iteration"},
                  {"repetitions", one.seconds.size()},
                  {"threads", 1},
                  {"iterations", 1},
                  {"real_time", 1e3 * seconds},
                  {"cpu_time", 1e3 * seconds},
                  {"time_unit", "ms"},
                  {"GFLOP/s", one.flops / seconds / 1e9},
                  {"GB/s", one.bytes / seconds / 1e9},
                  {"roofline", one.roofline_seconds / seconds}};
    };
    for (size_t i = 0; i < one.seconds.size(); ++i) {
      entries.push_back(entry(one.seconds[i]));
      entries.back()["repetition_index"] = i;
    }
    json median = entry(one.median());
    median["name"] = name + "_median";
    median["run_type"] = "aggregate";
    median["aggregate_name"] = "median";
    median["aggregate_unit"] = "time";
    entries.push_back(median);
    ++family;
  }
  return json{{"context", context}, {"benchmarks", entries}}.dump(1) + "\n";
}

std::string roofline_svg(const KernelBenchResult& result) {
  const double peak = result.peak.flops / 1e9, memory = result.peak.read.back().bytes_per_second / 1e9, corner = peak / memory;
  // A kernel that only moves bytes counts as one operation a call: it stands at the bottom.
  const auto point = [](const VariantTiming& one) {
    const double flops = std::max(one.flops, 1.);
    return LogChart::Point{flops / one.bytes, flops / one.median() / 1e9};
  };
  // Some of the slope is always to be seen.
  std::vector<LogChart::Point> points{{corner / 5, peak / 5}, {corner, peak}};
  for (const VariantTiming& one : result.timings) points.push_back(point(one));
  LogChart chart(str("Roofline: ", result.peak.name, ", ", std::round(peak), " GFLOP/s, ", std::round(memory), " GB/s"), "operations a byte",
                 "GFLOP/s", points);
  const auto [left, right] = std::minmax_element(points.begin(), points.end());
  chart.line({{left->first, left->first * memory}, {corner, peak}, {right->first, peak}}, "black");
  const double bf16 = result.peak.bf16_flops / 1e9;
  const bool any_bf16 = std::any_of(result.timings.begin(), result.timings.end(), [](const auto& one) { return one.of_bf16; });
  if (any_bf16 && bf16 > 0) chart.line({{corner, peak}, {bf16 / memory, bf16}, {right->first, bf16}}, "black", true);
  std::map<std::string, const char*> colours;  // by variant
  for (const VariantTiming& one : result.timings) {
    const auto [place, is_new] = colours.try_emplace(one.variant, LogChart::colour(colours.size()));
    const double radius = one.added ? 7 : 4;
    chart.dot(point(one), place->second, radius, one.row + "/" + one.variant + text(": %.4f ms", 1e3 * one.median()));
    if (is_new) chart.legend(one.variant + (one.added ? " (yours)" : ""), place->second, radius);
  }
  return chart.svg();
}

}  // namespace asap::bench
