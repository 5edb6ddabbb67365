// Drawing a line chart as SVG. Declared in chart.h.
#include "train/run/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tensor/error.h"

namespace asap::train {
namespace {

constexpr int kLeft = 52, kRight = 20, kTop = 34, kBottom = 28;  // margins around the plot
constexpr size_t kColumns = 400;                                 // more points than this are drawn as a band
constexpr size_t kDots = 40;                                     // up to so many points are drawn as dots, too

struct Range {
  double low = 0, high = 1;
  double span() const { return high - low; }
};

// Data to the drawing's coordinates.
struct Scale {
  Range x, y;
  int width = 0, height = 0;
  double across(double value) const { return kLeft + (value - x.low) / x.span() * (width - kLeft - kRight); }
  double down(double value) const {
    return height - kBottom - (std::clamp(value, y.low, y.high) - y.low) / y.span() * (height - kTop - kBottom);
  }
};

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string place(double across, double down) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f,%.1f ", across, down);
  return text;
}

Range operator|(const Range& a, const Range& b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

// A series as it is drawn.
struct Curve {
  const Series* series = nullptr;
  Points smooth;
  bool is_raw = false;  // nothing was smoothed
};

Curve smoothed(const Series& series, double smoothing) {
  ASAP_CHECK(!series.points.empty(), "line_chart: expected at least one point, got none");
  const auto radius = static_cast<size_t>(std::llround(smoothing * static_cast<double>(series.points.size()) / 2));
  Curve curve{.series = &series, .smooth = series.points, .is_raw = radius == 0};
  const std::vector<double> averages = moving_average(series.points, radius);
  for (size_t i = 0; i < averages.size(); ++i) curve.smooth[i].second = averages[i];
  return curve;
}

// The middle 99 % of the raw values and the whole smoothed line: a single spike must not flatten the curve.
Range value_range(const Curve& curve) {
  std::vector<double> values;
  for (const auto& point : curve.series->points) values.push_back(point.second);
  std::sort(values.begin(), values.end());
  const size_t cut = values.size() / 200;
  const auto [lowest, highest] = std::minmax_element(curve.smooth.begin(), curve.smooth.end(),
                                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return {std::min(values[cut], lowest->second), std::max(values[values.size() - 1 - cut], highest->second)};
}

// With room above and below; no axis of positive numbers begins below zero.
Range with_margin(const Range& range) {
  const double size = std::max(std::abs(range.low), std::abs(range.high));
  const bool flat = range.span() <= 1e-6 * size;
  const double margin = flat ? std::max(0.1 * size, 1e-9) : 0.05 * range.span();
  return {range.low - (range.low >= 0 && range.low < margin ? range.low : margin), range.high + margin};
}

std::string axes(const Scale& scale, bool whole_x) {
  std::string svg = "<g class=\"axes\">";
  for (double tick : axis_ticks(scale.y.low, scale.y.high, 4)) {
    const double y = scale.down(tick);
    svg += str("<line x1=\"", kLeft, "\" x2=\"", scale.width - kRight, "\" y1=\"", y, "\" y2=\"", y, "\"/><text x=\"",
               kLeft - 6, "\" y=\"", y + 4, "\" text-anchor=\"end\">", text_of(tick), "</text>");
  }
  for (double tick : axis_ticks(scale.x.low, scale.x.high, scale.x.high < 1e4 ? 8 : 5)) {
    if (whole_x && tick != std::floor(tick)) continue;
    svg += str("<text x=\"", scale.across(tick), "\" y=\"", scale.height - kBottom + 17, "\" text-anchor=\"middle\">",
               text_of(tick), "</text>");
  }
  return svg + "</g>";
}

// Lowest and highest value of every column, as one closed outline.
std::string band(const Points& points, const Scale& scale) {
  std::string upper, lower;
  for (size_t column = 0; column < kColumns; ++column) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(column * points.size() / kColumns);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((column + 1) * points.size() / kColumns);
    const auto [low, high] =
        std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.second < b.second; });
    upper += place(scale.across(begin->first), scale.down(high->second));
    lower = place(scale.across(begin->first), scale.down(low->second)) + lower;
  }
  return "<polygon points=\"" + upper + lower + "\"/>";
}

std::string polyline(const Points& points, const Scale& scale, const char* style) {
  const size_t stride = std::max<size_t>(1, points.size() / kColumns);
  std::string svg = str("<polyline class=\"", style, "\" points=\"");
  for (size_t i = 0; i < points.size(); i += stride)
    svg += place(scale.across(points[i].first), scale.down(points[i].second));
  svg += place(scale.across(points.back().first), scale.down(points.back().second));
  return svg + "\"/>";
}

