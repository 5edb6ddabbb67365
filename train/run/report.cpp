// The report page. Declared in report.h.
#include "train/run/report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <string_view>

#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/run/chart.h"
#include "train/run/judge.h"
#include "train/run/progress.h"

namespace asap::train {

std::string_view report_css();  // cmake/embed.cmake
std::string_view report_js();

namespace {

namespace fs = std::filesystem;

constexpr const char* kIntroduction =
    "<p>Every curve shows all values (pale) and their moving average (bold). GAN, GAN_Feat and VGG are what the generator "
    "minimises; D_Fake and D_real what the discriminator does: while the two are balanced, neither falls to zero.</p>";

// What the page is made of.
struct Page {
  const std::vector<RecordedRun>& runs;
  ReportOptions options;
  std::vector<std::string> names;            // of the runs
  std::vector<std::vector<double>> seconds;  // of each run, since its start, by entry of its log
  bool many = false;
};

// As few last parts of the paths as tell them apart.
std::vector<std::string> names_of(const std::vector<RecordedRun>& runs) {
  std::vector<std::string> names;
  for (size_t parts = 1; parts < 16; ++parts) {
    names.clear();
    for (const RecordedRun& run : runs) {
      const fs::path path = (fs::absolute(run.folder) / "").lexically_normal().parent_path();
      auto begin = path.end();
      for (size_t i = 0; i < parts && begin != path.begin(); ++i) --begin;
      fs::path name;
      for (; begin != path.end(); ++begin) name /= *begin;
      names.push_back(name.string());
    }
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) break;
  }
  return names;
}

Page page_of(const std::vector<RecordedRun>& runs, const ReportOptions& options) {
  Page page{.runs = runs, .options = options, .names = names_of(runs), .seconds = {}, .many = runs.size() > 1};
  for (const RecordedRun& run : runs) {
    double sum = 0;
    auto& seconds = page.seconds.emplace_back();
    for (const LogEntry& entry : run.log) seconds.push_back(sum += entry.seconds);
  }
  return page;
}

std::string swatch(size_t run) {
  return str("<span class=\"swatch", run < kRunColours ? "" : " dashed", "\" style=\"--c:", run_colour(run), "\"></span>");
}

// ---- Curves ----

// Something that was measured along each run.
struct Quantity {
  std::string name;
  std::vector<Points> points;  // over steps, of each run; empty where it was not measured
};

// The quantities by name in the order in which they first appear. `values(entry)` are those of an entry of the log, or of
// the scores.
template <class Entries, class Values>
std::vector<Quantity> quantities(const std::vector<RecordedRun>& runs, Entries entries, Values values) {
  std::vector<Quantity> found;
  for (size_t run = 0; run < runs.size(); ++run) {
    for (const auto& entry : runs[run].*entries) {
      for (const auto& [name, value] : values(entry)) {
        if (!std::isfinite(value)) continue;  // a score that does not exist
        auto place =
            std::find_if(found.begin(), found.end(), [&wanted = name](const Quantity& q) { return q.name == wanted; });
        if (place == found.end()) place = found.insert(found.end(), {name, std::vector<Points>(runs.size())});
        place->points[run].emplace_back(static_cast<double>(entry.step), value);
      }
    }
  }
  return found;
}

std::vector<Quantity> score_quantities(const Page& page) {
  return quantities(page.runs, &RecordedRun::scores, [](const ScoreEntry& entry) { return entry.scores; });
}
std::vector<Quantity> loss_quantities(const Page& page) {
  return quantities(page.runs, &RecordedRun::log, [](const LogEntry& entry) { return entry.losses; });
}
std::vector<Quantity> other_quantities(const Page& page) {
  return quantities(page.runs, &RecordedRun::log, [](const LogEntry& entry) {
    return asapnet::LossValues{{"learning rate", entry.lr}, {"seconds a step", entry.seconds}};
  });
}

// Where the best value is, if one is better than another.
std::optional<size_t> best_of(const Points& points, const std::string& score) {
  const std::optional<bool> larger = larger_is_better(score);
  if (!larger) return std::nullopt;
  const auto place = std::max_element(points.begin(), points.end(), [&](const auto& a, const auto& b) {
    return *larger ? a.second < b.second : a.second > b.second;
  });
  return static_cast<size_t>(place - points.begin());
}

// The x axis of time.
struct TimeUnit {
  const char *name, *names;
  double seconds;
};

TimeUnit time_unit(const Page& page) {
  double longest = 0;
  for (const auto& seconds : page.seconds) longest = std::max(longest, seconds.back());
  return longest < 7200 ? TimeUnit{"minute", "minutes", 60} : TimeUnit{"hour", "hours", 3600};
}

Points over_time(const Points& over_steps, const RecordedRun& run, const std::vector<double>& seconds,
                 const TimeUnit& unit) {
  Points points;
  for (const auto& [x, y] : over_steps) {
    const auto step = static_cast<int64_t>(x);
    const auto entry = std::lower_bound(run.log.begin(), run.log.end() - 1, step,
                                        [](const LogEntry& each, int64_t wanted) { return each.step < wanted; });
    points.emplace_back(seconds[static_cast<size_t>(entry - run.log.begin())] / unit.seconds, y);
  }
  return points;
}

enum class Axis { step, time };
enum class Kind { score, loss };

std::string chart(const Page& page, const Quantity& quantity, Kind kind, Axis axis) {
  const TimeUnit unit = time_unit(page);
  std::vector<Series> series;
  for (size_t run = 0; run < page.runs.size(); ++run) {
    Points points = quantity.points[run];
    if (points.empty()) continue;
    if (axis == Axis::time) points = over_time(points, page.runs[run], page.seconds[run], unit);
    series.push_back({.points = points, .name = page.names[run], .run = run});
    if (kind == Kind::score) series.back().best = best_of(points, quantity.name);
  }
  return line_chart(series, {.title = quantity.name,
                             .x_name = axis == Axis::step ? "step" : unit.name,
                             .whole_x = axis == Axis::step,
                             .smoothing = kind == Kind::loss ? page.options.smoothing : 0});
}

std::string charts(const Page& page, const std::vector<Quantity>& all, Kind kind) {
  std::string html;
  for (const Axis axis : {Axis::step, Axis::time}) {
    if (axis == Axis::time && !page.many) continue;
    html += str("<div class=\"charts ", axis == Axis::step ? "by-step" : "by-time", "\">");
    for (const Quantity& quantity : all) html += chart(page, quantity, kind, axis);
    html += "</div>";
  }
  return html;
}

std::string curves(const Page& page) {
  const std::vector<Quantity> scores = score_quantities(page);
  std::string html;
  if (!scores.empty())
    html += "<h2>Scores</h2><p>Numbers of asapnet evaluate along the training; a ring marks the best.</p>" +
            charts(page, scores, Kind::score);
  html += std::string("<h2>Losses</h2>") + kIntroduction + charts(page, loss_quantities(page), Kind::loss);
  return html + "<h2>Pace</h2>" + charts(page, other_quantities(page), Kind::loss);
}

// ---- Samples ----

// Up to `most` of the steps of which some run has samples, evenly spread.
std::vector<int64_t> sampled_steps(const std::vector<RecordedRun>& runs, size_t most) {
  std::set<int64_t> all;
  for (const RecordedRun& run : runs) {
    for (const SampleGrid& grid : run.samples) all.insert(grid.step);
  }
  const std::vector<int64_t> steps(all.begin(), all.end());
  if (steps.size() <= most) return steps;
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < most; ++i) chosen.push_back(steps[i * (steps.size() - 1) / (most - 1)]);
  return chosen;
}

