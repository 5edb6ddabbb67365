// Reductions of adjacent elements in vector registers. Used by reduce.cpp, norm.cpp.
#if defined(ASAP_CPU_REDUCE_RUN_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_REDUCE_RUN_H
#undef ASAP_CPU_REDUCE_RUN_H
#else
#define ASAP_CPU_REDUCE_RUN_H
#endif

#include <cstdint>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// How values are combined. Sums of float are carried in double.
template <class T>
struct Sum {
  using Acc = double;
  static constexpr Acc kStart = 0;
  static Acc combine(Acc acc, Acc value) { return acc + value; }
};
// NaN if one of the values is.
template <class T>
struct Max {
  using Acc = T;
  static constexpr Acc kStart = -std::numeric_limits<T>::infinity();
  static Acc combine(Acc acc, Acc value) { return value > acc || value != value ? value : acc; }
};

// value(0), ..., value(n-1) combined in 32 interleaved chains, then the chains pairwise: always in the same order.
template <class Op, class F>
typename Op::Acc reduce_run(int64_t n, const F& value) {
  constexpr int64_t kLanes = 32;
  typename Op::Acc lane[kLanes];
  for (auto& l : lane) l = Op::kStart;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lane[l] = Op::combine(lane[l], value(i + l));
  }
  for (int64_t l = 0; i + l < n; ++l) lane[l] = Op::combine(lane[l], value(i + l));
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t l = 0; l < width; ++l) lane[l] = Op::combine(lane[l], lane[l + width]);
  }
  return lane[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
