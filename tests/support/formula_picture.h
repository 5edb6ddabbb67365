// The pictures that golden/make_evaluate.py compares, by the same formulas in whole numbers.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "tensor/tensor.h"
#include "train/pictures/image.h"

namespace asap::tests {

inline int64_t wave(int64_t v, int64_t period) { return std::abs(v % (2 * period) - period) * 255 / period; }

template <class Value>
train::Image picture_by(int width, int height, const Value& value) {
  train::Image image(width, height, 3);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) image.at(x, y, c) = static_cast<uint8_t>(value(int64_t(x), int64_t(y), int64_t(c)));
    }
  }
  return image;
}

inline int64_t reference_value(int64_t x, int64_t y, int64_t c) {
  return (wave(x + 2 * y + 9 * c, 23) + wave(3 * x + y, 41 + c)) / 2;
}

inline train::Image formula_reference(int width, int height) { return picture_by(width, height, reference_value); }

// The reference with less contrast and noise.
inline train::Image formula_picture(int width, int height) {
  return picture_by(width, height, [](int64_t x, int64_t y, int64_t c) {
    const int64_t noise = ((x * 73856093) ^ (y * 19349663) ^ (c * 83492791)) % 41 - 20;
    return std::clamp<int64_t>(reference_value(x, y, c) * 3 / 4 + 30 + noise, 0, 255);
  });
}

// As a network takes it: f32 [1,3,H,W] in [-1,1].
inline Tensor network_input(const train::Image& image) {
  Tensor x = Tensor::empty({1, 3, image.height, image.width});
  train::image_to_floats(image, x.data<float>());
  return x;
}

}  // namespace asap::tests
