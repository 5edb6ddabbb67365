// Winograd's minimal filtering F(4x4, 3x3): 16 outputs of a 3x3 filter from 36 products instead of 144; and F(3x3, 4x4) and
// F(5x5, 2x2): 9 outputs of a 4x4 filter, 25 of a 2x2 one from as many. With g the filter, d a 6x6 piece of the picture:
// y = A^T [(G g G^T) . (B^T d B)] A, where . is elementwise.
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

inline constexpr int kPoints = 6;  // input pixels of a tile, each way
template <int taps>
inline constexpr int kTile = kPoints + 1 - taps;  // output pixels of a tile, each way, of a filter of 2, 3 or 4 taps

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

// A polynomial's values at the points, from its N coefficients: one row of G g, without G's factors (as filters are many,
// from_points applies them); or one row of A dy.
template <int N, class V>
inline void at_points(const V (&g)[N], V (&u)[6]) {
  using S = std::remove_cvref_t<decltype(g[0][0])>;
  V even_a = g[0], even_b = g[0], odd_a = g[1], odd_b = g[1];
  if constexpr (N > 2) {
    even_a += S(a2) * g[2];
    even_b += S(b2) * g[2];
  }
  if constexpr (N > 3) {
    odd_a += S(a2) * g[3];
    odd_b += S(b2) * g[3];
  }
  u[0] = g[0];
  u[1] = even_a + S(a) * odd_a;
  u[2] = even_a - S(a) * odd_a;
  u[3] = even_b + S(b) * odd_b;
  u[4] = even_b - S(b) * odd_b;
  u[5] = g[N - 1];
}

// The factors of G's rows: the first, 1 and 2, 3 and 4; the last has none.
template <class S>
inline constexpr S scale_0 = static_cast<S>(1 / (a2 * b2));
template <class S>
inline constexpr S scale_a = static_cast<S>(1 / (2 * a2 * (a2 - b2)));
template <class S>
inline constexpr S scale_b = static_cast<S>(1 / (2 * b2 * (b2 - a2)));

// The transpose of at_points, with G's factors: one row of A^T m; or of G^T u in the weight gradient, which runs the other
// way: dg = G^T [sum over tiles of (A dy A^T) . (B^T d B)] G.
template <int N, class V>
inline void from_points(const V (&m)[6], V (&y)[N]) {
  using S = std::remove_cvref_t<decltype(m[0][0])>;
  const V sum_a = scale_a<S> * (m[1] + m[2]), difference_a = (scale_a<S> * S(a)) * (m[1] - m[2]);
  const V sum_b = scale_b<S> * (m[3] + m[4]), difference_b = (scale_b<S> * S(b)) * (m[3] - m[4]);
  y[0] = scale_0<S> * m[0] + sum_a + sum_b;
  y[1] = difference_a + difference_b;
  y[2] = S(a2) * sum_a + S(b2) * sum_b;
  if constexpr (N > 3) y[3] = S(a2) * difference_a + S(b2) * difference_b;
  if constexpr (N > 4) y[4] = S(a2 * a2) * sum_a + S(b2 * b2) * sum_b;
  y[N - 1] += m[5];
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

// Every n-th element of n vectors, beginning with the `first`; and back, the `part`-th vector of all n interleaved. Two vectors are
// shuffled at a time: from the third on, each (`last` is the last of them so far) replaces those lanes that are its own.
template <int first, int n, int last = n - 1>
inline Vec<float> every_nth(const Vec<float> (&p)[n]) {
  constexpr int lanes = Simd<float>::lanes;
  const auto index = [](int lane) {
    const int from = n * lane + first;
    return from / lanes == last ? lanes + from % lanes : last > 1 ? lane : from % lanes;
  };
  if constexpr (last > 1) return shuffle<float>(every_nth<first, n, last - 1>(p), p[last], index);
  else return shuffle<float>(p[0], p[1], index);
}
template <int part, int n, int last = n - 1>
inline Vec<float> interleave(const Vec<float> (&p)[n]) {
  constexpr int lanes = Simd<float>::lanes;
  const auto index = [](int lane) {
    const int to = part * lanes + lane;
    return to % n == last ? lanes + to / n : last > 1 ? lane : to / n;
  };
  if constexpr (last > 1) return shuffle<float>(interleave<part, n, last - 1>(p), p[last], index);
  else return shuffle<float>(p[0], p[1], index);
}

// columns[j] = every n-th element of the row p, beginning with the j-th. Four are two times two.
inline void split(const Vec<float> (&p)[4], Vec<float> (&columns)[4]) {
  const Vec<float> e0 = every_nth<0>({p[0], p[1]}), e1 = every_nth<0>({p[2], p[3]});
  const Vec<float> o0 = every_nth<1>({p[0], p[1]}), o1 = every_nth<1>({p[2], p[3]});
  columns[0] = every_nth<0>({e0, e1});
  columns[1] = every_nth<0>({o0, o1});
  columns[2] = every_nth<1>({e0, e1});
  columns[3] = every_nth<1>({o0, o1});
}
template <int n>
inline void split(const Vec<float> (&p)[n], Vec<float> (&columns)[n]) {
  [&]<int... j>(std::integer_sequence<int, j...>) { ((columns[j] = every_nth<j>(p)), ...); }(std::make_integer_sequence<int, n>{});
}
// And back.
inline void join(const Vec<float> (&columns)[4], Vec<float> (&p)[4]) {
  const Vec<float> a0 = interleave<0>({columns[0], columns[2]}), a1 = interleave<1>({columns[0], columns[2]});
  const Vec<float> b0 = interleave<0>({columns[1], columns[3]}), b1 = interleave<1>({columns[1], columns[3]});
  p[0] = interleave<0>({a0, b0});
  p[1] = interleave<1>({a0, b0});
  p[2] = interleave<0>({a1, b1});
  p[3] = interleave<1>({a1, b1});
}
template <int n>
inline void join(const Vec<float> (&columns)[n], Vec<float> (&p)[n]) {
  [&]<int... part>(std::integer_sequence<int, part...>) { ((p[part] = interleave<part>(columns)), ...); }(std::make_integer_sequence<int, n>{});
}

}  // namespace HWY_NAMESPACE::winograd
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