std::string dot(const std::pair<double, double>& point, const Scale& scale, const char* style) {
  return str("<circle class=\"", style, "\" cx=\"", scale.across(point.first), "\" cy=\"", scale.down(point.second), "\"/>");
}

std::string drawn(const Curve& curve, const Scale& scale) {
  const Points& points = curve.series->points;
  const size_t run = curve.series->run;
  std::string svg = str("<g class=\"run-", run, run < kRunColours ? "" : " dashed", "\" style=\"--c:", run_colour(run),
                        "\" data-name=\"", html_escape(curve.series->name), "\">");
  if (!curve.is_raw) svg += points.size() > kColumns ? band(points, scale) : polyline(points, scale, "raw");
  svg += polyline(curve.smooth, scale, "line");
  if (points.size() <= kDots && curve.is_raw) {
    for (const auto& point : points) svg += dot(point, scale, "dot");
  }
  if (curve.series->best) svg += dot(points[*curve.series->best], scale, "best");
  return svg + "</g>";
}

// What one curve alone can say beside its title.
std::string note(const Curve& curve, const ChartOptions& options) {
  if (!curve.series->best) return short_number(curve.smooth.back().second);
  const auto& [x, y] = curve.series->points[*curve.series->best];
  return str("best ", short_number(y), " at ", options.x_name, " ", short_number(x));
}

}  // namespace

std::vector<double> axis_ticks(double low, double high, int count) {
  const double rough = (high - low) / count, power = std::pow(10.0, std::floor(std::log10(rough)));
  double distance = 10 * power;
  for (double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) distance = factor * power;
  }
  std::vector<double> ticks;
  const double first = std::ceil(low / distance);
  for (int k = 0; k <= 2 * count && (first + k) * distance <= high; ++k) ticks.push_back((first + k) * distance);
  return ticks;
}

std::vector<double> moving_average(const Points& points, size_t radius) {
  std::vector<double> sums(points.size() + 1, 0.0), averages;
  for (size_t i = 0; i < points.size(); ++i) sums[i + 1] = sums[i] + points[i].second;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t begin = i > radius ? i - radius : 0, end = std::min(points.size(), i + radius + 1);
    averages.push_back((sums[end] - sums[begin]) / static_cast<double>(end - begin));
  }
  return averages;
}

std::string line_chart(const std::vector<Series>& series, const ChartOptions& options) {
  ASAP_CHECK(!series.empty(), "line_chart: expected at least one series, got none");
  std::vector<Curve> curves;
  for (const Series& each : series) curves.push_back(smoothed(each, options.smoothing));
  const auto steps = [](const Curve& curve) { return Range{curve.smooth.front().first, curve.smooth.back().first}; };
  Scale scale{.x = steps(curves[0]), .y = value_range(curves[0]), .width = options.width, .height = options.height};
  for (const Curve& curve : curves) {
    scale.x = scale.x | steps(curve);
    scale.y = scale.y | value_range(curve);
  }
  scale.y = with_margin(scale.y);
  if (scale.x.span() <= 0) scale.x = {scale.x.low - 1, scale.x.high + 1};

  const std::string title = html_escape(options.title);
  std::string svg =
      str("<svg class=\"chart\" viewBox=\"0 0 ", options.width, " ", options.height, "\" role=\"img\" aria-label=\"", title,
          "\" data-x=\"", scale.x.low, " ", scale.x.high, "\" data-y=\"", scale.y.low, " ", scale.y.high, "\" data-plot=\"",
          kLeft, " ", options.width - kRight, " ", options.height - kBottom, " ", kTop, "\" data-x-name=\"", options.x_name,
          "\"><text class=\"title\" x=\"14\" y=\"21\">", title, "</text>");
  if (curves.size() == 1)
    svg += str("<text class=\"note\" x=\"", options.width - kRight, "\" y=\"21\" text-anchor=\"end\">",
               note(curves[0], options), "</text>");
  svg += axes(scale, options.whole_x);
  for (const Curve& curve : curves) svg += drawn(curve, scale);
  return svg + str("<line class=\"cursor\" y1=\"", kTop, "\" y2=\"", options.height - kBottom, "\"/></svg>");
}

std::string run_colour(size_t run) { return str("var(--run-", run % kRunColours, ")"); }

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string html_escape(const std::string& text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '&': escaped += "&amp;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

}  // namespace asap::train
