// Light on the painted relief: sun with soft cast shadows, sky light with occlusion in corners, light from the street; then what
// a camera does. See scene.h; next: synth.cpp.
#include <algorithm>

#include "train/synth/scene.h"

namespace asap::train::synth {
namespace {

// Mean height in a square of (2*radius+1)^2 pixels, edges repeated: running sums along rows, then down all columns.
std::vector<float> box_blur(const std::vector<float>& in, int side, int radius) {
  std::vector<float> rows(in.size()), out(in.size());
  const float scale = 1.0f / float(2 * radius + 1);
  const auto inside = [&](int i) { return size_t(std::clamp(i, 0, side - 1)); };
  for (int y = 0; y < side; ++y) {
    const float* a = in.data() + size_t(y) * side;
    double sum = 0;
    for (int i = -radius; i <= radius; ++i) sum += a[inside(i)];
    for (int x = 0; x < side; ++x) {
      rows[size_t(y) * side + x] = float(sum) * scale;
      sum += double(a[inside(x + radius + 1)]) - a[inside(x - radius)];
    }
  }
  std::vector<double> sums(size_t(side), 0.0);
  for (int i = -radius; i <= radius; ++i)
    for (int x = 0; x < side; ++x) sums[x] += rows[inside(i) * side + x];
  for (int y = 0; y < side; ++y) {
    const float* enters = rows.data() + inside(y + radius + 1) * side;
    const float* leaves = rows.data() + inside(y - radius) * side;
    for (int x = 0; x < side; ++x) {
      out[size_t(y) * side + x] = float(sums[x]) * scale;
      sums[x] += double(enters[x]) - leaves[x];
    }
  }
  return out;
}

class Lighting {
 public:
  Lighting(const Relief& relief, const Light& light)
      : relief_(relief), light_(light), side_(relief.side), heights_(relief.pixels.size()) {
    for (size_t i = 0; i < heights_.size(); ++i) heights_[i] = relief.pixels[i].height;
    near_ = box_blur(heights_, side_, std::max(1, int(1.2f / relief.units)));
    far_ = box_blur(heights_, side_, std::max(1, int(5.0f / relief.units)));
    tallest_ = *std::max_element(heights_.begin(), heights_.end());
    const float flat = std::sqrt(light.x * light.x + light.y * light.y);
    step_x_ = light.x / flat, step_y_ = light.y / flat, rise_ = light.z / flat;
  }

  Color at(int x, int y) const {
    const size_t i = size_t(y) * side_ + x;
    const Pixel& p = relief_.pixels[i];
    if (p.glow >= 1) return p.color;
    const float dx = slope(height(x + 1, y) - height(x - 1, y)), dy = slope(height(x, y + 1) - height(x, y - 1));
    const float inverse = 1 / std::sqrt(dx * dx + dy * dy + 1);
    const float facing = std::max(0.0f, (-dx * light_.x - dy * light_.y + light_.z) * inverse);
    const float up = dy * inverse;  // the normal's share upwards: 1 faces the sky, -1 the street
    const float open =
        clamp01(1 - 0.20f * std::max(0.0f, near_[i] - heights_[i]) - 0.085f * std::max(0.0f, far_[i] - heights_[i]));
    const Color ambient = light_.sky * (open * (0.72f + 0.28f * up)) + light_.bounce * (open * (0.6f - 0.4f * up));
    const float sun = facing > 0 ? facing * sunlight(x, y) : 0;
    const Color lit = p.color * (light_.sun * sun + ambient);
    return mix(lit, p.color, p.glow);
  }

 private:
  float height(int x, int y) const { return heights_[size_t(std::clamp(y, 0, side_ - 1)) * side_ + std::clamp(x, 0, side_ - 1)]; }
  // Central difference to slope, limited: a cliff is a bevel a pixel wide, not a wall seen edge on.
  float slope(float difference) const { return std::clamp(difference / (2 * relief_.units), -1.1f, 1.1f); }

  // 1 in full sun, 0 in shadow; the edge softens with the distance of what casts it. Walks towards the sun until the ray is
  // above everything, in steps that grow a little.
  float sunlight(int x, int y) const {
    const float start = heights_[size_t(y) * side_ + x] + 0.15f;
    const float pixels = 1 / relief_.units;
    float light = 1;
    for (float step = std::max(0.5f, relief_.units), t = step; start + t * rise_ < tallest_ && light > 0;
         t += step, step *= 1.08f) {
      const int sx = x + int(std::floor(t * step_x_ * pixels + 0.5f)), sy = y + int(std::floor(t * step_y_ * pixels + 0.5f));
      if (sx < 0 || sy < 0 || sx >= side_ || sy >= side_) break;
      const float above = heights_[size_t(sy) * side_ + sx] - (start + t * rise_);
      if (above > 0) light = std::min(light, 1 - above / (0.25f + 0.08f * t));
    }
    const float across = (float(x) - 0.5f * float(side_)) * relief_.units, below = float(y) * relief_.units - light_.shade_from;
    return std::max(0.0f, light) * (1 - smooth(clamp01((below - light_.shade_slope * across) * 0.25f)));
  }

  const Relief& relief_;
  const Light& light_;
  const int side_;
  std::vector<float> heights_, near_, far_;
  float step_x_ = 0, step_y_ = 0, rise_ = 1, tallest_ = 0;
};

// Highlights roll off instead of clipping: 0 -> 0, 1 -> 0.87, slope 1 at 0.
float tone(float v) { return v * (1 + v * 0.12f) / (1 + v * 0.29f); }

}  // namespace

Image light_up(const Relief& relief, const Light& light) {
  const Lighting lighting(relief, light);
  const int size = relief.side / 2;
  Image photo(size, size, 3);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      Color c = (lighting.at(2 * x, 2 * y) + lighting.at(2 * x + 1, 2 * y) + lighting.at(2 * x, 2 * y + 1) +
                 lighting.at(2 * x + 1, 2 * y + 1)) *
                0.25f;
      const float fx = float(x) / float(size) - 0.5f, fy = float(y) / float(size) - 0.5f;
      c = c * (light.exposure * (1 - 0.30f * (fx * fx + fy * fy)));  // darker corners
      const float grain = (hash01(x, y, light.seed + 11) + hash01(x, y, light.seed + 12) - 1) * 5;
      const auto byte = [&](float v) { return uint8_t(std::clamp(std::sqrt(tone(v)) * 262 + grain, 0.0f, 255.0f)); };
      photo.at(x, y, 0) = byte(c.r);
      photo.at(x, y, 1) = byte(c.g);
      photo.at(x, y, 2) = byte(c.b);
    }
  return photo;
}

}  // namespace asap::train::synth
