// Products of a warpgroup (wgmma) under emulation: every thread computes its own part of D from the operands' descriptors,
// when it waits for it (or, with ASAP_EMULATE_COPIES=early, when it is issued; it sees it when it has waited). Stands behind ../hopper.cuh. Checked on the way: that the 128 threads come together with equal
// operands, the alignment of what a descriptor says, that operands lie in the block's dynamic shared memory, and that the
// tensor cores see them (fence_shared_for_async, then a barrier). What a descriptor means is told in ../hopper.cuh.
#pragma once

#include <cstdint>

namespace asap::emulate {

// The 18-bit address in the shared window that a descriptor starts from; checks the numbers that it drops bits of.
uint32_t shared_address(const void* start, int leading_bytes, int stride_bytes);
void* aligned_shared();
void fence_shared_for_async();
void warpgroup_arrive();
// d: n / 2 registers of D, 64 x n.
void warpgroup_multiply(float* d, int n, uint64_t a, uint64_t b, bool accumulate);
// d += A B: a, this lane's registers of A; b in rows of k.
void warpgroup_multiply_rows(float* d, int n, const uint32_t (&a)[4], uint64_t b);
void warpgroup_commit();
void warpgroup_wait(unsigned pending);

void store_matrices_transposed(void* column, const uint32_t (&r)[4]);

}  // namespace asap::emulate
