// Scoped: a value that is another one for the life of an object. The guards of a thread's settings are made of it:
// ScopedPrecision, ScopedAllocator, NoGrad, and nn's SeededRandom and Blank.
#pragma once

#include <utility>

namespace asap {

template <class T>
class Scoped {
 public:
  Scoped(T& place, T value) : place_(place), before_(std::exchange(place, std::move(value))) {}
  ~Scoped() { place_ = std::move(before_); }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T& place_;
  T before_;
};

}  // namespace asap
