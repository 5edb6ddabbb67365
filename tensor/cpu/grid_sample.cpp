// Sampling at a grid's positions, and its gradients. What a position reads is found once for all channels: blocks of positions
// are a thread's in the forward pass and for dgrid, whole planes for dx.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/grid_sample.cpp"
#include "tensor/cpu/targets.h"

#include <array>
#include <type_traits>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/grid_sample.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

using definitions::Tap, definitions::tap_of;

// Up to kBlock positions of picture n, from number `first` on. Of the four pixels around each: their places in a plane, how much
// of each is read, and the derivatives of that by the grid's two numbers. All are 0 for a pixel outside.
constexpr int64_t kBlock = 128;
template <class T>
struct Block {
  template <class V>
  using OfCorners = std::array<std::array<V, kBlock>, 4>;
  int64_t first, count;
  OfCorners<std::conditional_t<std::is_same_v<T, float>, int32_t, int64_t>> at;  // as wide as T
  OfCorners<T> weight, by_u, by_v;

  Block(const Tensor& grid, int64_t n, int64_t from, int64_t H, int64_t W, const GridSampleParams& p)
      : first(from), count(std::min(kBlock, grid.size(1) * grid.size(2) - from)) {
    const T* position = grid.data<T>() + 2 * (n * grid.size(1) * grid.size(2) + first);
    for (size_t k = 0; k < static_cast<size_t>(count); ++k, position += 2) {
      const Tap u = tap_of(static_cast<double>(position[0]), W, p), v = tap_of(static_cast<double>(position[1]), H, p);
      for (size_t q = 0; q < 4; ++q) {
        const bool right = q % 2 == 1, below = q / 2 == 1;
        const int64_t w = u.i + right, h = v.i + below;
        const bool inside = w >= 0 && w < W && h >= 0 && h < H;
        const double share_u = right ? u.t : 1 - u.t, share_v = below ? v.t : 1 - v.t;
        at[q][k] = static_cast<std::decay_t<decltype(at[q][k])>>(inside ? h * W + w : 0);
        weight[q][k] = static_cast<T>(inside ? share_u * share_v : 0);
        by_u[q][k] = static_cast<T>(inside ? (right ? u.slope : -u.slope) * share_v : 0);
        by_v[q][k] = static_cast<T>(inside ? (below ? v.slope : -v.slope) * share_u : 0);
      }
    }
  }

  // out[k] = the sum over the corners of weights * plane. A weight of 0 keeps an infinite pixel out.
  void read(const OfCorners<T>& weights, const T* plane, T* out) const {
    const auto term = [&](size_t q, int64_t k) {
      const auto i = static_cast<size_t>(k);
      const T product = weights[q][i] * plane[at[q][i]];
      return weights[q][i] != 0 ? product : T(0);
    };
    ASAP_INDEPENDENT
    for (int64_t k = 0; k < count; ++k) out[k] = (term(0, k) + term(1, k)) + (term(2, k) + term(3, k));
  }
};

// f(n, block) for all positions, spread over the threads. x [N,C,H,W] is what is read.
template <class T, class F>
void parallel_blocks(const Tensor& x, const Tensor& grid, const GridSampleParams& p, const F& f) {
  const int64_t blocks = (grid.size(1) * grid.size(2) + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(kGrain / (kBlock * x.size(1)), 1);
  parallel_for(x.size(0) * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      f(k / blocks, Block<T>(grid, k / blocks, k % blocks * kBlock, x.size(2), x.size(3), p));
    }
  });
}

void grid_sample_forward(const Tensor& x, const Tensor& grid, const GridSampleParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "grid_sample", [&]<class T>(T) {
    const int64_t C = x.size(1), inputs = x.size(2) * x.size(3), outputs = y.size(2) * y.size(3);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_blocks<T>(x, grid, p, [&](int64_t n, const Block<T>& block) {
      for (int64_t plane = n * C; plane < (n + 1) * C; ++plane) {
        block.read(block.weight, from + plane * inputs, to + plane * outputs + block.first);
      }
    });
  });
}