// The grids of one run nearest to the steps; the last one shows.
std::string figure(const Page& page, size_t run, const std::vector<int64_t>& steps) {
  const std::vector<SampleGrid>& grids = page.runs[run].samples;
  std::set<const SampleGrid*> nearest;  // which lie by step
  for (const int64_t step : steps) {
    nearest.insert(&*std::min_element(grids.begin(), grids.end(), [step](const SampleGrid& a, const SampleGrid& b) {
      return std::abs(a.step - step) < std::abs(b.step - step);
    }));
  }
  const std::string name =
      page.many ? swatch(run) + "<b>" + html_escape(page.names[run]) + "</b>" : "label, generated, real";
  std::string html = str("<figure class=\"run-", run, "\"><figcaption>", name, "<span>after step ",
                         (*nearest.rbegin())->step, "</span></figcaption>");
  for (const SampleGrid* grid : nearest)
    html += str("<img", grid == *nearest.rbegin() ? " class=\"shown\"" : "", " data-step=\"", grid->step,
                "\" alt=\"samples of ", html_escape(page.names[run]), " after step ", grid->step,
                "\" src=\"data:image/png;base64,", base64(read_file(grid->file)), "\">");
  return html + "</figure>";
}

std::string samples(const Page& page) {
  constexpr size_t kMostGrids = 32;  // embedded in a page of several runs
  const size_t most = std::clamp<size_t>(kMostGrids / page.runs.size(), 3, 8);
  const std::vector<int64_t> steps = sampled_steps(page.runs, most);
  if (steps.empty()) return "";
  std::string list;
  for (const int64_t step : steps) list += str(list.empty() ? "" : " ", step);
  std::string html =
      str("<h2>Samples</h2>", page.many ? "<p>Label, generated, real; of each run those nearest to the step.</p>" : "",
          "<div class=\"moment\" hidden data-steps=\"", list,
          "\"><input type=\"range\" min=\"0\" aria-label=\"step of the samples\"><output></output></div><div "
          "class=\"samples\">");
  for (size_t run = 0; run < page.runs.size(); ++run) {
    if (!page.runs[run].samples.empty()) html += figure(page, run, steps);
  }
  return html + "</div>";
}

