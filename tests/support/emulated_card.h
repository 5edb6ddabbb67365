// What the tests of the emulator share: numbers, tensors on the emulated card, an order of threads.
#pragma once

#include <random>
#include <vector>

#include "cuda/common.cuh"
#include "cuda/emulate/options.h"

namespace asap::tests {

inline std::vector<float> random_values(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

inline std::vector<float> small_integers(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random() % 15) - 7;
  return values;
}

inline Tensor on_card(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, Device::cuda);
}

class Order {
 public:
  explicit Order(emulate::ThreadOrder order) { emulate::options().order = order; }
  ~Order() { emulate::options().order = emulate::ThreadOrder::forward; }
};

}  // namespace asap::tests
