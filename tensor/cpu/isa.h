// Which instruction sets the CPU kernels use: the best that processor and operating system have, or a lower one, by name:
//   ASAP_ISA=avx2   (environment: baseline, avx2, avx512, avx512_bf16 or amx)
// Each set contains those before it. Asked once, by the first kernel that runs.  Next: bf16_product.h.
#pragma once

#include <string>

namespace asap::cpu {

enum class Isa { baseline, avx2, avx512, avx512_bf16, amx };

const char* name(Isa);
// What this machine has.
Isa best_isa();
// What the kernels use. Throws if ASAP_ISA names no set, or one that this machine lacks.
Isa isa();

// Whether one instruction multiplies bf16 and sums in f32. Without, products of bf16 are no faster than those of f32.
inline bool has_bf16_products() { return isa() >= Isa::avx512_bf16; }

}  // namespace asap::cpu
