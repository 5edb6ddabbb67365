// The model's two poolings, each with a stride of 2: the discriminator's average of 3x3 windows, the perceptual net's maximum of
// 2x2 ones. Others are left to the definition. Next: matmul.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/pool.cpp"
#include "tensor/cpu/targets.h"

#include <vector>

#include "tensor/cpu/matmul_micro.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/pool.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

using definitions::is_better, definitions::window_of, definitions::windows_on;

// Calls f(plane, row) for every row of every plane of x, spread over the threads.
template <class F>
void parallel_rows(const Tensor& x, const F& f) {
  const int64_t rows = x.size(2);
  parallel_for(x.size(0) * x.size(1) * rows, std::max<int64_t>(kGrain / x.size(3), 1), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) f(k / rows, k % rows);
  });
}

// What an average of window (i, j) divides by.
template <class T>
class Divisors {
 public:
  Divisors(const Tensor& x, const Tensor& y, const Pool2dParams& p)
      : heights_(sizes(x.size(2), y.size(2), p)), widths_(sizes(x.size(3), y.size(3), p)) {}
  T operator()(int64_t i, int64_t j) const {
    return heights_[static_cast<size_t>(i)] * widths_[static_cast<size_t>(j)];
  }

 private:
  // How many of 0..n-1 each window counts.
  static std::vector<T> sizes(int64_t n, int64_t windows, const Pool2dParams& p) {
    std::vector<T> result;
    for (int64_t o = 0; o < windows; ++o) {
      result.push_back(static_cast<T>(p.count_include_pad ? 3 : window_of<int64_t>(o, n, 3, 2, 1).size()));
    }
    return result;
  }
  const std::vector<T> heights_, widths_;
};

// Three rows become one, of which every second column sums three.
void avg_pool2d_forward_3x3_s2(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "avg_pool2d", [&]<class T>(T) {
    const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
    const Divisors<T> divisor(x, y, p);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_rows(y, [&](int64_t plane, int64_t i) {
      std::vector<T> padded(static_cast<size_t>(W + 2));
      T *sums = padded.data(), *out = to + (plane * OH + i) * OW;
      const auto rows = window_of<int64_t>(i, H, 3, 2, 1);
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        const T* row = from + (plane * H + h) * W;
        for (int64_t w = 0; w < W; ++w) sums[w + 1] += row[w];
      }
      for (int64_t j = 0; j < OW; ++j) out[j] = (sums[2 * j] + sums[2 * j + 1] + sums[2 * j + 2]) / divisor(i, j);
    });
  });
}

// A row of dx sums the windows of up to two rows of dy. An even column lies in one of them, an odd one in two neighbours.
void avg_pool2d_backward_3x3_s2(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "avg_pool2d_backward", [&]<class T>(T) {
    const int64_t H = dx.size(2), W = dx.size(3), OH = dy.size(2), OW = dy.size(3);
    const Divisors<T> divisor(dx, dy, p);
    const T* from = dy.data<T>();
    T* to = dx.data<T>();
    parallel_rows(dx, [&](int64_t plane, int64_t h) {
      std::vector<T> padded(static_cast<size_t>(OW + 1));
      T *shares = padded.data(), *out = to + (plane * H + h) * W;
      const auto rows = windows_on<int64_t>(h, OH, 3, 2, 1);
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        const T* row = from + (plane * OH + i) * OW;
        for (int64_t j = 0; j < OW; ++j) shares[j] += row[j] / divisor(i, j);
      }
      for (int64_t j = 0; j < W / 2; ++j) out[2 * j] = shares[j], out[2 * j + 1] = shares[j] + shares[j + 1];
      if (W % 2 == 1) out[W - 1] = shares[W / 2];
    });
  });
}

// The larger of two, with its index, lane by lane: a vector's comparison is 0 or -1 in each lane, as is_better says for one.
template <class T, class Index>
void take_better(const Vec<T>& value, const Index& at, Vec<T>& largest, Index& best) {
  const auto better = (value > largest) | ((value != value) & (largest == largest));
  largest = better ? value : largest;
  best = better ? at : best;
}

