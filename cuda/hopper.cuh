// Tools of compute capability 9.0 (Hopper) behind plain functions: clusters of blocks that reach each other's shared memory,
// kernels that start before the one ahead of them has ended, barriers that copies of whole tiles arrive at (mbarrier, TMA), and
// products of a warpgroup (wgmma). On a card each is one PTX instruction (PTX ISA 8.x, sections "barrier.cluster", "mapa",
// "griddepcontrol", "mbarrier", "cp.async.bulk.tensor" and "Asynchronous Warpgroup Level Matrix instructions"); emulated, the
// blocks of a cluster take turns on one core, and copies and products are done only when they are waited for.
// wgmma exists on 9.0 alone and only in code built for 90a: ask card_has_wgmma() of context.h. Elsewhere these functions trap.
#pragma once

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#if defined(ASAP_CUDA_EMULATE)
#include "cuda/emulate/phase_barrier.h"
#include "cuda/emulate/warpgroup.h"
#define ASAP_ON_90(instruction, instead) instead
#define ASAP_ON_90A(instruction, instead) instead
#else
#include <cuda.h>
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define ASAP_ON_90(instruction, instead) instruction
#else
#define ASAP_ON_90(instruction, instead) __trap()
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define ASAP_ON_90A(instruction, instead) instruction
#else
#define ASAP_ON_90A(instruction, instead) __trap()
#endif
#endif

namespace asap::cuda {

// ---- clusters -------------------------------------------------------------------------------------------------------
// Of a kernel launched with Launch::in_clusters(n): its blocks n i .. n i + n - 1 along x run at the same time. All threads of
// all blocks of the cluster must come to its barriers. A block must not touch another's shared memory before a barrier
// has shown that that block runs, and must not end while others may touch its own.

// This block's number in its cluster; 0 of a kernel without clusters.
__device__ __forceinline__ int cluster_rank() {
  int rank = 0;
  ASAP_ON_90(asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank)), rank = emulate::cluster_rank());
  return rank;
}

// The two halves of a barrier. What was written before arriving is seen after waiting, shared memory of all blocks included.
__device__ __forceinline__ void cluster_arrive() {
  ASAP_ON_90(asm volatile("barrier.cluster.arrive.release;" ::: "memory"), emulate::cluster_arrive());
}
// Shows, of what was written before, barriers with phases alone, after fence_phase_barriers(): so it costs no fence of the card.
__device__ __forceinline__ void cluster_arrive_relaxed() {
  ASAP_ON_90(asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory"), emulate::cluster_arrive());
}
__device__ __forceinline__ void cluster_wait() {
  ASAP_ON_90(asm volatile("barrier.cluster.wait.acquire;" ::: "memory"), emulate::cluster_wait());
}
__device__ __forceinline__ void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}

// The place in the shared memory of the cluster's block `rank` that `shared` is in this block's; for ordinary reads and writes.
// Emulated: of dynamic shared memory alone.
template <class T>
__device__ __forceinline__ T* of_block(T* shared, int rank) {
  T* there = nullptr;
  ASAP_ON_90(asm("mapa.u64 %0, %1, %2;"
                 : "=l"(there)
                 : "l"(shared), "r"(rank)),
             there = static_cast<T*>(emulate::of_block(shared, rank)));
  return there;
}

// ---- kernels that overlap -------------------------------------------------------------------------------------------
// A kernel launched with Launch::overlapping() may start when every block of the kernel ahead has called
// let_next_kernel_start() or ended. What it does before wait_for_previous_kernel() must not touch memory that kernels
// ahead write, nor write what they read; every thread must call it. Without overlapping() both do nothing.
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// All kernels ahead have ended, and what they wrote is seen.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if defined(ASAP_CUDA_EMULATE)
  emulate::this_thread().waited_for_previous = true;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- barriers with phases, and copies of tiles that arrive at them ------------------------------------------------------
// A PhaseBarrier (mbarrier) lies in dynamic shared memory. Its phase is complete when `count` arrivals have come and all bytes
// that were announced; then the next one begins. Waiting for parity 0 is waiting for phases 0, 2, .. : it returns once the
// current phase has the other parity. A ring of stages has two for each stage: "full", where the copy arrives, and "free",
// where those who read it do. Whoever begins one fences it, fence_phase_barriers(), before
// the __syncthreads() behind which it is used.

using PhaseBarrier = uint64_t;

