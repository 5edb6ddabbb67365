// NVIDIA's own matrix product as named variants of gemm: what ours are measured against. They stand behind ours and so run only
// where they are asked for (ASAP_KERNEL=gemm=cublas), and in the benchmark: the library computes with kernels that can be read.
// Compiled by nvcc alone, where the toolkit has cuBLAS; the emulator cannot execute it. See gemm.cu.
#include <cublas_v2.h>

#include "cuda/gemm.h"
#include "cuda/register.h"
#include "cuda/tile_gemm.cuh"

namespace asap::cuda {
namespace {

void check_cublas(cublasStatus_t status, const char* what) {
  ASAP_CHECK(status == CUBLAS_STATUS_SUCCESS, "gemm: ", what, " failed: ", cublasGetStatusString(status));
}

// One for the process, on its queue; never destroyed, as the queue.
cublasHandle_t handle() {
  static const cublasHandle_t one = [] {
    cublasHandle_t made = nullptr;
    check_cublas(cublasCreate(&made), "cublasCreate");
    check_cublas(cublasSetStream(made, stream()), "cublasSetStream");
    return made;
  }();
  return one;
}

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::f32: return CUBLAS_COMPUTE_32F_PEDANTIC;  // never TF32, whatever the environment says
    case Precision::tf32: return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16: return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  fail("gemm: unknown precision");
}

// Sizes are ints there.
bool fits(const Tensor& a, const Tensor& b, const Tensor& y) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return a.numel() < kMost && b.numel() < kMost && y.numel() < kMost;
}

// cuBLAS sees matrices column by column, ours transposed: it computes y^T = op(b)^T op(a)^T.
void gemm_cublas(Precision precision, const Tensor& a, const Tensor& b, const GemmParams& p, Tensor& y) {
  const auto m = static_cast<int>(y.size(1)), n = static_cast<int>(y.size(2)),
             k = static_cast<int>(a.size(p.transpose_a ? 1 : 2));
  const auto step = [](const Tensor& t) { return t.size(0) == 1 ? 0 : static_cast<long long>(t.size(1) * t.size(2)); };
  const auto turned = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const float one = 1, beta = p.accumulate ? 1 : 0;
  check_cublas(
      cublasGemmStridedBatchedEx(handle(), turned(p.transpose_b), turned(p.transpose_a), n, m, k, &one, b.raw(),
                                 CUDA_R_32F, static_cast<int>(b.size(2)), step(b), a.raw(), CUDA_R_32F,
                                 static_cast<int>(a.size(2)), step(a), &beta, y.raw(), CUDA_R_32F, n, step(y),
                                 static_cast<int>(y.size(0)), compute_type(precision), CUBLAS_GEMM_DEFAULT),
      "cublasGemmStridedBatchedEx");
}

}  // namespace

void register_gemm_cublas() {
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    const std::string name = variant_name("cublas", precision);
    kernels::gemm.add(
        Device::cuda, name,
        [=](const Tensor& a, const Tensor& b, const GemmParams& p, Tensor& y) { gemm_cublas(precision, a, b, p, y); },
        [=](const Tensor& a, const Tensor& b, const GemmParams&, Tensor& y) {
          if (a.dtype() != DType::f32 || !fits(a, b, y)) return false;
          return precision_allows(precision);
        });
  }
}

}  // namespace asap::cuda
