// Nearest and bilinear resizing of the last two dimensions. The backward pass is a gather: a pixel of dx adds up the outputs
// that read it, which are neighbours. Next: label_planes.cu.
#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// Sizes of x and y; axis lengths fit an int.
struct Sizes {
  int H, W, OH, OW;
  Sizes(const Tensor& x, const Tensor& y)
      : H(static_cast<int>(x.size(2))),
        W(static_cast<int>(x.size(3))),
        OH(static_cast<int>(y.size(2))),
        OW(static_cast<int>(y.size(3))) {}
};

// An output position along one axis reads (1 - t) * x[i0] + t * x[i1]. In f64, as on the CPU: every device reads the same.
struct Source {
  int i0, i1;
  double t;
  // How much of x[k] the output reads.
  template <class T>
  __device__ T weight(int k) const {
    return (i0 == k ? 1 - static_cast<T>(t) : T(0)) + (i1 == k ? static_cast<T>(t) : T(0));
  }
};
__host__ __device__ inline Source source_of(int i, int in, int out, ResizeMode mode) {
  if (mode == ResizeMode::nearest) {
    const int k = static_cast<int>(static_cast<int64_t>(i) * in / out);
    return {k, k, 0.0};
  }
  double position = 0;
  if (mode == ResizeMode::bilinear) {
    position = (i + 0.5) * in / out - 0.5;
    if (position < 0) position = 0;
  } else if (out > 1) {
    position = static_cast<double>(static_cast<int64_t>(i) * (in - 1)) / (out - 1);
  }
  int i0 = static_cast<int>(position);
  if (i0 > in - 1) i0 = in - 1;
  return {i0, i0 + 1 < in ? i0 + 1 : in - 1, position - i0};
}

// The outputs [begin, end) that read position k: i0 and i1 never fall as i grows, so that both ends can be searched for.
struct Readers {
  int begin, end;
};
__host__ __device__ inline Readers readers_of(int k, int in, int out, ResizeMode mode) {
  const auto first = [=](const auto& reached) {
    int low = 0, high = out;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (reached(source_of(middle, in, out, mode))) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  };
  return {first([=](const Source& s) { return s.i1 >= k; }), first([=](const Source& s) { return s.i0 > k; })};
}

// Weight 0 reads nothing: an infinite neighbour stays out.
template <class T>
__device__ __forceinline__ T mix(T t, T a, T b) {
  return t == 0 ? a : (1 - t) * a + t * b;
}

// ---- naive: the definition ------------------------------------------------------------------------------------------

template <class T>
__global__ void resize2d_forward_kernel(const T* x, ResizeMode mode, Sizes size, int64_t count, T* y) {
  for_each_index(count, [=](int64_t i) {
    const Source h = source_of(static_cast<int>(i / size.OW % size.OH), size.H, size.OH, mode);
    const Source w = source_of(static_cast<int>(i % size.OW), size.W, size.OW, mode);
    const T *plane = x + i / size.OW / size.OH * size.H * size.W, th = static_cast<T>(h.t), tw = static_cast<T>(w.t);
    const T *upper = plane + static_cast<int64_t>(h.i0) * size.W, *lower = plane + static_cast<int64_t>(h.i1) * size.W;
    y[i] = mix(th, mix(tw, upper[w.i0], upper[w.i1]), mix(tw, lower[w.i0], lower[w.i1]));
  });
}

template <class T>
__global__ void resize2d_backward_kernel(const T* dy, ResizeMode mode, Sizes size, int64_t count, T* dx) {
  for_each_index(count, [=](int64_t i) {
    const int h = static_cast<int>(i / size.W % size.H), w = static_cast<int>(i % size.W);
    const Readers rows = readers_of(h, size.H, size.OH, mode), columns = readers_of(w, size.W, size.OW, mode);
    const T* plane = dy + i / size.W / size.H * size.OH * size.OW;
    T sum = 0;
    for (int row = rows.begin; row < rows.end; ++row) {
      const T weight = source_of(row, size.H, size.OH, mode).template weight<T>(h);
      for (int column = columns.begin; column < columns.end; ++column) {
        sum += weight * source_of(column, size.W, size.OW, mode).template weight<T>(w) *
               plane[static_cast<int64_t>(row) * size.OW + column];
      }
    }
    dx[i] = sum;
  });
}

void resize2d_forward_naive(const Tensor& x, ResizeMode mode, Tensor& y) {
  dispatch_floating(x.dtype(), "resize2d", [&](auto tag) {
    using T = decltype(tag);
    launch(resize2d_forward_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), mode, Sizes(x, y), y.numel(),
           y.data<T>());
  });
}

void resize2d_backward_naive(const Tensor& dy, ResizeMode mode, Tensor& dx) {
  dispatch_floating(dy.dtype(), "resize2d_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(resize2d_backward_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), mode, Sizes(dx, dy), dx.numel(),
           dx.data<T>());
  });
}

}  // namespace

void register_resize() {
  kernels::resize2d_forward.add(Device::cuda, "naive", resize2d_forward_naive);
  kernels::resize2d_backward.add(Device::cuda, "naive", resize2d_backward_naive);
}

}  // namespace asap::cuda
