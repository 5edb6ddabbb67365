// A chart with two logarithmic axes as SVG: grid at the powers of ten, points, lines, a legend on the right.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace asap::bench {

class LogChart {
 public:
  using Point = std::pair<double, double>;  // both positive
  // The axes span `points` and some room around them.
  LogChart(const std::string& title, const std::string& x_label, const std::string& y_label, const std::vector<Point>& points);

  void line(const std::vector<Point>& points, const std::string& colour, bool dashed = false);
  void dot(const Point& point, const std::string& colour, double radius, const std::string& tooltip = "");
  void label(const Point& point, const std::string& text, const std::string& colour);
  // Entries stand below one another in the order of the calls.
  void legend(const std::string& text, const std::string& colour, double radius);
  std::string svg() const { return svg_ + "</svg>\n"; }

  // Colours that people who confuse red and green can tell apart (Okabe & Ito).
  static const char* colour(size_t i);

 private:
  double across(double x) const;
  double down(double y) const;

  double x0_, x1_, y0_, y1_;  // decimal logarithms
  double legend_y_;
  std::string svg_;
};

}  // namespace asap::bench
