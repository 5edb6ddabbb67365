// A line chart as an SVG element: the raw values as a band, a smoothed line over it, axes with round numbers.
// Colours come from the page's CSS variables, so the chart follows light and dark. Used by report.cpp.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace asap::train {

using Points = std::vector<std::pair<double, double>>;  // (x, y), x rising

struct ChartOptions {
  std::string title;
  std::string colour = "var(--line-1)";  // any CSS colour
  int width = 460, height = 220;         // of the coordinate system; the page scales it
  double smoothing = 0.03;               // width of the moving average, as a part of all points
};

// At least one point.
std::string line_chart(const Points& points, const ChartOptions& options);

// About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high].
std::vector<double> axis_ticks(double low, double high, int count);

// The mean of the points within `radius` places of each.
std::vector<double> moving_average(const Points& points, size_t radius);

// <, >, & and " made safe for HTML.
std::string html_escape(const std::string& text);

}  // namespace asap::train