// ---- What the runs came to ----

// A line of a table with a cell for each run; the best one is bold.
struct Row {
  std::string name;
  std::vector<std::string> cells;
  std::optional<size_t> best = {};
};

std::string with_unit(double number, const char* unit) { return short_number(number) + unit; }

std::vector<Row> result_rows(const Page& page) {
  using Cell = std::function<std::string(const RecordedRun&, double seconds)>;
  const std::pair<const char*, Cell> cells[] = {
      {"Step",
       [](const RecordedRun& run, double) {
         return run.total_steps > 0 ? str(run.log.back().step, " of ", run.total_steps) : str(run.log.back().step);
       }},
      {"Epoch", [](const RecordedRun& run, double) { return str(run.log.back().epoch); }},
      {"Time", [](const RecordedRun&, double seconds) { return duration_text(seconds); }},
      {"A step", [](const RecordedRun& run,
                    double seconds) { return with_unit(seconds / static_cast<double>(run.log.size()), " s"); }},
      {"Pictures a second",
       [](const RecordedRun& run, double seconds) {
         const auto a_step = static_cast<size_t>(run.options.train.batchSize * run.options.train.accumulate);
         return short_number(static_cast<double>(run.log.size() * a_step) / seconds);
       }},
      {"Parameters of G", [](const RecordedRun& run, double) {
         return run.parameters == 0 ? "" : with_unit(static_cast<double>(run.parameters) / 1e6, " M");
       }}};
  std::vector<Row> rows;
  for (const auto& [name, cell] : cells) {
    Row& row = rows.emplace_back(Row{name, {}});
    for (size_t run = 0; run < page.runs.size(); ++run) row.cells.push_back(cell(page.runs[run], page.seconds[run].back()));
  }
  return rows;
}

// The last of each score, and above it the best where there is one.
std::vector<Row> score_rows(const Page& page) {
  std::vector<Row> rows;
  for (const Quantity& score : score_quantities(page)) {
    Row last{score.name + ", last", {}}, best{score.name + ", best", {}};
    Points bests;  // (run, score)
    for (size_t run = 0; run < page.runs.size(); ++run) {
      const Points& points = score.points[run];
      last.cells.push_back(points.empty() ? "" : short_number(points.back().second));
      best.cells.emplace_back();
      const std::optional<size_t> place = points.empty() ? std::nullopt : best_of(points, score.name);
      if (!place) continue;
      const auto& [step, value] = points[*place];
      best.cells.back() = str(short_number(value), " at step ", step);
      bests.emplace_back(static_cast<double>(run), value);
    }
    if (!bests.empty()) {
      best.best = static_cast<size_t>(bests[*best_of(bests, score.name)].first);
      rows.push_back(best);
    }
    rows.push_back(last);
  }
  return rows;
}

// The last of each loss, as its chart smooths it.
std::vector<Row> loss_rows(const Page& page) {
  std::vector<Row> rows;
  for (const Quantity& loss : loss_quantities(page)) {
    Row& row = rows.emplace_back(Row{loss.name, {}});
    for (const Points& points : loss.points) {
      const auto radius = static_cast<size_t>(std::llround(page.options.smoothing * static_cast<double>(points.size()) / 2));
      row.cells.push_back(points.empty() ? "" : short_number(moving_average(points, radius).back()));
    }
  }
  return rows;
}

