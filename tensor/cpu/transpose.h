// Exchanges rows and columns of a matrix of numbers of 2, 4 or 8 bytes, whose bits alone move. Per target (targets.h).
#if defined(ASAP_CPU_TRANSPOSE_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_TRANSPOSE_H
#undef ASAP_CPU_TRANSPOSE_H
#else
#define ASAP_CPU_TRANSPOSE_H
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// A square's side is a vector's lanes; of 2 bytes eight, so that its rows and their shuffles fit the registers.
template <class T>
struct Square {
  static constexpr int bytes = sizeof(T) == 2 ? 16 : HWY_TARGET == HWY_AVX3 ? 64 : HWY_TARGET == HWY_AVX2 ? 32 : 16;
  static constexpr int side = bytes / static_cast<int>(sizeof(T));
  using Lane = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  typedef Lane Row __attribute__((vector_size(bytes)));
};

// to[column * to_stride + row] = from[row * from_stride + column] of a square, by log2(side) perfect shuffles of row pairs.
template <class T>
[[gnu::always_inline]] inline void transpose_square(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int side = Square<T>::side;
  typename Square<T>::Row a[side], b[side];
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) std::memcpy(&a[i], from + i * from_stride, sizeof a[i]);
  const auto interleave = [&]<int... kI>(std::integer_sequence<int, kI...>) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < side / 2; ++i) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + side / 2], (kI / 2 + (kI % 2) * side)...);
      b[2 * i + 1] = __builtin_shufflevector(a[i], a[i + side / 2], (side / 2 + kI / 2 + (kI % 2) * side)...);
    }
#pragma GCC unroll 16
    for (int i = 0; i < side; ++i) a[i] = b[i];
  };
#pragma GCC unroll 4
  for (int step = side; step > 1; step /= 2) interleave(std::make_integer_sequence<int, side>{});
#pragma GCC unroll 16
  for (int i = 0; i < side; ++i) std::memcpy(static_cast<void*>(to + i * to_stride), &a[i], sizeof a[i]);
}

// The same of a rows x columns matrix. Whole squares go through registers.
template <class T>
inline void transpose(const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to, int64_t to_stride) {
  constexpr int64_t side = Square<T>::side;
  for (int64_t row = 0; row < rows; row += side) {
    for (int64_t column = 0; column < columns; column += side) {
      const T* a = from + row * from_stride + column;
      T* b = to + column * to_stride + row;
      if (row + side <= rows && column + side <= columns) {
        transpose_square(a, from_stride, b, to_stride);
        continue;
      }
      for (int64_t i = 0; i < std::min(side, rows - row); ++i) {
        for (int64_t j = 0; j < std::min(side, columns - column); ++j) b[j * to_stride + i] = a[i * from_stride + j];
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
