// A line chart as an SVG element: for each run the raw values pale, or as a band where they are many, a smoothed line over
// them; axes with round numbers. Colours come from the page's CSS variables, so the chart follows light and dark; report.js
// shows values under the pointer. Used by report.cpp.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace asap::train {

using Points = std::vector<std::pair<double, double>>;  // (x, y), x rising

// A run's curve.
struct Series {
  Points points;                    // at least one
  std::string name;                 // of the run
  size_t run = 0;                   // says its colour
  std::optional<size_t> best = {};  // a point to be marked
};

struct ChartOptions {
  std::string title;
  std::string x_name = "step";    // of a value, in the singular
  bool whole_x = true;            // ticks at whole numbers only
  double smoothing = 0.03;        // width of the moving average, as a part of all points
  int width = 400, height = 220;  // of the coordinate system; the page scales it
};

// At least one series.
std::string line_chart(const std::vector<Series>& series, const ChartOptions& options);

// "var(--run-3)": a run keeps its colour throughout a page. There are kRunColours; runs beyond have dashed lines.
inline constexpr size_t kRunColours = 8;
std::string run_colour(size_t run);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high].
std::vector<double> axis_ticks(double low, double high, int count);

// The mean of the points within `radius` places of each.
std::vector<double> moving_average(const Points& points, size_t radius);

// A number of up to four significant digits.
std::string short_number(double value);

// <, >, & and " made safe for HTML.
std::string html_escape(const std::string& text);

}  // namespace asap::train
