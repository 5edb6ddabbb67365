// One matrix product by packed blocks. Declared in matmul_packed.h; the blocking is in matmul_block.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/matmul_packed.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/matmul_block.h"
#include "tensor/cpu/matmul_packed.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void multiply(const T* a, const T* b, const MatrixProduct<T>& p, T* c) {
  constexpr int64_t width = Simd<T>::columns;
  if (p.k == 0) {
    if (!p.accumulate) std::fill_n(c, p.m * p.n, T(0));
    return;
  }
  const auto columns_of = [&](int64_t panel) { return std::min(width, p.n - panel * width); };
  const auto rows_of_a = [&](int64_t row, int64_t rows, int64_t k, int64_t length, T* room) -> RowsOfA<T> {
    if (!p.transpose_a) return {a + row * p.k + k, p.k, 1};
    pack_copied(a + k * p.m + row, p.m, rows, length, Simd<T>::rows, room);
    return {room, 1, Simd<T>::rows};
  };
  const auto pack_b = [&](int64_t panel, int64_t panels, int64_t k, int64_t length, T* out, int64_t out_step) {
    for (int64_t i = panel; i < panel + panels; ++i, out += out_step) {
      if (p.transpose_b) pack_transposed(b + i * width * p.k + k, p.k, columns_of(i), length, width, out);
      else pack_copied(b + k * p.n + i * width, p.n, columns_of(i), length, width, out);
    }
  };
  const auto target = [&](int64_t panel, int64_t row) {
    return Target<T>{c + row * p.n + panel * width, p.n, columns_of(panel) == width};
  };
  const auto scatter = [&](int64_t panel, int64_t row, int64_t rows, const T* tile, bool accumulate) {
    for (int64_t r = 0; r < rows; ++r) {
      T* to = c + (row + r) * p.n + panel * width;
      for (int64_t i = 0; i < columns_of(panel); ++i) to[i] = tile[r * width + i] + (accumulate ? to[i] : T(0));
    }
  };
  const BlockedShape shape{.rows = p.m, .depth = p.k, .panels = ceil_div(p.n, width), .accumulate = p.accumulate};
  blocked_product<T>(shape, rows_of_a, pack_b, target, scatter);
}

void multiply_f32(const float* a, const float* b, const MatrixProduct<float>& p, float* c) { multiply(a, b, p, c); }
void multiply_f64(const double* a, const double* b, const MatrixProduct<double>& p, double* c) { multiply(a, b, p, c); }

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f64);

template <>
void packed_matmul(const float* a, const float* b, const MatrixProduct<float>& p, float* c) {
  HWY_DYNAMIC_DISPATCH(multiply_f32)(a, b, p, c);
}
template <>
void packed_matmul(const double* a, const double* b, const MatrixProduct<double>& p, double* c) {
  HWY_DYNAMIC_DISPATCH(multiply_f64)(a, b, p, c);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