__device__ __forceinline__ void begin_phases(PhaseBarrier* barrier, [[maybe_unused]] int count) {
  ASAP_ON_90(asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
                          : "memory"),
             emulate::begin_phases(barrier, count));
}
__device__ __forceinline__ void fence_phase_barriers() {
  ASAP_ON_90(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"), static_cast<void>(0));
}
// What this thread wrote before is seen by those who wait.
__device__ __forceinline__ void arrive(PhaseBarrier* barrier) {
  ASAP_ON_90(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                          : "memory"),
             emulate::arrive(barrier, 0));
}
// Arrives at the barrier that stands at this place in the shared memory of the cluster's block `rank`; a barrier of the cluster has
// shown that it was begun there, and that block must not end before somebody has waited for it. Says that this thread has read,
// not what it wrote: a release to other blocks would cost a fence of the whole card.
__device__ __forceinline__ void arrive_at_block(PhaseBarrier* barrier, [[maybe_unused]] int rank) {
  ASAP_ON_90(asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
                          "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(barrier)),
                          "r"(rank)
                          : "memory"),
             emulate::arrive_at_block(barrier, rank));
}
// Arrives, and announces `bytes` that copies will bring before the phase is complete.
__device__ __forceinline__ void arrive_expecting(PhaseBarrier* barrier, [[maybe_unused]] int bytes) {
  ASAP_ON_90(asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                          "r"(bytes)
                          : "memory"),
             emulate::arrive(barrier, bytes));
}
__device__ __forceinline__ void wait_for_phase(PhaseBarrier* barrier, [[maybe_unused]] int parity) {
  ASAP_ON_90(asm volatile("{\n.reg .pred done;\n"
                          "again:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra again;\n}"
                          ::"r"(shared_address(barrier)),
                          "r"(parity)
                          : "memory"),
             emulate::wait_for_phase(barrier, parity));
}

// A matrix of bf16 in device memory and how its tiles of 64 columns lie in shared memory: swizzled as wgmma reads them (below).
// Passed to kernels as `const __grid_constant__ TileMap`.
#if defined(ASAP_CUDA_EMULATE)
using TileMap = emulate::TileMap;
#else
using TileMap = CUtensorMap;
#endif
constexpr int kTileColumns = 64;
// The matrix starts at a multiple of 16 bytes, and so do its rows, row_bytes apart; tiles have `tile_rows` (at most 256).
// asap::Error where the driver takes no such map.
TileMap tile_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t row_bytes, int tile_rows);

// Has the map fetched, so that the first copy need not wait for it.
__device__ __forceinline__ void prefetch_map([[maybe_unused]] const TileMap& map) {
  ASAP_ON_90(asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"), static_cast<void>(0));
}
// One thread starts the copy of a whole tile, which arrives at `barrier` as tile_rows x 128 bytes; what lies outside of the
// matrix is zeros. `to`: a multiple of 1024 bytes. Products of a warpgroup see it without a fence.
__device__ __forceinline__ void copy_tile_async([[maybe_unused]] void* to, const TileMap& map,
                                                [[maybe_unused]] int first_row, [[maybe_unused]] int first_column,
                                                PhaseBarrier* barrier) {
  ASAP_ON_90(asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                          "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                          "l"(&map), "r"(first_column), "r"(first_row), "r"(shared_address(barrier))
                          : "memory"),
             emulate::copy_tile(to, map, first_row, first_column, barrier));
}
// The same to this place in the shared memory of the cluster's blocks 0 .. blocks - 1 (multicast; as wgmma, of 90a alone): the
// tile is read once, and arrives in each of them at its own barrier. They must have begun these, nobody there may still read
// what lies in the place, and this block must not end before it has arrived.
__device__ __forceinline__ void copy_tile_to_blocks_async([[maybe_unused]] void* to, const TileMap& map,
                                                          [[maybe_unused]] int first_row, [[maybe_unused]] int first_column,
                                                          PhaseBarrier* barrier, [[maybe_unused]] int blocks) {
  ASAP_ON_90A(asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                           "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(to)),
                           "l"(&map), "r"(first_column), "r"(first_row), "r"(shared_address(barrier)),
                           "h"(static_cast<uint16_t>((1 << blocks) - 1))
                           : "memory"),
              emulate::copy_tile_to_blocks(to, map, first_row, first_column, barrier, blocks));
}

