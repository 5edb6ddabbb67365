// Internal to the synthetic facades (synth.h): the plan of a facade, the painted relief, and the steps between them.
// Lengths are in units: the picture is 256 units wide at any size. Plan rectangles are in whole pixels of the final picture, so
// that label map and photo agree to the pixel.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "train/data/random.h"
#include "train/pictures/image.h"

// Products and sums stay apart (no FMA) and only + - * / sqrt floor are used, in IEEE arithmetic: every machine then draws the
// same picture.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace asap::train::synth {

struct Color {
  float r = 0, g = 0, b = 0;  // linear light
};
inline Color operator*(Color a, float s) { return {a.r * s, a.g * s, a.b * s}; }
inline Color operator*(Color a, Color b) { return {a.r * b.r, a.g * b.g, a.b * b.b}; }
inline Color operator+(Color a, Color b) { return {a.r + b.r, a.g + b.g, a.b + b.b}; }
inline Color mix(Color a, Color b, float t) { return a * (1 - t) + b * t; }
// 0xRRGGBB as a screen shows it; gamma 2 instead of sRGB's 2.2, because sqrt is exact everywhere.
inline Color rgb(uint32_t hex) {
  const float r = float(hex >> 16 & 255) / 255, g = float(hex >> 8 & 255) / 255, b = float(hex & 255) / 255;
  return {r * r, g * g, b * b};
}

inline float clamp01(float v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
inline float smooth(float t) { return t * t * (3 - 2 * t); }  // 0..1 -> 0..1 with flat ends

// A number in [0, 1) for a lattice point.
inline float hash01(int x, int y, uint32_t seed) {
  uint32_t h = uint32_t(x) * 0x8da6b343u ^ uint32_t(y) * 0xd8163841u ^ seed * 0xcb1ab31fu;
  h = (h ^ h >> 15) * 0x2c1b3c6du;
  h = (h ^ h >> 12) * 0x297a2d39u;
  return float((h ^ h >> 15) >> 8) * 0x1p-24f;
}

// Value noise: hash01 at whole numbers, smooth between. And three octaves of it, about 0.5.
float noise(float x, float y, uint32_t seed);
float fractal_noise(float x, float y, uint32_t seed);

// ---- the plan ----

struct Rect {
  int x0 = 0, y0 = 0, x1 = 0, y1 = 0;  // pixels of the final picture, [x0, x1) x [y0, y1)
  int width() const { return x1 - x0; }
  int height() const { return y1 - y0; }
};

// What a rectangle shows; the label follows from it (label_of).
enum class Part {
  sky,
  neighbour,
  street,
  roof,
  wall,
  base,
  molding,
  pillar,
  window,
  blind,
  shutter,
  sill,
  cornice,
  balcony,
  door,
  shop,
  deco
};
int label_of(Part part);  // CMP class 1..12

struct Element {
  Part part = Part::wall;
  Rect rect;
  int kind = 0;         // meaning depends on the part: window panes, cornice shape, railing, ornament ...
  bool arched = false;  // windows and doors: round top
  uint32_t seed = 0;    // of this element's own irregularities
};

enum class Wall { plaster, brick, stone, panels };

struct Style {
  Wall wall = Wall::plaster, base = Wall::plaster;
  Color wall_color, base_color, trim, frame, door, roof, rail, blind, accent;
  float surround = 0;  // width of the window surrounds in units, 0: none
  bool dentils = false, fluted = false;
};

// Where light comes from. Directions: x right, y down, z towards the viewer.
struct Light {
  float x = 0, y = 0, z = 1;  // unit vector to the sun
  Color sun, sky, bounce;
  float exposure = 1;
  float shade_from = 1e6f, shade_slope = 0;  // no sun below the line y = shade_from + shade_slope * (x - 128), in units
  uint32_t seed = 0;
};

struct Scene {
  int size = 256;
  Style style;
  Light light;
  std::vector<Element> elements;  // painted in this order
};

Scene plan_facade(int size, uint64_t seed, int64_t index, bool same_style);

// ---- the painted relief ----

struct Pixel {
  Color color;       // the surface's own colour
  float height = 0;  // units before the wall
  float glow = 0;    // 1: the colour is seen as it is (sky, reflections); 0: it is lit
};

// Twice the final size in both directions.
struct Relief {
  int side = 0;
  float units = 1;  // units per relief pixel
  std::vector<Pixel> pixels;
};

Relief paint(const Scene& scene);
LabelMap label_map(const Scene& scene);

Image light_up(const Relief& relief, const Light& light);

}  // namespace asap::train::synth
