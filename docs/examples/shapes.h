// Pictures for the examples: a filled circle, square, triangle or cross of random size, place and brightness on a noisy
// 16x16 background. Made on the spot, so that the examples need no download.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/ops.h"
#include "tensor/random.h"

namespace shapes {

inline constexpr int kSide = 16, kClasses = 4;
inline constexpr const char* kNames[kClasses] = {"circle", "square", "triangle", "cross"};

struct Shapes {
  asap::Tensor pictures;  // f32 [N,1,16,16], 0 to 1 and a little noise
  asap::Tensor labels;    // i32 [N], 0..3
};

// Whether (x, y), measured from the middle in units of the radius, lies inside the shape.
inline bool inside(int kind, float x, float y) {
  switch (kind) {
    case 0: return x * x + y * y < 1;
    case 1: return std::max(std::abs(x), std::abs(y)) < 0.85f;
    case 2: return y < 0.8f && y > 2 * std::abs(x) - 1;
    default: return std::min(std::abs(x), std::abs(y)) < 0.3f && std::max(std::abs(x), std::abs(y)) < 1;
  }
}

// `count` shapes; each call takes fresh random numbers from the stream.
inline Shapes make(int64_t count, asap::RandomStream& random) {
  const auto draws = static_cast<uint64_t>(5 * count);
  const asap::Tensor numbers = asap::random_uniform({count, 5}, {.seed = random.seed, .offset = random.take(draws)});
  const asap::Shape shape{count, 1, kSide, kSide};
  const uint64_t offset = random.take(static_cast<uint64_t>(shape.numel()));
  Shapes result{asap::random_normal(shape, {.seed = random.seed, .offset = offset, .a = 0, .b = 0.05}), {}};
  std::vector<int32_t> labels;
  float* pixel = result.pictures.data<float>();
  const float* draw = numbers.data<float>();
  for (int64_t i = 0; i < count; ++i, draw += 5) {
    const int kind = std::min(static_cast<int>(draw[0] * kClasses), kClasses - 1);
    const float radius = 4 + 3 * draw[1], brightness = 0.5f + 0.5f * draw[2];
    const float cx = radius + (kSide - 1 - 2 * radius) * draw[3], cy = radius + (kSide - 1 - 2 * radius) * draw[4];
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x, ++pixel) {
        if (inside(kind, (static_cast<float>(x) - cx) / radius, (static_cast<float>(y) - cy) / radius))
          *pixel += brightness;
      }
    }
    labels.push_back(kind);
  }
  result.labels = asap::Tensor::from(labels, {count});
  return result;
}

// Share of the rows of logits [N,C] whose largest stands at the label.
inline double accuracy(const asap::Tensor& logits, const asap::Tensor& labels) {
  const std::vector<int32_t> named = asap::argmax(logits, 1).to_vector<int32_t>(), wanted = labels.to_vector<int32_t>();
  int right = 0;
  for (size_t i = 0; i < wanted.size(); ++i) right += named[i] == wanted[i];
  return static_cast<double>(right) / static_cast<double>(wanted.size());
}

}  // namespace shapes
