// Table, JSON and chart. Declared in bench_report.h.
#include "bench/kit/bench_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

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

std::string escaped(const std::string& words) {
  std::string result;
  for (const char c : words) result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return result;
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
  constexpr double kWidth = 860, kHeight = 520, kLeft = 70, kRight = 250, kTop = 40, kBottom = 50;
  constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"};
  const double memory = result.peak.read.back().bytes_per_second;
  // Whole powers of ten around every point and the roof's corner.
  double low_x = result.peak.flops / memory, high_x = low_x, low_y = result.peak.flops, high_y = low_y;
  for (const VariantTiming& one : result.timings) {
    const double x = std::max(one.flops, 1.) / one.bytes, y = std::max(one.flops, 1.) / one.median();
    low_x = std::min(low_x, x), high_x = std::max(high_x, x), low_y = std::min(low_y, y), high_y = std::max(high_y, y);
  }
  const auto floor10 = [](double v) { return std::floor(std::log10(v)); };
  const double x0 = floor10(low_x), x1 = floor10(high_x) + 1, y0 = floor10(low_y), y1 = floor10(high_y) + 1;
  const auto across = [&](double v) { return kLeft + (std::log10(v) - x0) / (x1 - x0) * (kWidth - kLeft - kRight); };
  const auto down = [&](double v) { return kHeight - kBottom - (std::log10(v) - y0) / (y1 - y0) * (kHeight - kTop - kBottom); };

  std::string svg = text("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" font-family=\"sans-serif\" font-size=\"12\">\n",
                         kWidth, kHeight);
  svg += "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  svg += text("<text x=\"%g\" y=\"22\" font-size=\"15\">Roofline: ", kLeft) + escaped(result.peak.name) +
         text(", %.0f GFLOP/s, %.0f GB/s</text>\n", result.peak.flops / 1e9, memory / 1e9);
  for (double x = x0; x <= x1; ++x) {
    const double at = across(std::pow(10, x));
    svg += text("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\" stroke=\"#dddddd\"/>", at, at, kTop, kHeight - kBottom) +
           text("<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%g</text>\n", at, kHeight - kBottom + 18, std::pow(10, x));
  }
  for (double y = y0; y <= y1; ++y) {
    const double at = down(std::pow(10, y));
    svg += text("<line x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>", kLeft, kWidth - kRight, at, at) +
           text("<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", kLeft - 8, at + 4, std::pow(10, y - 9));
  }
  svg += text("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">operations a byte</text>", (kLeft + kWidth - kRight) / 2, kHeight - 12);
  svg += text("<text transform=\"translate(16 %g) rotate(-90)\" text-anchor=\"middle\">GFLOP/s</text>\n", (kTop + kHeight - kBottom) / 2);
  // The roof: from the left up along the bandwidth, then flat; it begins where it enters the chart.
  const double left = std::max(std::pow(10, x0), std::pow(10, y0) / memory), corner = result.peak.flops / memory;
  svg += text("<polyline fill=\"none\" stroke=\"black\" stroke-width=\"1.5\" points=\"%.1f,%.1f %.1f,%.1f", across(left), down(left * memory),
              across(corner), down(result.peak.flops)) +
         text(" %.1f,%.1f\"/>\n", across(std::pow(10, x1)), down(result.peak.flops));

  std::map<std::string, const char*> colours;  // by variant
  std::map<std::string, bool> added;
  for (const VariantTiming& one : result.timings) {
    const auto [place, is_new] = colours.try_emplace(one.variant, nullptr);
    if (is_new) place->second = kColours[(colours.size() - 1) % std::size(kColours)];
    added[one.variant] |= one.added;
    svg += text("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\" fill-opacity=\"0.75\"><title>", across(std::max(one.flops, 1.) / one.bytes),
                down(std::max(one.flops, 1.) / one.median()), one.added ? 7 : 4, place->second) +
           escaped(one.row + "/" + one.variant) + text(": %.4f ms</title></circle>\n", 1e3 * one.median());
  }
  double line = kTop + 10;
  for (const auto& [variant, colour] : colours) {
    svg += text("<circle cx=\"%g\" cy=\"%g\" r=\"%d\" fill=\"%s\"/><text x=\"%g\" y=\"%g\">", kWidth - kRight + 22, line, added[variant] ? 7 : 4, colour,
                kWidth - kRight + 36, line + 4) +
           escaped(variant) + (added[variant] ? " (yours)" : "") + "</text>\n";
    line += 20;
  }
  return svg + "</svg>\n";
}

}  // namespace asap::bench
