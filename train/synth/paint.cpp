// Paints a planned facade: every part gives its pixels a colour and a height before the wall, later parts cover earlier ones.
// Walls and surroundings are here, openings and ornaments in parts.cpp. See scene.h; next: light.cpp.
#include "train/synth/paint.h"

#include <algorithm>

namespace asap::train::synth {

float noise(float x, float y, uint32_t seed) {
  const float fx = std::floor(x), fy = std::floor(y);
  const int ix = int(fx), iy = int(fy);
  const float tx = smooth(x - fx), ty = smooth(y - fy);
  const float top = hash01(ix, iy, seed) * (1 - tx) + hash01(ix + 1, iy, seed) * tx;
  const float bottom = hash01(ix, iy + 1, seed) * (1 - tx) + hash01(ix + 1, iy + 1, seed) * tx;
  return top * (1 - ty) + bottom * ty;
}

float fractal_noise(float x, float y, uint32_t seed) {
  return (noise(x, y, seed) * 4 + noise(x * 2.1f, y * 2.1f, seed + 1) * 2 + noise(x * 4.3f, y * 4.3f, seed + 2)) * (1.0f / 7);
}

namespace {

// Sky behind the house and in the window panes: brighter towards the horizon, a few clouds.
Color sky_color(float x, float y, const Light& light) {
  const float t = clamp01(y / 170);
  const float cloud = clamp01((fractal_noise(x * 0.011f, y * 0.026f, light.seed) - 0.45f) * 4);
  const Color clear = mix(rgb(0x8fb8ea), rgb(0xe2ecf4), t);
  return mix(clear, rgb(0xfafaf8), cloud * 0.8f + 0.1f);
}

}  // namespace

// The street's other side as the panes mirror it: roofs of several heights before the sky.
Color mirrored_street(float x, float y, const Light& light) {
  const float house = std::floor(x / 37 + noise(x * 0.01f, 3.5f, light.seed));
  const float roof = 70 + 90 * hash01(int(house), 1, light.seed);
  if (y < roof) return sky_color(x * 0.7f + 40, y, light) * 0.85f;
  const float tone = 0.12f + 0.28f * hash01(int(house), 2, light.seed);
  const bool window = (x - std::floor(x / 9) * 9) < 4 && (y - std::floor(y / 14) * 14) < 8;
  return Color{tone * 1.05f, tone, tone * 0.95f} * (window ? 0.55f : 1.0f);
}

namespace {

struct Surface {
  float tone = 1, height = 0;  // factor on the colour; added height
};

// A bond of blocks: rows of `course`, blocks of `length`, every other row shifted, joints of `joint` (all in units).
Surface bond(float x, float y, float course, float length, float joint, float depth, float variety, uint32_t seed) {
  const float row = std::floor(y / course);
  const float shifted = x / length + (int(row) & 1) * 0.5f + hash01(int(row), 0, seed) * 0.12f;
  const float block = std::floor(shifted);
  const float across = (y - row * course), along = (shifted - block) * length;
  const bool in_joint = across < joint || along < joint;
  const float tone = 1 + (hash01(int(block), int(row), seed + 1) - 0.5f) * variety;
  return in_joint ? Surface{0.82f, -depth} : Surface{tone, 0};
}

Surface wall_surface(Wall wall, float x, float y, uint32_t seed) {
  switch (wall) {
    case Wall::brick: return bond(x, y, 2.9f, 7.6f, 0.55f, 0.22f, 0.34f, seed);
    case Wall::stone: return bond(x, y, 9.5f, 19.0f, 0.8f, 0.5f, 0.13f, seed);
    case Wall::panels: return bond(x, y, 26.0f, 43.0f, 0.5f, 0.3f, 0.05f, seed);
    case Wall::plaster:
      return {1 + (hash01(int(x * 2), int(y * 2), seed) - 0.5f) * 0.05f, 0.04f * noise(x * 0.9f, y * 0.9f, seed)};
  }
  return {};
}

}  // namespace

// Weather on the house: large pale and dark patches, and grime that runs down in streaks; one value a final pixel.
void Painter::make_weather() {
  weather_.resize(size_t(scene_.size) * scene_.size);
  for (int py = 0; py < scene_.size; ++py)
    for (int px = 0; px < scene_.size; ++px) {
      const float x = unit(px), y = unit(py);
      const float patches = fractal_noise(x * 0.028f, y * 0.022f, seed_) - 0.5f;
      const float streaks = noise(x * 0.35f, y * 0.02f, seed_ + 7) - 0.5f;
      weather_[size_t(py) * scene_.size + px] = 1 + 0.24f * patches + 0.09f * streaks;
    }
}

void Painter::sky(const Element& e) {
  each(e.rect, [&](Pixel& p, float x, float y) { p = {sky_color(x, y, scene_.light), -12, 1}; });
}

// The house next door, a little farther back: plain, with rows of dark windows.
void Painter::neighbour(const Element& e) {
  const Color color = mix(rgb(0xb8ad9c), rgb(0x8f9498), hash01(1, 2, e.seed)) * (0.7f + 0.4f * hash01(3, 4, e.seed));
  const float step = 15 + 8 * hash01(5, 6, e.seed);
  each(e.rect, [&](Pixel& p, float x, float y) {
    const float u = x / step + hash01(7, 8, e.seed), v = y / (step * 1.5f);
    const bool window = u - std::floor(u) > 0.55f && v - std::floor(v) > 0.5f;
    const bool edge = y - unit(e.rect.y0) < 2.5f;
    p = {color * (weather(x, y) * (window ? 0.3f : edge ? 1.15f : 1.0f)), edge ? -7.0f : window ? -9.0f : -8.0f, 0};
  });
}

// Pavement, kerb, road.
void Painter::street(const Element& e) {
  const float top = unit(e.rect.y0), height = unit(e.rect.y1) - top;
  each(e.rect, [&](Pixel& p, float x, float y) {
    const float t = (y - top) / height;
    const float slabs = x / 11 - t * 0.3f;
    const bool joint = slabs - std::floor(slabs) < 0.06f && t < 0.5f;
    const Color color = t < 0.5f ? rgb(0xa8a298) : t < 0.62f ? rgb(0xc4beb2) : rgb(0x5c5c5e);
    p = {color * ((0.8f + 0.4f * fractal_noise(x * 0.3f, y * 1.2f, e.seed)) * (joint ? 0.8f : 1.0f)), 0.5f + (y - top) * 0.9f, 0};
  });
}

// Rows of tiles on a slope that falls back towards the ridge.
void Painter::roof(const Element& e) {
  const float bottom = unit(e.rect.y1);
  each(e.rect, [&](Pixel& p, float x, float y) {
    const float row = std::floor(y / 2.6f), column = x / 3.1f + (int(row) & 1) * 0.5f;
    const float tone = 0.84f + 0.3f * hash01(int(std::floor(column)), int(row), e.seed);
    const float lip = (y / 2.6f - row) * 0.5f;
    p = {scene_.style.roof * (tone * weather(x, y)), -1.5f - (bottom - y) * 0.35f + lip, 0};
  });
}

void Painter::wall(const Element& e, Wall kind, Color color, float relief) {
  const float bottom = unit(e.rect.y1);
  each(e.rect, [&](Pixel& p, float x, float y) {
    const Surface s = wall_surface(kind, x, y, seed_);
    const float splash = 1 - 0.16f * clamp01(1 - (bottom - y) / 14) * (0.5f + noise(x * 0.2f, y * 0.2f, seed_));
    p = {color * (s.tone * weather(x, y) * splash), relief + s.height, 0};
  });
}

void Painter::paint(const Element& e) {
  const Style& s = scene_.style;
  switch (e.part) {
    case Part::sky: return sky(e);
    case Part::neighbour: return neighbour(e);
    case Part::street: return street(e);
    case Part::roof: return roof(e);
    case Part::wall: return wall(e, s.wall, s.wall_color, 0);
    case Part::base: return wall(e, s.base, s.base_color, s.base == s.wall ? 0.0f : 0.8f);
    case Part::molding: return molding(e);
    case Part::pillar: return pillar(e);
    case Part::window: return window(e);
    case Part::blind: return blind(e);
    case Part::shutter: return shutter(e);
    case Part::sill: return sill(e);
    case Part::cornice: return cornice(e);
    case Part::balcony: return balcony(e);
    case Part::door: return door(e);
    case Part::shop: return shop(e);
    case Part::deco: return deco(e);
  }
}

Painter::Painter(const Scene& scene) : scene_(scene), seed_(scene.light.seed) {
  relief_.side = scene.size * 2;
  relief_.units = 128.0f / float(scene.size);
  relief_.pixels.resize(size_t(relief_.side) * relief_.side);
  make_weather();
}

Relief Painter::run() {
  for (const Element& e : scene_.elements) paint(e);
  return std::move(relief_);
}

Relief paint(const Scene& scene) { return Painter(scene).run(); }

}  // namespace asap::train::synth
