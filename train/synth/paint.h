// Internal to the synthetic facades: the painter, one member function for each part of a facade (paint.cpp: walls and
// surroundings, parts.cpp: openings and ornaments).
#pragma once

#include <utility>

#include "train/synth/scene.h"

namespace asap::train::synth {

Color mirrored_street(float x, float y, const Light& light);

class Painter {
 public:
  explicit Painter(const Scene& scene);
  Relief run();

 private:
  float unit(int pixel) const { return float(pixel) * 2 * relief_.units; }  // a final pixel's edge in units

  void make_weather();
  float weather(float x, float y) const {
    const float scale = 1 / (2 * relief_.units);
    return weather_[size_t(y * scale) * scene_.size + size_t(x * scale)];
  }

  // f(pixel, x, y) for every relief pixel of the rectangle; x, y in units, at pixel centres.
  template <class F>
  void each(const Rect& rect, F&& f) {
    for (int y = 2 * rect.y0; y < 2 * rect.y1; ++y)
      for (int x = 2 * rect.x0; x < 2 * rect.x1; ++x)
        f(relief_.pixels[size_t(y) * relief_.side + x], (float(x) + 0.5f) * relief_.units, (float(y) + 0.5f) * relief_.units);
  }
  // The same with the position inside the rectangle: u, v from 0 to 1; w, h its size in units.
  template <class F>
  void each_inside(const Rect& rect, F&& f) {
    const float x0 = unit(rect.x0), y0 = unit(rect.y0), w = unit(rect.x1) - x0, h = unit(rect.y1) - y0;
    each(rect, [&](Pixel& p, float x, float y) { f(p, x, y, (x - x0) / w, (y - y0) / h); });
  }

  void paint(const Element& e);
  void sky(const Element& e);
  void neighbour(const Element& e);
  void street(const Element& e);
  void roof(const Element& e);
  void wall(const Element& e, Wall kind, Color color, float relief);
  void molding(const Element& e);
  void pillar(const Element& e);
  void surround(const Element& e);
  void window(const Element& e);
  void blind(const Element& e);
  void shutter(const Element& e);
  void sill(const Element& e);
  void cornice(const Element& e);
  void balcony(const Element& e);
  void door(const Element& e);
  void shop(const Element& e);
  void deco(const Element& e);

  const Scene& scene_;
  const uint32_t seed_;
  Relief relief_;
  std::vector<float> weather_;  // [size][size], about 1
};

}  // namespace asap::train::synth
