// Winograd's minimal filtering F(4x4, 3x3): 16 outputs of a 3x3 filter from 36 products instead of 144. With g the
// filter, d a 6x6 piece of the picture: y = A^T [(G g G^T) . (B^T d B)] A, where . is elementwise.
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016. The matrices come from Toom-Cook's
// construction with the points 0, +-a, +-b, infinity. Lavin's a = 1, b = 2 lose a digit; a = 5/8, b = 3/2 keep the
// error near the plain sum's, because powers of a and b grow and shrink less (see Barabasz et al., Error Analysis and
// Improving the Accuracy of Winograd Convolution, ACM TOMS 46(4), 2020).  Next: conv2d_winograd.cpp,
// conv2d_winograd_weight_grad.cpp.
#if defined(ASAP_CPU_CONV2D_WINOGRAD_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_CONV2D_WINOGRAD_H
#undef ASAP_CPU_CONV2D_WINOGRAD_H
#else
#define ASAP_CPU_CONV2D_WINOGRAD_H
#endif

#include "tensor/cpu/matmul_micro.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE::winograd {

inline constexpr int kTile = 4;    // output pixels of a tile, each way
inline constexpr int kPoints = 6;  // input pixels of a tile, each way

inline constexpr double a = 5.0 / 8, b = 3.0 / 2, a2 = a * a, b2 = b * b;

// One row of B^T d: V is a vector, each lane another tile.
template <class V>
inline void transform_input(const V (&d)[6], V (&v)[6]) {
  using S = std::remove_cvref_t<decltype(d[0][0])>;
  constexpr S product = static_cast<S>(a2 * b2), sum = static_cast<S>(a2 + b2);
  const V even_a = d[4] - S(b2) * d[2], odd_a = S(a) * (d[3] - S(b2) * d[1]);
  const V even_b = d[4] - S(a2) * d[2], odd_b = S(b) * (d[3] - S(a2) * d[1]);
  v[0] = d[4] - sum * d[2] + product * d[0];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = d[5] - sum * d[3] + product * d[1];
}

// One row of G g, without G's factors: as filters are many, transform_output applies them.
template <class V>
inline void transform_filter(const V (&g)[3], V (&u)[6]) {
  using S = std::remove_cvref_t<decltype(g[0][0])>;
  const V even_a = g[0] + S(a2) * g[2], even_b = g[0] + S(b2) * g[2];
  u[0] = g[0];
  u[1] = even_a + S(a) * g[1];
  u[2] = even_a - S(a) * g[1];
  u[3] = even_b + S(b) * g[1];
  u[4] = even_b - S(b) * g[1];
  u[5] = g[2];
}

// The factors of G's rows: the first, 1 and 2, 3 and 4; the last has none.
template <class S>
inline constexpr S scale_0 = static_cast<S>(1 / (a2 * b2));
template <class S>
inline constexpr S scale_a = static_cast<S>(1 / (2 * a2 * (a2 - b2)));
template <class S>
inline constexpr S scale_b = static_cast<S>(1 / (2 * b2 * (b2 - a2)));

// One row of A^T m, with G's factors.
template <class V>
inline void transform_output(const V (&m)[6], V (&y)[4]) {
  using S = std::remove_cvref_t<decltype(m[0][0])>;
  const V sum_a = scale_a<S> * (m[1] + m[2]), difference_a = (scale_a<S> * S(a)) * (m[1] - m[2]);
  const V sum_b = scale_b<S> * (m[3] + m[4]), difference_b = (scale_b<S> * S(b)) * (m[3] - m[4]);
  y[0] = scale_0<S> * m[0] + sum_a + sum_b;
  y[1] = difference_a + difference_b;
  y[2] = S(a2) * sum_a + S(b2) * sum_b;
  y[3] = S(a2) * difference_a + S(b2) * difference_b + m[5];
}

// The weight gradient runs the other way: dg = G^T [sum over tiles of (A dy A^T) . (B^T d B)] G.
// One row of A dy.
template <class V>
inline void transform_output_grad(const V (&dy)[4], V (&m)[6]) {
  using S = std::remove_cvref_t<decltype(dy[0][0])>;
  const V even_a = dy[0] + S(a2) * dy[2], odd_a = S(a) * (dy[1] + S(a2) * dy[3]);
  const V even_b = dy[0] + S(b2) * dy[2], odd_b = S(b) * (dy[1] + S(b2) * dy[3]);
  m[0] = dy[0];
  m[1] = even_a + odd_a;
  m[2] = even_a - odd_a;
  m[3] = even_b + odd_b;
  m[4] = even_b - odd_b;
  m[5] = dy[3];
}

// One row of G^T u.
template <class V>
inline void transform_filter_grad(const V (&u)[6], V (&dg)[3]) {
  using S = std::remove_cvref_t<decltype(u[0][0])>;
  const V sum_a = scale_a<S> * (u[1] + u[2]), sum_b = scale_b<S> * (u[3] + u[4]);
  dg[0] = scale_0<S> * u[0] + sum_a + sum_b;
  dg[1] = S(a) * scale_a<S> * (u[1] - u[2]) + S(b) * scale_b<S> * (u[3] - u[4]);
  dg[2] = S(a2) * sum_a + S(b2) * sum_b + u[5];
}

// Applies a transform of one row, In values to Out, along both axes: out[Out][Out] from in[In][In].
template <int In, int Out, class V, class Row>
inline void transform_both(const V (&in)[In][In], V (&out)[Out][Out], const Row& row) {
  V half[In][Out];  // columns done: half[j][i]
#pragma GCC unroll 8
  for (int j = 0; j < In; ++j) {
    V column[In];
    for (int i = 0; i < In; ++i) column[i] = in[i][j];
    row(column, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Out; ++i) {
    V line[In];
    for (int j = 0; j < In; ++j) line[j] = half[j][i];
    row(line, out[i]);
  }
}

// Every second element of the pair (p, q), beginning with the first or the second.
template <class T, int first>
inline Vec<T> every_second(const Vec<T>& p, const Vec<T>& q) {
  return shuffle<T>(p, q, [](int lane) { return 2 * lane + first; });
}
// The pair (p, q) interleaved: its first or its second half.
template <class T, int half>
inline Vec<T> interleave(const Vec<T>& p, const Vec<T>& q) {
  constexpr int lanes = Simd<T>::lanes;
  return shuffle<T>(p, q, [](int lane) { return (lane % 2) * lanes + lane / 2 + half * lanes / 2; });
}

}  // namespace HWY_NAMESPACE::winograd
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
