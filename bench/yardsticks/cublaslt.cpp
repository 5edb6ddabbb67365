// NVIDIA's matrix product (cuBLASLt) as variants of matmul: cublaslt, cublaslt_tf32, cublaslt_bf16. Operands and results are
// float32 in memory; in the last two the library rounds operands as it multiplies. For each shape the algorithms that its
// heuristic proposes are timed once and the fastest is kept. See yardsticks.h.
#include <cublasLt.h>

#include <algorithm>
#include <compare>
#include <map>
#include <numeric>
#include <vector>

#include "bench/yardsticks/library.h"
#include "cuda/context.h"
#include "tensor/kernels.h"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

struct CublasLt {
  SharedLibrary library{str("libcublasLt.so.", CUBLAS_VER_MAJOR)};
  ASAP_LIBRARY_FUNCTION(cublasLtCreate);
  ASAP_LIBRARY_FUNCTION(cublasLtGetStatusString);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmul);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmulDescCreate);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmulDescSetAttribute);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmulPreferenceCreate);
  ASAP_LIBRARY_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  ASAP_LIBRARY_FUNCTION(cublasLtMatrixLayoutCreate);
  ASAP_LIBRARY_FUNCTION(cublasLtMatrixLayoutSetAttribute);
  cublasLtHandle_t handle = nullptr;

  CublasLt() { check(cublasLtCreate(&handle), "cublasLtCreate"); }
  void check(cublasStatus_t status, const char* what) const {
    ASAP_CHECK(status == CUBLAS_STATUS_SUCCESS, "matmul: ", what, " failed: ", cublasLtGetStatusString(status));
  }
};

// One for the process; never destroyed, nor are its descriptors.
const CublasLt& lt() {
  static const auto* one = new CublasLt;
  return *one;
}
#define CHECK_LT(call) lt().check(lt().call, #call)

// What the choice of an algorithm depends on.
struct Problem {
  int64_t m, n, k, batch, batch_a, batch_b;
  int alignment;  // of all three, in bytes
  bool transpose_a, transpose_b;
  Precision precision;
  auto operator<=>(const Problem&) const = default;
};

struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, y = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> algorithms;  // the likeliest first; once timed, the fastest alone
  bool timed = false;
};

cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::f32: return CUBLAS_COMPUTE_32F;
    case Precision::tf32: return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16: return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  fail("matmul: unknown precision");
}

// The library sees matrices column by column, ours [rows, columns] as their transposes. A batch of 1 serves all products.
cublasLtMatrixLayout_t layout_of(const Tensor& t, int64_t batch) {
  const auto rows = static_cast<uint64_t>(t.size(1)), columns = static_cast<uint64_t>(t.size(2));
  const int64_t step = t.size(0) == 1 ? 0 : t.size(1) * t.size(2);
  const auto count = static_cast<int32_t>(batch);
  cublasLtMatrixLayout_t layout = nullptr;
  CHECK_LT(cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, columns, rows, t.size(2)));
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
  CHECK_LT(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step));
  return layout;
}

// y^T = op(b)^T op(a)^T: b is the library's A.
Plan make_plan(const Problem& problem, const Tensor& a, const Tensor& b, const Tensor& y) {
  constexpr int kAlgorithms = 8;
  Plan plan;
  plan.a = layout_of(a, problem.batch);
  plan.b = layout_of(b, problem.batch);
  plan.y = layout_of(y, problem.batch);
  CHECK_LT(cublasLtMatmulDescCreate(&plan.product, compute_type(problem.precision), CUDA_R_32F));
  for (const auto& [attribute, transpose] : {std::pair{CUBLASLT_MATMUL_DESC_TRANSA, problem.transpose_b},
                                             std::pair{CUBLASLT_MATMUL_DESC_TRANSB, problem.transpose_a}}) {
    const int32_t operation = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
    CHECK_LT(cublasLtMatmulDescSetAttribute(plan.product, attribute, &operation, sizeof operation));
  }
  static const cublasLtMatmulPreference_t preference = [] {
    constexpr uint64_t kWorkspaceBytes = uint64_t{32} << 20;
    cublasLtMatmulPreference_t made = nullptr;
    CHECK_LT(cublasLtMatmulPreferenceCreate(&made));
    CHECK_LT(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                                                  sizeof kWorkspaceBytes));
    return made;
  }();
  const auto alignment = static_cast<uint32_t>(problem.alignment);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    CHECK_LT(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof alignment));
  }
  plan.algorithms.resize(kAlgorithms);
  int found = 0;
  const cublasStatus_t status =
      lt().cublasLtMatmulAlgoGetHeuristic(lt().handle, plan.product, plan.b, plan.a, plan.y, plan.y, preference,
                                          kAlgorithms, plan.algorithms.data(), &found);
  plan.algorithms.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
  std::erase_if(plan.algorithms, [](const auto& algorithm) { return algorithm.state != CUBLAS_STATUS_SUCCESS; });
  return plan;
}

Plan& plan_of(Precision precision, const Tensor& a, const Tensor& b, const MatmulParams& p, const Tensor& y) {
  static std::map<Problem, Plan> plans;
  uintptr_t addresses = 256;
  for (const Tensor* t : {&a, &b, &y}) addresses |= reinterpret_cast<uintptr_t>(t->raw());
  const Problem problem{.m = y.size(1),
                        .n = y.size(2),
                        .k = a.size(p.transpose_a ? 1 : 2),
                        .batch = y.size(0),
                        .batch_a = a.size(0),
                        .batch_b = b.size(0),
                        .alignment = static_cast<int>(addresses & -addresses),  // the lowest bit of any
                        .transpose_a = p.transpose_a,
                        .transpose_b = p.transpose_b,
                        .precision = precision};
  const auto known = plans.find(problem);
  return known != plans.end() ? known->second : plans.emplace(problem, make_plan(problem, a, b, y)).first->second;
}

void matmul_cublaslt(Precision precision, const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
  Plan& plan = plan_of(precision, a, b, p, y);
  const auto multiply = [&](const cublasLtMatmulHeuristicResult_t& algorithm) {
    const float one = 1, zero = 0;
    const Tensor workspace = scratch(static_cast<int64_t>(algorithm.workspaceSize), DType::u8);
    return lt().cublasLtMatmul(lt().handle, plan.product, &one, b.raw(), plan.b, a.raw(), plan.a, &zero, y.raw(), plan.y,
                               y.raw(), plan.y, &algorithm.algo, workspace.raw(), algorithm.workspaceSize, stream());
  };
  if (!plan.timed) {
    const size_t best = fastest(
        plan.algorithms.size(), [&](size_t i) { return multiply(plan.algorithms[i]) == CUBLAS_STATUS_SUCCESS; });
    plan.algorithms = {plan.algorithms[best]};
    plan.timed = true;
  }
  lt().check(multiply(plan.algorithms[0]), "cublasLtMatmul");
}

}  // namespace

void register_cublaslt() {
  lt();  // so that nothing is registered without the library
  for (const auto& [precision, name] :
       {std::pair{Precision::bf16, "cublaslt_bf16"}, std::pair{Precision::tf32, "cublaslt_tf32"},
        std::pair{Precision::f32, "cublaslt"}}) {
    kernels::matmul.add(
        Device::cuda, name,
        [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) { matmul_cublaslt(precision, a, b, p, y); },
        [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
          return a.dtype() == DType::f32 && precision_allows(precision) &&
                 !plan_of(precision, a, b, p, y).algorithms.empty();
        });
  }
}

}  // namespace asap::cuda