// ---- products of a warpgroup ----------------------------------------------------------------------------------------
// The 128 threads of a warpgroup (warps 4 i .. 4 i + 3) together compute D += A B, A 64 x 16 and B 16 x N in bf16 in shared
// memory, D 64 x N in float32 in registers. In this order, by all of its threads:
//   (operands written) fence_shared_for_async(); __syncthreads(); warpgroup_arrive(); warpgroup_multiply<N>(d, a, b) ...;
//   warpgroup_commit(); warpgroup_wait<0>(d);  then d may be read, and after a barrier the operands overwritten.
// Register i of a thread, with l its lane and w its warp modulo 4, is D(16 w + l / 4 + 8 (i / 2 % 2), 8 (i / 4) + 2 (l % 4) +
// i % 2): as in mma.cuh, for each 8 columns.
//
// Both operands lie K-major: the 8 elements (16 bytes, a chunk) of one row of A, or column of B, that are neighbours in k
// lie side by side. "Row" below is a row of A or a column of B.
//   Not swizzled: 8 rows x 1 chunk lie side by side, row after row (a core matrix, 128 bytes). leading_bytes (LBO) is from a
//     core matrix to its neighbour in k, stride_bytes (SBO) to that of the next 8 rows.
//   Swizzled: a row is 128 bytes, 64 elements of k; 8 rows follow each other (1024 bytes, starting at a multiple of 1024: see
//     aligned_shared), stride_bytes is from there to the next 8 rows. Chunk c of row r lies at chunk c ^ (r % 8), so that 8
//     rows of one chunk meet different banks. leading_bytes is not used; give 16. `start` is in the first row: 32 bytes further for
//     the next 16 of k, the swizzle being applied to the address.
//
// warpgroup_multiply_rows takes A from registers, each warp's 16 rows as in mma.cuh: D, rounded in place, is A of the next
// product. B is not K-major but lies in rows of k: the 64 columns of one k are 128 bytes, swizzled as above with k for the row,
// and stride_bytes is from 8 k to the next 8. The next 16 of k begin two strides further.

// dynamic_shared, aligned to 1024 bytes.
template <class T>
__device__ __forceinline__ T* aligned_shared() {
#if defined(ASAP_CUDA_EMULATE)
  return static_cast<T*>(emulate::aligned_shared());
#else
  extern __shared__ __align__(1024) unsigned char asap_aligned_shared[];
  return reinterpret_cast<T*>(asap_aligned_shared);
#endif
}

// How an operand lies in shared memory, for warpgroup_multiply. All three numbers are multiples of 16. moved(result, n / 16) starts
// n bytes further. The instruction wants it in uniform registers: make it of what is equal in all lanes, and say so (warpgroup()).
__device__ __forceinline__ uint64_t matrix_descriptor(const void* start, int leading_bytes, int stride_bytes,
                                                      bool swizzled_128) {
#if defined(ASAP_CUDA_EMULATE)
  const uint32_t address = emulate::shared_address(start, leading_bytes, stride_bytes);
#else
  const uint32_t address = shared_address(start);
#endif
  const auto field = [](uint32_t bytes) { return uint64_t{(bytes & 0x3FFFF) >> 4}; };
  return field(address) | field(static_cast<uint32_t>(leading_bytes)) << 16 |
         field(static_cast<uint32_t>(stride_bytes)) << 32 | uint64_t{swizzled_128} << 62;
}

__device__ __forceinline__ uint64_t moved(uint64_t descriptor, int chunks) {
  return (descriptor & ~uint64_t{0xFFFFFFFF}) | (static_cast<uint32_t>(descriptor) + static_cast<uint32_t>(chunks));
}
// This thread's warpgroup. From lane 0's mouth, so that the compiler knows it to be the same in all lanes.
__device__ __forceinline__ int warpgroup() {
  return __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / 128, 0);
}

// Before the first product, and again before one whose d was touched since.
__device__ __forceinline__ void warpgroup_arrive() {
  ASAP_ON_90A(asm volatile("wgmma.fence.sync.aligned;" ::: "memory"), emulate::warpgroup_arrive());
}

// Operand lists of the instruction: "%0,%1,...," and the registers themselves.
// clang-format off
#define ASAP_PLACES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define ASAP_PLACES_32 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define ASAP_PLACES_36 ASAP_PLACES_32 ",%32,%33,%34,%35"
#define ASAP_PLACES_64 ASAP_PLACES_32 \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define ASAP_PLACES_128 ASAP_PLACES_64 \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define ASAP_REGISTERS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define ASAP_REGISTERS_16(i) ASAP_REGISTERS_8(i), ASAP_REGISTERS_8(i + 8)
#define ASAP_REGISTERS_32(i) \
  ASAP_REGISTERS_8(i), ASAP_REGISTERS_8(i + 8), ASAP_REGISTERS_8(i + 16), ASAP_REGISTERS_8(i + 24)
#define ASAP_REGISTERS_36(i) \
  ASAP_REGISTERS_32(i), "+f"(d[i + 32]), "+f"(d[i + 33]), "+f"(d[i + 34]), "+f"(d[i + 35])