// A thread's planes, picture by picture.
template <class T>
void input_grad(const Tensor& grid, const Tensor& dy, const GridSampleParams& p, Tensor& dx) {
  const int64_t C = dx.size(1), inputs = dx.size(2) * dx.size(3), outputs = dy.size(2) * dy.size(3);
  const T* from = dy.data<T>();
  T* to = dx.data<T>();
  const int64_t grain = std::max<int64_t>(kGrain / (inputs + outputs), 1);
  parallel_for(dx.size(0) * C, grain, [&](int64_t begin, int64_t end) {
    std::fill(to + begin * inputs, to + end * inputs, T(0));
    for (int64_t n = begin / C; n * C < end; ++n) {
      for (int64_t first = 0; first < outputs; first += kBlock) {
        const Block<T> block(grid, n, first, dx.size(2), dx.size(3), p);
        for (int64_t plane = std::max(begin, n * C); plane < std::min(end, (n + 1) * C); ++plane) {
          const T* cotangent = from + plane * outputs + first;
          T* sums = to + plane * inputs;
          for (size_t k = 0; k < static_cast<size_t>(block.count); ++k) {
            for (size_t q = 0; q < 4; ++q) {
              if (block.weight[q][k] != 0) sums[block.at[q][k]] += block.weight[q][k] * cotangent[k];
            }
          }
        }
      }
    }
  });
}

template <class T>
void position_grad(const Tensor& x, const Tensor& grid, const Tensor& dy, const GridSampleParams& p, Tensor& dgrid) {
  const int64_t C = x.size(1), inputs = x.size(2) * x.size(3), outputs = dy.size(2) * dy.size(3);
  const T *from = x.data<T>(), *cotangent = dy.data<T>();
  T* to = dgrid.data<T>();
  parallel_blocks<T>(x, grid, p, [&](int64_t n, const Block<T>& block) {
    std::array<double, kBlock> sums_u{}, sums_v{};
    std::array<T, kBlock> by_u, by_v;
    for (int64_t plane = n * C; plane < (n + 1) * C; ++plane) {
      const T *pixels = from + plane * inputs, *of_block = cotangent + plane * outputs + block.first;
      block.read(block.by_u, pixels, by_u.data());
      block.read(block.by_v, pixels, by_v.data());
      for (size_t k = 0; k < static_cast<size_t>(block.count); ++k) {
        sums_u[k] += static_cast<double>(of_block[k] * by_u[k]);
        sums_v[k] += static_cast<double>(of_block[k] * by_v[k]);
      }
    }
    T* out = to + 2 * (n * outputs + block.first);
    for (size_t k = 0; k < static_cast<size_t>(block.count); ++k) {
      out[2 * k] = static_cast<T>(sums_u[k]);
      out[2 * k + 1] = static_cast<T>(sums_v[k]);
    }
  });
}

void grid_sample_backward(const Tensor& x, const Tensor& grid, const Tensor& dy, const GridSampleParams& p, Tensor& dx,
                          Tensor& dgrid) {
  dispatch_floating(dy.dtype(), "grid_sample_backward", [&]<class T>(T) {
    if (dx.defined()) input_grad<T>(grid, dy, p, dx);
    if (dgrid.defined()) position_grad<T>(x, grid, dy, p, dgrid);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(grid_sample_forward);
HWY_EXPORT(grid_sample_backward);

void register_grid_sample() {
  const auto fits = [](const Tensor& x) { return x.size(2) * x.size(3) <= INT32_MAX; };
  kernels::grid_sample_forward.add(
      Device::cpu, "blocks", HWY_DYNAMIC_DISPATCH(grid_sample_forward),
      [=](const Tensor& x, const Tensor&, const GridSampleParams&, Tensor&) { return fits(x); });
  kernels::grid_sample_backward.add(
      Device::cpu, "blocks", HWY_DYNAMIC_DISPATCH(grid_sample_backward),
      [=](const Tensor& x, const Tensor&, const Tensor&, const GridSampleParams&, Tensor&, Tensor&) { return fits(x); });
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
