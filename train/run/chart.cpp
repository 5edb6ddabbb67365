// Drawing a line chart as SVG. Declared in chart.h.
#include "train/run/chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tensor/error.h"

namespace asap::train {
namespace {

constexpr int kLeft = 60, kRight = 18, kTop = 30, kBottom = 30;  // margins around the plot
constexpr size_t kColumns = 400;                                 // more points than this are drawn as a band

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

// The middle 99 % of the raw values and the whole smoothed line: a single spike must not flatten the curve.
Range value_range(const Points& points, const std::vector<double>& smooth) {
  std::vector<double> values;
  for (const auto& point : points) values.push_back(point.second);
  std::sort(values.begin(), values.end());
  const size_t cut = values.size() / 200;
  const auto [lowest, highest] = std::minmax_element(smooth.begin(), smooth.end());
  Range range{std::min(values[cut], *lowest), std::max(values[values.size() - 1 - cut], *highest)};
  const double size = std::max(std::abs(range.low), std::abs(range.high));
  const bool flat = range.span() <= 1e-6 * size;
  const double margin = flat ? std::max(0.1 * size, 1e-9) : 0.05 * range.span();
  return {range.low - (range.low >= 0 && range.low < margin ? range.low : margin), range.high + margin};
}

std::string axes(const Scale& scale) {
  std::string svg = "<g class=\"axes\">";
  for (double tick : axis_ticks(scale.y.low, scale.y.high, 4)) {
    const double y = scale.down(tick);
    svg += str("<line x1=\"", kLeft, "\" x2=\"", scale.width - kRight, "\" y1=\"", y, "\" y2=\"", y, "\"/><text x=\"",
               kLeft - 6, "\" y=\"", y + 4, "\" text-anchor=\"end\">", text_of(tick), "</text>");
  }
  for (double tick : axis_ticks(scale.x.low, scale.x.high, 5)) {
    if (tick != std::floor(tick)) continue;  // steps are whole
    svg += str("<text x=\"", scale.across(tick), "\" y=\"", scale.height - kBottom + 17, "\" text-anchor=\"middle\">",
               text_of(tick), "</text>");
  }
  return svg + "</g>";
}

// Lowest and highest value of every column, as one closed outline.
std::string band(const Points& points, const Scale& scale, const std::string& colour) {
  std::string upper, lower;
  for (size_t column = 0; column < kColumns; ++column) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(column * points.size() / kColumns);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((column + 1) * points.size() / kColumns);
    const auto [low, high] =
        std::minmax_element(begin, end, [](const auto& a, const auto& b) { return a.second < b.second; });
    upper += place(scale.across(begin->first), scale.down(high->second));
    lower = place(scale.across(begin->first), scale.down(low->second)) + lower;
  }
  return "<polygon points=\"" + upper + lower + "\" fill=\"" + colour + "\" opacity=\"0.22\"/>";
}

std::string polyline(const Points& points, const Scale& scale, const std::string& colour, const char* style) {
  const size_t stride = std::max<size_t>(1, points.size() / kColumns);
  std::string svg = "<polyline fill=\"none\" stroke=\"" + colour + "\" " + style + " points=\"";
  for (size_t i = 0; i < points.size(); i += stride)
    svg += place(scale.across(points[i].first), scale.down(points[i].second));
  svg += place(scale.across(points.back().first), scale.down(points.back().second));
  return svg + "\"/>";
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

std::string line_chart(const Points& points, const ChartOptions& options) {
  ASAP_CHECK(!points.empty(), "line_chart: expected at least one point, got none");
  const auto radius = static_cast<size_t>(std::llround(options.smoothing * static_cast<double>(points.size()) / 2));
  const std::vector<double> smooth = moving_average(points, radius);
  Points line;
  for (size_t i = 0; i < points.size(); ++i) line.emplace_back(points[i].first, smooth[i]);
  Scale scale{.x = {points.front().first, points.back().first},
              .y = value_range(points, smooth),
              .width = options.width,
              .height = options.height};
  if (scale.x.span() <= 0) scale.x = {scale.x.low - 1, scale.x.high + 1};

  std::string svg = str("<svg class=\"chart\" viewBox=\"0 0 ", options.width, " ", options.height,
                        "\" role=\"img\" aria-label=\"", html_escape(options.title), "\">");
  svg += str("<text class=\"title\" x=\"", kLeft, "\" y=\"18\">", html_escape(options.title),
             "</text><text class=\"last\" x=\"", options.width - kRight, "\" y=\"18\" text-anchor=\"end\">",
             text_of(std::round(smooth.back() * 1e4) / 1e4), "</text>");
  svg += axes(scale);
  svg += points.size() > kColumns ? band(points, scale, options.colour)
                                  : polyline(points, scale, options.colour, "stroke-width=\"1\" opacity=\"0.35\"");
  svg += polyline(line, scale, options.colour, "stroke-width=\"2\" stroke-linejoin=\"round\"");
  return svg + "</svg>";
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
