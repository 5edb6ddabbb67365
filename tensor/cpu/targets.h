// One binary for every processor: kernel files are compiled once for each instruction set that Highway names here, and the
// best one that isa() allows (isa.h) runs. Loops and compilers' vectors become that set's instructions only inside the region:
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "tensor/cpu/pool.cpp"  // this very file, which Highway includes again for each set
//   #include "tensor/cpu/targets.h"
//   #include ...
//   HWY_BEFORE_NAMESPACE();
//   namespace asap::cpu {
//   namespace HWY_NAMESPACE {                         // N_AVX2, N_AVX3 (AVX-512), and what the compiler's options allow
//   void average(const Tensor& x, Tensor& y) { ... }
//   }  // namespace HWY_NAMESPACE
//   #if HWY_ONCE                                      // what is needed once
//   HWY_EXPORT(average);
//   void register_pool() { kernels::average.add(Device::cpu, "fast", HWY_DYNAMIC_DISPATCH(average)); }
//   #endif
//   }  // namespace asap::cpu
//   HWY_AFTER_NAMESPACE();
//
// A header with kernels has such a region too. It is read once for each set, so its guard is not #pragma once but
//   #if defined(ASAP_CPU_FILE_H) == defined(HWY_TARGET_TOGGLE)
//   #ifdef ASAP_CPU_FILE_H
//   #undef ASAP_CPU_FILE_H
//   #else
//   #define ASAP_CPU_FILE_H
//   #endif
//   ...
//   #endif  // per target
// What stands outside a region (std, parallel.h) is compiled for any x86-64; it becomes fast only where it is inlined, and must
// neither take nor return a vector by value.
#ifndef HWY_DISABLED_TARGETS
// SVE's vectors have no size that a compiler knows, so that arrays cannot hold them: NEON serves there.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif

// Before a loop whose outputs may be its inputs, but never shifted: one element does not depend on another.
#ifdef __clang__
#define ASAP_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ASAP_INDEPENDENT _Pragma("GCC ivdep")
#endif

#ifdef HWY_TARGET_INCLUDE
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#endif
