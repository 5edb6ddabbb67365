// The report page. Declared in report.h.
#include "train/run/report.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/run/chart.h"
#include "train/run/progress.h"
#include "train/run/run_log.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostGrids = 8;  // embedded sample grids: the latest and earlier ones spread over the run

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2126; --faint: #69727d; --rule: #e3e6ea; --panel: #f7f8fa; --line-1: #2563b0; --line-2: #b4481f; --line-3: #2f7d4f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e6e9ec; --faint: #96a0aa; --rule: #2b3138; --panel: #1c2025; --line-1: #6ea8f0; --line-2: #f0936a; --line-3: #6cc493; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); }
p, figcaption, summary { color: var(--faint); }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0 0; }
.facts div { min-width: 7rem; } .facts dt { font-size: .8rem; color: var(--faint); } .facts dd { margin: 0; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); gap: 1rem; }
.chart { width: 100%; height: auto; background: var(--panel); border-radius: 6px; font-size: 12px; }
.chart text { fill: var(--faint); } .chart .title { fill: var(--ink); font-size: 14px; font-weight: 600; } .chart .last { fill: var(--ink); }
.axes line { stroke: var(--rule); }
figure { margin: 0 0 1.25rem; } figure img { display: block; width: min(100%, 780px); height: auto; border-radius: 4px; }
table { border-collapse: collapse; font-size: .9rem; } td { padding: .2rem 1.5rem .2rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; overflow-wrap: anywhere; }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; } td:nth-child(2) { min-width: 10rem; } th { text-align: left; padding: 1rem 0 .2rem; font-weight: 600; }
)css";

constexpr const char* kIntroduction =
    "<p>Every curve shows all values (pale) and their moving average (bold), whose last value stands at the top right. "
    "GAN, GAN_Feat and "
    "VGG are what the generator minimises; D_Fake and D_real what the discriminator does: while the two are balanced, "
    "neither falls to "
    "zero.</p>";

// The losses by name in the order they first appear, each over its steps.
std::vector<std::pair<std::string, Points>> loss_curves(const std::vector<LogEntry>& log) {
  std::vector<std::pair<std::string, Points>> curves;
  for (const LogEntry& entry : log) {
    for (const auto& [name, value] : entry.losses) {
      auto place = std::find_if(curves.begin(), curves.end(), [&wanted = name](const auto& curve) { return curve.first == wanted; });
      if (place == curves.end()) place = curves.insert(curves.end(), {name, {}});
      place->second.emplace_back(static_cast<double>(entry.step), value);
    }
  }
  return curves;
}

std::string charts(const std::vector<LogEntry>& log) {
  std::string html = "<div class=\"charts\">";
  for (const auto& [name, points] : loss_curves(log)) {
    html += line_chart(points, {.title = name, .colour = name.starts_with("D_") ? "var(--line-2)" : "var(--line-1)"});
  }
  Points rate, seconds;
  for (const LogEntry& entry : log) {
    rate.emplace_back(static_cast<double>(entry.step), entry.lr);
    seconds.emplace_back(static_cast<double>(entry.step), entry.seconds);
  }
  html += line_chart(rate, {.title = "learning rate", .colour = "var(--line-3)", .smoothing = 0});
  html += line_chart(seconds, {.title = "seconds a step", .colour = "var(--line-3)"});
  return html + "</div>";
}

std::string fact(const std::string& name, const std::string& value) {
  return "<div><dt>" + name + "</dt><dd>" + html_escape(value) + "</dd></div>";
}

std::string summary(const std::vector<LogEntry>& log, const ReportFacts& facts) {
  double seconds = 0;
  for (const LogEntry& entry : log) seconds += entry.seconds;
  const LogEntry& last = log.back();
  const asapnet::Config& model = facts.options.model;
  char speed[32];
  std::snprintf(speed, sizeof speed, "%.3g s", seconds / static_cast<double>(log.size()));
  return "<dl class=\"facts\">" + fact("Step", str(last.step, " of ", facts.total_steps)) +
         fact("Epoch", std::to_string(last.epoch)) + fact("Time", duration_text(seconds)) + fact("A step", speed) +
         fact("Data", str(facts.options.train.dataset_mode, ", ", facts.pictures, " pictures")) +
         fact("Picture", size_text(static_cast<int>(model.crop_size), static_cast<int>(model.height()))) +
         fact("Batch", std::to_string(facts.options.train.batchSize)) + "</dl>";
}

// The step in "step_000123.png".
int64_t step_of(const fs::path& file) {
  const std::string name = file.stem().string();
  return std::atoll(name.substr(name.find('_') + 1).c_str());
}

// At most kMostGrids files, newest first, evenly spread.
std::vector<fs::path> chosen_grids(const fs::path& folder) {
  std::vector<fs::path> files, chosen;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == ".png") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  const size_t count = std::min(files.size(), kMostGrids);
  for (size_t i = 0; i < count; ++i) chosen.push_back(files[count < 2 ? 0 : i * (files.size() - 1) / (count - 1)]);
  return chosen;
}

std::string figure(const fs::path& file) {
  const std::string step = std::to_string(step_of(file));
  return "<figure><figcaption>after step " + step +
         ": label, generated, real</figcaption><img alt=\"samples after step " + step +
         "\" src=\"data:image/png;base64," + base64(read_file(file)) + "\"></figure>";
}

std::string samples(const fs::path& run) {
  const std::vector<fs::path> grids = chosen_grids(run / "samples");
  if (grids.empty()) return "";
  std::string html = "<h2>Samples</h2>" + figure(grids.front());
  if (grids.size() == 1) return html;
  html += "<details><summary>Earlier samples</summary>";
  for (size_t i = 1; i < grids.size(); ++i) html += figure(grids[i]);
  return html + "</details>";
}

std::string settings(const Options& options) {
  Options copy = options;
  std::string html = "<h2>Settings</h2><table>";
  std::optional<OptionGroup> group;
  for (const OptionField& field : option_fields(copy)) {
    if (group != field.group) html += str("<tr><th colspan=\"3\">", title(field.group), "</th></tr>");
    group = field.group;
    html += "<tr><td>" + field.key + "</td><td>" + html_escape(to_text(field)) + "</td><td>" + html_escape(field.help) +
            "</td></tr>";
  }
  return html + "</table>";
}

}  // namespace

void write_report(const fs::path& run, const ReportFacts& facts) {
  const std::vector<LogEntry> log = read_log(run / "log.jsonl");
  const std::string name = html_escape(fs::absolute(run).lexically_normal().filename().string());
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>" +
      name + " - ASAPNet training</title><style>" + kStyle + "</style></head><body><h1>ASAPNet training: " + name +
      "</h1>";
  if (!log.empty()) html += summary(log, facts) + samples(run) + "<h2>Losses</h2>" + kIntroduction + charts(log);
  html += settings(facts.options) + "</body></html>\n";
  write_file(run / "report.html", html);
}

}  // namespace asap::train
