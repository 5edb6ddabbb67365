// The numbers of one Adam step: the definition of adam_begin on both backends (constexpr, so that nvcc takes it into
// kernels too). Used by cpu/optim.cpp and the CUDA backend's optim.cu.
#pragma once

#include <cmath>
#include <limits>

#include "tensor/kernels.h"

namespace asap {

template <class T>
constexpr void begin_adam(const T* losses, int64_t count, const AdamParams& params, AdamState& state) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite = finite && std::abs(losses[i]) <= std::numeric_limits<T>::max();
  state.goes = finite ? 1 : 0;
  state.step += state.goes;
  state.rate = state.lr / (1 - std::pow(params.beta1, state.step));
  state.scale = 1 / std::sqrt(1 - std::pow(params.beta2, state.step));
}

}  // namespace asap