// A vector of windows at a time, from two rows of pixels of which every second one begins a window.
void max_pool2d_forward_2x2_s2(const Tensor& x, const Pool2dParams&, Tensor& y, Tensor& index) {
  dispatch_floating(x.dtype(), "max_pool2d", [&]<class T>(T) {
    const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    int32_t* indices = index.data<int32_t>();
    parallel_rows(y, [&](int64_t plane, int64_t i) {
      const int32_t first = static_cast<int32_t>(2 * i * W), below = static_cast<int32_t>(W);
      const T *top = from + plane * H * W + first, *bottom = top + W;
      T* out = to + (plane * OH + i) * OW;
      int32_t* at = indices + (plane * OH + i) * OW;
      constexpr int lanes = Simd<T>::lanes;
      using Index = decltype(Vec<T>{} > Vec<T>{});  // as wide as T, so that a comparison selects it
      typedef int32_t Narrow __attribute__((vector_size(4 * lanes)));
      const auto even = [](int lane) { return 2 * lane; };
      const auto odd = [](int lane) { return 2 * lane + 1; };
      Index columns;
      for (int l = 0; l < lanes; ++l) columns[l] = first + 2 * l;
      int32_t j = 0;
      for (; j + lanes <= static_cast<int32_t>(OW); j += lanes, columns += 2 * lanes) {
        const Vec<T> a = load(top + 2 * j), b = load(top + 2 * j + lanes), c = load(bottom + 2 * j), d = load(bottom + 2 * j + lanes);
        Vec<T> upper = shuffle<T>(a, b, even), lower = shuffle<T>(c, d, even);
        Index upper_at = columns, lower_at = columns + below;
        take_better<T>(shuffle<T>(a, b, odd), columns + 1, upper, upper_at);
        take_better<T>(shuffle<T>(c, d, odd), lower_at + 1, lower, lower_at);
        take_better<T>(lower, lower_at, upper, upper_at);
        store<T>(out + j, upper);
        const Narrow narrow = __builtin_convertvector(upper_at, Narrow);
        std::memcpy(at + j, &narrow, sizeof narrow);
      }
      for (; j < static_cast<int32_t>(OW); ++j) {
        const T a = top[2 * j], b = top[2 * j + 1], c = bottom[2 * j], d = bottom[2 * j + 1];
        const bool right = is_better(b, a), right_below = is_better(d, c);
        const T upper = right ? b : a, lower = right_below ? d : c;
        const bool down = is_better(lower, upper);
        out[j] = down ? lower : upper;
        at[j] = first + 2 * j + (down ? below + (right_below ? 1 : 0) : (right ? 1 : 0));
      }
    });
  });
}

// Of any windows: a plane's are one thread's.
void max_pool2d_backward_planes(const Tensor& dy, const Tensor& index, const Pool2dParams&, Tensor& dx) {
  dispatch_floating(dy.dtype(), "max_pool2d_backward", [&]<class T>(T) {
    const int64_t inputs = dx.size(2) * dx.size(3), outputs = dy.size(2) * dy.size(3);
    const T* from = dy.data<T>();
    const int32_t* indices = index.data<int32_t>();
    T* to = dx.data<T>();
    parallel_for(dx.size(0) * dx.size(1), std::max<int64_t>(kGrain / inputs, 1), [&](int64_t begin, int64_t end) {
      std::fill(to + begin * inputs, to + end * inputs, T(0));
      for (int64_t plane = begin; plane < end; ++plane) {
        for (int64_t o = plane * outputs; o < (plane + 1) * outputs; ++o) to[plane * inputs + indices[o]] += from[o];
      }
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(avg_pool2d_forward_3x3_s2);
HWY_EXPORT(avg_pool2d_backward_3x3_s2);
HWY_EXPORT(max_pool2d_forward_2x2_s2);
HWY_EXPORT(max_pool2d_backward_planes);

namespace {

bool is_3x3_s2(const Pool2dParams& p) { return p.kernel == Size2(3) && p.stride == Size2(2) && p.padding == Size2(1); }
bool is_2x2_s2(const Pool2dParams& p) { return p.kernel == Size2(2) && p.stride == Size2(2) && p.padding == Size2(0); }

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(Device::cpu, "3x3_s2", HWY_DYNAMIC_DISPATCH(avg_pool2d_forward_3x3_s2),
                                  [](const Tensor&, const Pool2dParams& p, Tensor&) { return is_3x3_s2(p); });
  kernels::avg_pool2d_backward.add(Device::cpu, "3x3_s2", HWY_DYNAMIC_DISPATCH(avg_pool2d_backward_3x3_s2),
                                   [](const Tensor&, const Pool2dParams& p, Tensor&) { return is_3x3_s2(p); });
  kernels::max_pool2d_forward.add(Device::cpu, "2x2_s2", HWY_DYNAMIC_DISPATCH(max_pool2d_forward_2x2_s2),
                                  [](const Tensor&, const Pool2dParams& p, Tensor&, Tensor&) { return is_2x2_s2(p); });
  kernels::max_pool2d_backward.add(Device::cpu, "planes", HWY_DYNAMIC_DISPATCH(max_pool2d_backward_planes));
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
