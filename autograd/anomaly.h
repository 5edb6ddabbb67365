// Anomaly detection: while a DetectAnomaly lives on a thread, the first op whose result or gradient has a NaN or an infinity
// is an asap::Error that names it, and the layer it was called in. Every op waits for its result then: for looking into a
// failure, not for training.
#pragma once

#include <span>
#include <string>

#include "tensor/scoped.h"
#include "tensor/tensor.h"

namespace asap {

inline constinit thread_local bool detects_anomaly = false;
// Forward and backward must both run while it lives.
struct DetectAnomaly : Scoped<bool> {
  DetectAnomaly() : Scoped(detects_anomaly, true) {}
};

// The path of the innermost layer that runs on this thread, which nn says while anomalies are looked for.
inline thread_local std::string anomaly_layer;

namespace anomaly {
// Of the op's result. The layer is not named: an error that leaves it begins with its path (Layer::operator()).
void check_result(const char* op, const Tensor& result);
// Of what the op's gradient function returned for its inputs; a tensor that is undefined is not looked at.
void check_gradients(const char* op, const std::string& layer, std::span<const Tensor> gradients);
}  // namespace anomaly

}  // namespace asap
