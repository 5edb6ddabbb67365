// Nearest and bilinear resizing of the last two dimensions. The backward pass is a gather: a pixel of dx adds up the outputs
// that read it, which are neighbours. A thread finds out once what its pixel reads, and does so in many planes.
// Next: label_planes.cu.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "tensor/definitions/resize.h"

namespace asap::cuda {
namespace {

using definitions::mix, definitions::Source, definitions::source_of;

// Sizes of x and y; axis lengths fit an int.
struct Sizes {
  int H, W, OH, OW;
  Sizes(const Tensor& x, const Tensor& y)
      : H(static_cast<int>(x.size(2))),
        W(static_cast<int>(x.size(3))),
        OH(static_cast<int>(y.size(2))),
        OW(static_cast<int>(y.size(3))) {}
};

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

// blockIdx.y walks over the planes. y written and x read once from memory, 4 + 4 * H * W / (OH * OW) bytes an element of
// y; the four reads of a pixel hit lines that its neighbours read too.
__global__ void __launch_bounds__(kBlock)
    resize2d_forward_planes_kernel(const float* __restrict__ x, ResizeMode mode, Sizes size, int planes,
                                   float* __restrict__ y) {
  const int pixel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (pixel >= size.OH * size.OW) return;
  const Source h = source_of(pixel / size.OW, size.H, size.OH, mode),
               w = source_of(pixel % size.OW, size.W, size.OW, mode);
  const float th = static_cast<float>(h.t), tw = static_cast<float>(w.t);
  const auto place = [&](int64_t row, int64_t column) { return static_cast<int>(row * size.W + column); };
  const int at[4] = {place(h.i0, w.i0), place(h.i0, w.i1), place(h.i1, w.i0), place(h.i1, w.i1)};
#pragma unroll 4
  for (int plane = static_cast<int>(blockIdx.y); plane < planes; plane += static_cast<int>(gridDim.y)) {
    const float* in = x + static_cast<int64_t>(plane) * size.H * size.W;
    y[static_cast<int64_t>(plane) * size.OH * size.OW + pixel] =
        mix(th, mix(tw, in[at[0]], in[at[1]]), mix(tw, in[at[2]], in[at[3]]));
  }
}

constexpr int kTileWidth = 32, kTileHeight = kBlock / kTileWidth;
constexpr int kMostReaders = 16;  // of one position along an axis

// A block takes a tile of dx in many planes. The weights of its rows and columns stand in shared memory: dx written and dy
// read once from memory, 4 + 4 * OH * OW / (H * W) bytes an element of dx.
__global__ void __launch_bounds__(kBlock)
    resize2d_backward_planes_kernel(const float* __restrict__ dy, ResizeMode mode, Sizes size, int tiles_across,
                                    int planes, float* __restrict__ dx) {
  ASAP_SHARED(float, weight, [kMostReaders][kTileWidth + kTileHeight]);
  const int tile_w = static_cast<int>(blockIdx.x) % tiles_across * kTileWidth,
            tile_h = static_cast<int>(blockIdx.x) / tiles_across * kTileHeight;
  for (int k = static_cast<int>(threadIdx.x); k < kTileWidth + kTileHeight; k += kBlock) {
    const bool column = k < kTileWidth;
    const int position = column ? tile_w + k : tile_h + k - kTileWidth, in = column ? size.W : size.H,
              out = column ? size.OW : size.OH;
    const Readers readers = position < in ? readers_of(position, in, out, mode) : Readers{0, 0};
    for (int r = 0; r < kMostReaders; ++r) {
      weight[r][k] =
          readers.begin + r < readers.end ? source_of(readers.begin + r, in, out, mode).weight<float>(position) : 0;
    }
  }
  __syncthreads();
  const int tw = static_cast<int>(threadIdx.x) % kTileWidth, th = static_cast<int>(threadIdx.x) / kTileWidth,
            w = tile_w + tw, h = tile_h + th;
  if (h >= size.H || w >= size.W) return;
  const Readers rows = readers_of(h, size.H, size.OH, mode), columns = readers_of(w, size.W, size.OW, mode);
  for (int plane = static_cast<int>(blockIdx.y); plane < planes; plane += static_cast<int>(gridDim.y)) {
    const float* from = dy + (static_cast<int64_t>(plane) * size.OH + rows.begin) * size.OW + columns.begin;
    float sum = 0;
    for (int i = 0; i < rows.end - rows.begin; ++i) {
      float of_row = 0;
      for (int j = 0; j < columns.end - columns.begin; ++j) of_row += weight[j][tw] * from[i * size.OW + j];
      sum += weight[i][kTileWidth + th] * of_row;
    }
    dx[(static_cast<int64_t>(plane) * size.H + h) * size.W + w] = sum;
  }
}

// Blocks along the planes: enough to keep the card busy, few enough that a thread has several planes.
dim3 grid_of(int64_t tiles, int64_t planes) {
  const int64_t wanted = ceil_div(16 * card().multiprocessors, tiles), most = 65535;
  return {static_cast<unsigned>(tiles), static_cast<unsigned>(std::min({std::max<int64_t>(wanted, 1), planes, most}))};
}
int64_t plane_count(const Tensor& x) { return x.size(0) * x.size(1); }
bool is_small_f32(const Tensor& x, const Tensor& y) {
  const auto fits = [](const Tensor& t) { return t.size(2) * t.size(3) <= INT32_MAX - kBlock; };
  return x.dtype() == DType::f32 && fits(x) && fits(y) && plane_count(x) <= INT32_MAX;
}

void resize2d_forward_planes(const Tensor& x, ResizeMode mode, Tensor& y) {
  launch(resize2d_forward_planes_kernel, {grid_of(ceil_div(y.size(2) * y.size(3), kBlock), plane_count(x)), kBlock},
         x.data<float>(), mode, Sizes(x, y), static_cast<int>(plane_count(x)), y.data<float>());
}
void resize2d_backward_planes(const Tensor& dy, ResizeMode mode, Tensor& dx) {
  const int64_t across = ceil_div(dx.size(3), kTileWidth), down = ceil_div(dx.size(2), kTileHeight);
  launch(resize2d_backward_planes_kernel, {grid_of(across * down, plane_count(dx)), kBlock}, dy.data<float>(), mode,
         Sizes(dx, dy), static_cast<int>(across), static_cast<int>(plane_count(dx)), dx.data<float>());
}

// At most so many outputs read one position: those whose source lies within 1 of it.
int64_t most_readers(int64_t in, int64_t out) { return in == 1 ? out : std::min(out, 2 * ceil_div(out, in - 1) + 2); }

}  // namespace

void register_resize() {
  kernels::resize2d_forward.add(Device::cuda, "planes", resize2d_forward_planes,
                                [](const Tensor& x, ResizeMode, Tensor& y) { return is_small_f32(x, y); });
  kernels::resize2d_backward.add(
      Device::cuda, "planes", resize2d_backward_planes, [](const Tensor& dy, ResizeMode, Tensor& dx) {
        return is_small_f32(dx, dy) && most_readers(dx.size(2), dy.size(2)) <= kMostReaders &&
               most_readers(dx.size(3), dy.size(3)) <= kMostReaders;
      });
}

}  // namespace asap::cuda