std::string table_of_runs(const Page& page, const std::vector<Row>& rows, const char* style) {
  std::string html = str("<div class=\"wide\"><table class=\"runs ", style, "\"><thead><tr><th></th>");
  for (size_t run = 0; run < page.runs.size(); ++run)
    html += str("<th class=\"run-", run, "\">", swatch(run), " ", html_escape(page.names[run]), "</th>");
  html += "</tr></thead><tbody>";
  for (const Row& row : rows) {
    html += "<tr><th>" + html_escape(row.name) + "</th>";
    for (size_t run = 0; run < row.cells.size(); ++run) {
      const std::string cell = html_escape(row.cells[run]);
      html += str("<td class=\"run-", run, "\">", row.best == run ? "<b>" + cell + "</b>" : cell, "</td>");
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

std::string facts(const Page& page) {
  std::vector<Row> rows = result_rows(page);
  for (const Row& row : score_rows(page)) {
    if (row.best) rows.push_back(row);
  }
  const Options& o = page.runs[0].options;
  rows.push_back({"Data", {o.train.dataset_mode}});
  rows.push_back({"Picture", {size_text(static_cast<int>(o.model.crop_size), static_cast<int>(o.model.height()))}});
  rows.push_back({"Batch", {str(o.train.batchSize)}});
  std::string html = "<dl class=\"facts\">";
  for (const Row& row : rows)
    html += "<div><dt>" + html_escape(row.name) + "</dt><dd>" + html_escape(row.cells[0]) + "</dd></div>";
  return html + "</dl>";
}

std::string results(const Page& page) {
  std::vector<Row> rows = result_rows(page);
  for (const auto& more : {score_rows(page), loss_rows(page)}) rows.insert(rows.end(), more.begin(), more.end());
  return "<h2>Results</h2><p>Losses are the ends of their smoothed curves.</p>" + table_of_runs(page, rows, "");
}

// ---- Settings ----

// A table of the first run's settings without those in `left_out`.
std::string settings_table(const Page& page, const std::set<std::string>& left_out) {
  Options options = page.runs[0].options;
  std::string html = "<div class=\"wide\"><table class=\"settings keys\"><tbody>";
  std::optional<OptionGroup> group;
  for (const OptionField& field : option_fields(options)) {
    if (left_out.contains(field.key)) continue;
    if (group != field.group) html += str("<tr><th colspan=\"3\">", title(field.group), "</th></tr>");
    group = field.group;
    html += "<tr><th>" + field.key + "</th><td>" + html_escape(to_text(field)) + "</td><td>" + html_escape(field.help) +
            "</td></tr>";
  }
  return html + "</tbody></table></div>";
}

std::string settings(const Page& page) {
  std::vector<Options> copies;
  for (const RecordedRun& run : page.runs) copies.push_back(run.options);
  std::vector<std::vector<OptionField>> fields;
  for (Options& copy : copies) fields.push_back(option_fields(copy));
  std::vector<Row> differing;
  std::set<std::string> keys;
  for (size_t i = 0; i < fields[0].size(); ++i) {
    Row row{fields[0][i].key, {}};
    for (const auto& each : fields) row.cells.push_back(to_text(each[i]));
    if (std::all_of(row.cells.begin(), row.cells.end(), [&](const std::string& cell) { return cell == row.cells[0]; }))
      continue;
    differing.push_back(row);
    keys.insert(row.name);
  }
  if (!page.many) return "<h2>Settings</h2>" + settings_table(page, {});
  return str("<h2>Settings</h2>", differing.empty() ? "<p>None differs.</p>" : table_of_runs(page, differing, "keys"),
             "<details><summary>", fields[0].size() - differing.size(), " settings in common</summary>",
             settings_table(page, keys), "</details>");
}

// ---- The page ----

// Names by colour, which hide and show their runs, and the choice of the x axis.
std::string legend(const Page& page) {
  std::string html = "<div class=\"legend\">", style = "<style>";
  for (size_t run = 0; run < page.runs.size(); ++run) {
    html += str("<label><input type=\"checkbox\" id=\"show-", run, "\" checked>", swatch(run), html_escape(page.names[run]),
                "</label>");
    style += str("body:has(#show-", run, ":not(:checked)) .run-", run, "{display:none}");
  }
  return html + str("<span class=\"axes\"><label><input type=\"radio\" name=\"axis\" id=\"by-step\" "
                    "checked>steps</label><label><input "
                    "type=\"radio\" name=\"axis\" id=\"by-time\">",
                    time_unit(page).names, "</label></span></div>", style, "</style>");
}

}  // namespace

void write_report(const std::vector<RecordedRun>& runs, const fs::path& file, const ReportOptions& options) {
  ASAP_CHECK(!runs.empty(), "report: expected at least one run, got none");
  const Page page = page_of(runs, options);
  const std::string title =
      page.many ? str(runs.size(), " ASAPNet runs") : "ASAPNet training: " + html_escape(page.names[0]);
  std::string html = str(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\"><title>",
      title, "</title><style>", report_css(), "</style></head><body", page.many ? " class=\"many\"" : "", "><h1>", title,
      "</h1>");
  if (page.many)
    html += legend(page) + samples(page) + curves(page) + results(page);
  else if (!runs[0].log.empty())
    html += facts(page) + samples(page) + curves(page);
  html += str(settings(page), "<script>", report_js(), "</script></body></html>\n");
  write_file(file, html);
}

}  // namespace asap::train
