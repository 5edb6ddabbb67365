// Tensor cores and asynchronous copies behind plain functions: warp-wide matrix products (mma), loads of their operands
// from shared memory (ldmatrix), and cp.async. On a card each is one PTX instruction (PTX ISA 8.x, sections "Matrix
// multiply-accumulate" and "cp.async"); emulated, the lanes exchange their registers, and a copy is done only when it is
// waited for (or, with ASAP_EMULATE_COPIES=early, at once). All need compute capability 8.0. All 32 lanes of a warp must
// call mma and ldmatrix together.
//
// Registers of one lane, g = lane / 4, t = lane % 4; rows and columns of the 16 x K operand A, K x 8 operand B, 16 x 8 D:
//   D  d0 (g, 2t)  d1 (g, 2t+1)  d2 (g+8, 2t)  d3 (g+8, 2t+1)
//   tf32, K = 8:   A  a0 (g, t)  a1 (g+8, t)  a2 (g, t+4)  a3 (g+8, t+4)      B  b0 (t, g)  b1 (t+4, g)
//   bf16, K = 16, two a register, the lower column or row in the lower half:
//                  A  a0 (g, 2t)  a1 (g+8, 2t)  a2 (g, 2t+8)  a3 (g+8, 2t+8)  B  b0 (2t, g)  b1 (2t+8, g)
#pragma once

#include "cuda/common.cuh"
#if defined(ASAP_CUDA_EMULATE)
#include "cuda/emulate/tensor_core.h"
#endif

namespace asap::cuda {

// ---- rounding -------------------------------------------------------------------------------------------------------

// The nearest number of 10 bits of significand (ties away from zero), as the bits of a float.
__device__ __forceinline__ uint32_t to_tf32(float x) {
#if defined(ASAP_CUDA_EMULATE)
  const uint32_t bits = __float_as_uint(x);
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & ~0x1FFFu;
#else
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#endif
}

// Two numbers rounded to bf16 (to nearest, ties to even), `low` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
#if defined(ASAP_CUDA_EMULATE)
  return uint32_t{bf16(low).bits} | uint32_t{bf16(high).bits} << 16;
#else
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
#endif
}
__device__ __forceinline__ float low_bf16(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_bf16(uint32_t pair) { return __uint_as_float(pair & 0xFFFF0000u); }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(uint32_t{x.bits} << 16); }
__device__ __forceinline__ bf16 to_bf16(float x) {
  bf16 result;
  result.bits = static_cast<uint16_t>(pack_bf16(x, 0.0f));
  return result;
}

// LeakyReLU of two numbers, 0 <= slope <= 1; `slopes` holds the slope twice. A negative number is rounded once more.
__device__ __forceinline__ uint32_t leaky_bf16(uint32_t pair, uint32_t slopes) {
#if defined(ASAP_CUDA_EMULATE)
  const uint32_t scaled = pack_bf16(low_bf16(pair) * low_bf16(slopes), high_bf16(pair) * high_bf16(slopes));
  const auto larger = [](float a, float b) { return b > a || a != a ? b : a; };
  return pack_bf16(larger(low_bf16(pair), low_bf16(scaled)), larger(high_bf16(pair), high_bf16(scaled)));
#else
  uint32_t result;  // + -0, since a product alone is an instruction of compute capability 9.0
  asm("{\n.reg .b32 scaled;\nfma.rn.bf16x2 scaled, %1, %2, %3;\nmax.bf16x2 %0, %1, scaled;\n}"
      : "=r"(result)
      : "r"(pair), "r"(slopes), "r"(0x80008000u));
  return result;
#endif
}

// threadIdx.x, read anew: the compiler computes what follows from it at each use, instead of keeping it in registers that a
// tile of sums needs more.
__device__ __forceinline__ int fresh_thread() {
#if defined(ASAP_CUDA_EMULATE)
  return static_cast<int>(threadIdx.x);
#else
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
#endif
}

// ---- matrix products ------------------------------------------------------------------------------------------------

#if defined(ASAP_CUDA_EMULATE)
namespace emulated {

// One lane's registers, as exchanged; a and b as floats already rounded.
struct Operands {
  uint32_t a[4], b[2];
};
// Gathers the warp's operands and returns this lane's four sums over k of A(row, k) B(k, column).
template <int K, class A, class B>
void product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const A& element_a, const B& element_b) {
  Operands own;
  std::copy_n(a, 4, own.a);
  std::copy_n(b, 2, own.b);
  const auto* payloads = emulate::exchange(kAllLanes, &own, sizeof own);
  const auto lane = [&](int l) { return emulate::lane_value<Operands>(payloads, l); };
  const int self = static_cast<int>(emulate::this_thread().linear) % kWarp, g = self / 4, t = self % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + (i < 2 ? 0 : 8), column = 2 * t + i % 2;
    std::array<double, K> products;
    for (int k = 0; k < K; ++k)
      products[static_cast<size_t>(k)] = static_cast<double>(element_a(lane, row, k)) * element_b(lane, k, column);
    d[i] = emulate::tensor_core_sum(d[i], products);
  }
}

}  // namespace emulated
#endif

