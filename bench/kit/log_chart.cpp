// SVG by hand. Declared in log_chart.h.
#include "bench/kit/log_chart.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tensor/error.h"

namespace asap::bench {
namespace {

constexpr double kWidth = 860, kHeight = 520, kLeft = 70, kRight = 250, kTop = 40, kBottom = 50;

std::string escaped(const std::string& words) {
  std::string result;
  for (const char c : words) result += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return result;
}

std::string text(double x, double y, const std::string& words, const std::string& attributes = "") {
  return str("<text x=\"", x, "\" y=\"", y, "\" ", attributes, ">", escaped(words), "</text>\n");
}

}  // namespace

LogChart::LogChart(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Point>& points)
    : legend_y_(kTop + 10) {
  const auto [left, right] = std::minmax_element(points.begin(), points.end());
  const auto [low, high] = std::minmax_element(points.begin(), points.end(), [](const Point& a, const Point& b) { return a.second < b.second; });
  constexpr double kAround = 0.25;
  x0_ = std::log10(left->first) - kAround, x1_ = std::log10(right->first) + kAround;
  y0_ = std::log10(low->second) - kAround, y1_ = std::log10(high->second) + kAround;
  svg_ = str("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", kWidth, "\" height=\"", kHeight,
             "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
  svg_ += text(kLeft, 22, title, "font-size=\"15\"");
  for (double power = std::ceil(x0_); power <= x1_; ++power) {
    const double at = across(std::pow(10, power));
    svg_ += str("<line x1=\"", at, "\" x2=\"", at, "\" y1=\"", kTop, "\" y2=\"", kHeight - kBottom, "\" stroke=\"#dddddd\"/>");
    svg_ += text(at, kHeight - kBottom + 18, str(std::pow(10, power)), "text-anchor=\"middle\"");
  }
  for (double power = std::ceil(y0_); power <= y1_; ++power) {
    const double at = down(std::pow(10, power));
    svg_ += str("<line x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", at, "\" y2=\"", at, "\" stroke=\"#dddddd\"/>");
    svg_ += text(kLeft - 8, at + 4, str(std::pow(10, power)), "text-anchor=\"end\"");
  }
  svg_ += text((kLeft + kWidth - kRight) / 2, kHeight - 12, x_label, "text-anchor=\"middle\"");
  const double middle = (kTop + kHeight - kBottom) / 2;
  svg_ += text(16, middle, y_label, str("transform=\"rotate(-90 16 ", middle, ")\" text-anchor=\"middle\""));
}

double LogChart::across(double x) const { return kLeft + (std::log10(x) - x0_) / (x1_ - x0_) * (kWidth - kLeft - kRight); }
double LogChart::down(double y) const { return kHeight - kBottom - (std::log10(y) - y0_) / (y1_ - y0_) * (kHeight - kTop - kBottom); }

void LogChart::line(const std::vector<Point>& points, const std::string& colour, bool dashed) {
  svg_ += str("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"1.8\"", dashed ? " stroke-dasharray=\"6 4\"" : "", " points=\"");
  for (const auto& [x, y] : points) svg_ += str(across(x), ",", down(y), " ");
  svg_ += "\"/>\n";
}

void LogChart::dot(const Point& point, const std::string& colour, double radius, const std::string& tooltip) {
  svg_ += str("<circle cx=\"", across(point.first), "\" cy=\"", down(point.second), "\" r=\"", radius, "\" fill=\"", colour,
              "\" fill-opacity=\"0.8\"><title>", escaped(tooltip), "</title></circle>\n");
}

void LogChart::label(const Point& point, const std::string& words, const std::string& colour) {
  svg_ += text(across(point.first) + 6, down(point.second) + 17, words, str("fill=\"", colour, "\""));
}

void LogChart::legend(const std::string& words, const std::string& colour, double radius) {
  svg_ += str("<circle cx=\"", kWidth - kRight + 22, "\" cy=\"", legend_y_, "\" r=\"", radius, "\" fill=\"", colour, "\"/>");
  svg_ += text(kWidth - kRight + 36, legend_y_ + 4, words);
  legend_y_ += 20;
}

const char* LogChart::colour(size_t i) {
  static constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"};
  return kColours[i % std::size(kColours)];
}

}  // namespace asap::bench