#define ASAP_REGISTERS_64(i) ASAP_REGISTERS_32(i), ASAP_REGISTERS_32(i + 32)
#define ASAP_REGISTERS_128(i) ASAP_REGISTERS_64(i), ASAP_REGISTERS_64(i + 64)
// Places a, b and c of the list are the descriptors and whether to accumulate.
#define ASAP_MULTIPLY(n, count, a_place, b_place, c_place)                                                           \
  asm volatile("{\n.reg .pred accumulate;\nsetp.ne.b32 accumulate, %" #c_place ", 0;\n"                              \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" ASAP_PLACES_##count "}, "               \
               "%" #a_place ", %" #b_place ", accumulate, 1, 1, 0, 0;\n}"                                            \
               : ASAP_REGISTERS_##count(0)                                                                           \
               : "l"(a), "l"(b), "r"(int{accumulate}))
// clang-format on

// d += A B, or d = A B where not `accumulate`; done after warpgroup_commit() and warpgroup_wait().
template <int N>
__device__ __forceinline__ void warpgroup_multiply(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate = true) {
  static_assert(N == 32 || N == 64 || N == 72 || N == 128 || N == 256);
#if defined(ASAP_CUDA_EMULATE)
  emulate::warpgroup_multiply(d, N, a, b, accumulate);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (N == 32) ASAP_MULTIPLY(32, 16, 16, 17, 18);
  if constexpr (N == 64) ASAP_MULTIPLY(64, 32, 32, 33, 34);
  if constexpr (N == 72) ASAP_MULTIPLY(72, 36, 36, 37, 38);
  if constexpr (N == 128) ASAP_MULTIPLY(128, 64, 64, 65, 66);
  if constexpr (N == 256) ASAP_MULTIPLY(256, 128, 128, 129, 130);
#else
  __trap();
#endif
}

// d += A B, 64 x 64, A in registers and B in rows of k. Neither d nor a may be touched before warpgroup_wait(d, a).
__device__ __forceinline__ void warpgroup_multiply_rows(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
#if defined(ASAP_CUDA_EMULATE)
  emulate::warpgroup_multiply_rows(d, 64, a, b);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "{\n.reg .pred accumulate;\nsetp.eq.b32 accumulate, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" ASAP_PLACES_32
      "}, {%32,%33,%34,%35}, %36, accumulate, 1, 1, 1;\n}"
      : ASAP_REGISTERS_32(0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#else
  __trap();
#endif
}

// Ends the group of the products begun so far.
__device__ __forceinline__ void warpgroup_commit() {
  ASAP_ON_90A(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"), emulate::warpgroup_commit());
}

#if !defined(ASAP_CUDA_EMULATE)
template <int kCount>
__device__ __forceinline__ void keep_until_here(float (&values)[kCount]) {
#pragma unroll
  for (float& x : values) asm volatile("" : "+f"(x)::"memory");
}
template <int kRows, int kCount>
__device__ __forceinline__ void keep_until_here(uint32_t (&values)[kRows][kCount]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (uint32_t& x : values[i]) asm volatile("" : "+r"(x)::"memory");
  }
}
#endif

// Waits until at most Pending of the newest groups are unfinished. Name the arrays that are read next, so that the compiler
// reads none of them earlier, and operands in registers, so that it keeps them until then.
template <int Pending, class... Arrays>
__device__ __forceinline__ void warpgroup_wait(Arrays&... arrays) {
  ASAP_ON_90A(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending)
                           : "memory"),
              emulate::warpgroup_wait(Pending));
#if !defined(ASAP_CUDA_EMULATE)
  (keep_until_here(arrays), ...);
#else
  (static_cast<void>(arrays), ...);
#endif
}

// Four 8 x 8 matrices of 16-bit elements, as load_matrices of mma.cuh gives them, to shared memory, transposed: lane l names where
// column l % 8 of matrix l / 8 goes, 16 bytes, aligned to 16. All 32 lanes together (stmatrix).
__device__ __forceinline__ void store_matrices_transposed(void* column, [[maybe_unused]] const uint32_t (&r)[4]) {
  ASAP_ON_90(asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address(column)),
                          "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                          : "memory"),
             emulate::store_matrices_transposed(column, r));
}

// What this thread wrote to shared memory, by ordinary writes or copy_async, is seen by products after the next barrier.
__device__ __forceinline__ void fence_shared_for_async() {
  ASAP_ON_90(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"), emulate::fence_shared_for_async());
}

#undef ASAP_ON_90
#undef ASAP_ON_90A
#undef ASAP_PLACES_16
#undef ASAP_PLACES_32
#undef ASAP_PLACES_36
#undef ASAP_PLACES_64
#undef ASAP_PLACES_128
#undef ASAP_REGISTERS_8
#undef ASAP_REGISTERS_16
#undef ASAP_REGISTERS_32
#undef ASAP_REGISTERS_36
#undef ASAP_REGISTERS_64
#undef ASAP_REGISTERS_128
#undef ASAP_MULTIPLY

}  // namespace asap::cuda