// d += A B, one 16 x 8 x 8 product in tf32.
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(ASAP_CUDA_EMULATE)
  emulated::product<8>(
      d, a, b,
      [](const auto& lane, int row, int k) {
        return __uint_as_float(lane(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2] & ~0x1FFFu);
      },
      [](const auto& lane, int k, int column) {
        return __uint_as_float(lane(column * 4 + k % 4).b[k / 4] & ~0x1FFFu);
      });
#else
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// d += A B, one 16 x 8 x 16 product in bf16.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(ASAP_CUDA_EMULATE)
  const auto half = [](uint32_t pair, int k) { return k % 2 ? high_bf16(pair) : low_bf16(pair); };
  emulated::product<16>(
      d, a, b,
      [&](const auto& lane, int row, int k) { return half(lane(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2], k); },
      [&](const auto& lane, int k, int column) { return half(lane(column * 4 + k % 8 / 2).b[k / 8], k); });
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// ---- operands from shared memory ------------------------------------------------------------------------------------

#if !defined(ASAP_CUDA_EMULATE)
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}
#endif

// Four 8 x 8 matrices of 16-bit elements. Lane l names row l % 8 of matrix l / 8: 16 bytes, aligned to 16. The lane gets,
// of matrix i, elements (l / 4, 2(l % 4)) and (l / 4, 2(l % 4) + 1) in r[i]. Also for 8 x 4 matrices of 32-bit elements:
// element (l / 4, l % 4).
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
#if defined(ASAP_CUDA_EMULATE)
  const auto* payloads = emulate::exchange(kAllLanes, &row, sizeof row);
  const int l = static_cast<int>(emulate::this_thread().linear) % kWarp;
  for (int i = 0; i < 4; ++i) {
    std::memcpy(&r[i],
                static_cast<const char*>(emulate::lane_value<const void*>(payloads, 8 * i + l / 4)) + 4 * (l % 4), 4);
  }
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
#endif
}

// ---- asynchronous copies from global to shared memory ---------------------------------------------------------------

// Copies Bytes (4, 8 or 16; both addresses aligned to as much) without passing through registers: the first `there` of them,
// the rest are zeros (`from` must be an address even where none is). Done after copy_commit() and copy_wait(),
// visible to the other threads after a barrier.
template <int Bytes>
__device__ __forceinline__ void copy_async_part(void* to, const void* from, int there) {
#if defined(ASAP_CUDA_EMULATE)
  auto& thread = emulate::this_thread();
  if (reinterpret_cast<uintptr_t>(to) % Bytes || reinterpret_cast<uintptr_t>(from) % Bytes) {
    emulate::kernel_error("copy_async of an address that is not aligned to its size");
  }
  thread.copies.push_back({to, from, Bytes, static_cast<size_t>(there), thread.copy_group});
  if (emulate::options().copies_early) thread.copies.back().run();
#else
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(there)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from), "n"(Bytes),
                 "r"(there)
                 : "memory");
  }
#endif
}
template <int Bytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool valid = true) {
  copy_async_part<Bytes>(to, from, valid ? Bytes : 0);
}

// Asks for the 128 bytes around an address of global memory to be brought to the second-level cache.
__device__ __forceinline__ void prefetch_to_cache([[maybe_unused]] const void* address) {
#if !defined(ASAP_CUDA_EMULATE)
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

// Ends the group of the copies issued so far by this thread.
__device__ __forceinline__ void copy_commit() {
#if defined(ASAP_CUDA_EMULATE)
  ++emulate::this_thread().copy_group;
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most Pending of the newest groups of this thread are unfinished.
template <int Pending>
__device__ __forceinline__ void copy_wait() {
#if defined(ASAP_CUDA_EMULATE)
  auto& thread = emulate::this_thread();
  std::erase_if(thread.copies, [&](const auto& copy) {
    if (copy.group + Pending >= thread.copy_group) return false;
    if (!emulate::options().copies_early) copy.run();
    return true;
  });
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace asap::cuda
