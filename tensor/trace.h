// Trace: kernels (kernel_slot.h), gradients (autograd) and layers (nn/module.h) tell one observer of the process when they
// begin and end. Without an observer that costs a look at a pointer. nn/profiler.h and nn/summary.h observe.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "tensor/shape.h"

namespace asap {

enum class TraceKind { kernel, gradient, layer };

struct TraceLabel {
  std::string name;             // "slot=variant", the op whose gradients are computed, the layer's path
  std::vector<Shape> shapes{};  // of a kernel's tensors, in order, the undefined ones left out
};

// Told of each piece of work on the thread that does it: pieces of one thread nest, those of several run at once.
class TraceObserver {
 public:
  virtual ~TraceObserver() = default;
  virtual void begin(TraceKind kind, const TraceLabel& label) = 0;
  virtual void end(TraceKind kind) = 0;
};

// To be changed only while nothing runs.
inline constinit std::atomic<TraceObserver*> trace_observer = nullptr;

// A piece of work, for its life. label() is called if somebody observes.
class Traced {
 public:
  template <class Label>
  Traced(TraceKind kind, const Label& label) : kind_(kind), observer_(trace_observer.load(std::memory_order_acquire)) {
    if (observer_) observer_->begin(kind, label());
  }
  ~Traced() {
    if (observer_) observer_->end(kind_);
  }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;

 private:
  TraceKind kind_;
  TraceObserver* observer_;
};

}  // namespace asap
