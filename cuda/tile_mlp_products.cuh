// The three products of a layer for 64 pixels and 64 channels, by 256 threads in shared memory: forward, gradient of the
// weights, gradient of the input; on FMA units (Simt) or tensor cores (Tf32). All matrices have rows of kStride numbers:
// activations and their gradients [channel][pixel], weights [in][out]. Used by tile_mlp_backward.cu.
#pragma once

#include "cuda/tile_mlp.cuh"

namespace asap::cuda::products {

constexpr int kPixels = 64, kThreads = 256;

struct Element {
  int row, column;
};

__device__ __forceinline__ void load_four(const float* from, float (&to)[4]) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

// A thread has 4 x 4 results. Two loads of 16 bytes feed 16 multiply-adds. Neighbouring lanes read either neighbouring numbers
// or neighbouring rows, which the stride puts 4 banks apart.
struct Simt {
  static constexpr int kStride = kPixels + 4;
  __device__ static __forceinline__ float round(float x) { return x; }

  // 8 quads (lane % 8) x 4 groups (lane / 8) a warp, 2 x 4 warps.
  struct Place {
    int quad = static_cast<int>(threadIdx.x) % 8, group = static_cast<int>(threadIdx.x) % kWarp / 8;
    int side = static_cast<int>(threadIdx.x) / kWarp % 2 * 32, quarter = static_cast<int>(threadIdx.x) / kWarp / 2 * 16;
    // Spread over rows: four of them, 8 apart.
    __device__ __forceinline__ int row(int i) const { return side + quad + 8 * i; }
    __device__ __forceinline__ int pixels() const { return quarter + 4 * group; }
  };

  // y = LeakyReLU(W^T z + start(channel, pixel)) over `count` inputs.
  template <class Start>
  __device__ static __forceinline__ void forward(const float* z, const float* w, const Start& start, int count,
                                                 float slope, float* y) {
    const Place place;
    const int pixel = place.pixels(), channel = place.side + 4 * place.quad;
    float sums[4][4];  // [channel][pixel]
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] = start(channel + i, pixel + j);
    }
#pragma unroll 4
    for (int c = 0; c < count; ++c) {
      float value[4], weight[4];
      load_four(z + c * kStride + pixel, value);
      load_four(w + c * kStride + channel, weight);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += weight[i] * value[j];
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] = sums[i][j] > 0 ? sums[i][j] : slope * sums[i][j];
      *reinterpret_cast<float4*>(y + (channel + i) * kStride + pixel) =
          make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    }
  }

  // z = (W dz) LeakyReLU'(z) for its first `rows` rows. W has no more: behind it lies what other threads may be writing.
  __device__ static __forceinline__ void input_grad(const float* dz, const float* w, int rows, float slope, float* z) {
    const Place place;
    float sums[4][4] = {};  // [row][pixel]
#pragma unroll 1
    for (int o = 0; o < kHidden; o += 4) {
      float gradient[4][4], weight[4][4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        load_four(dz + (o + k) * kStride + place.pixels(), gradient[k]);
        load_four(w + min(place.row(k), rows - 1) * kStride + o, weight[k]);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[i][j] += weight[i][k] * gradient[k][j];
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (place.row(i) >= rows) continue;
      float* at = z + place.row(i) * kStride + place.pixels();
      float value[4];
      load_four(at, value);
#pragma unroll
      for (int j = 0; j < 4; ++j) value[j] = value[j] > 0 ? sums[i][j] : slope * sums[i][j];
      *reinterpret_cast<float4*>(at) = make_float4(value[0], value[1], value[2], value[3]);
    }
  }

  // dw += z dz^T: rows of z, columns of dz.
  __device__ static __forceinline__ void weight_grad(const float* z, const float* dz, float (&dw)[16]) {
    const Place place;
#pragma unroll 1
    for (int p = 0; p < kPixels; p += 4) {
      float value[4][4], gradient[4][4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        load_four(z + place.row(k) * kStride + p, value[k]);
        load_four(dz + (place.pixels() + k) * kStride + p, gradient[k]);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
#pragma unroll
        for (int i = 0; i < 16; ++i) dw[i] += value[i / 4][k] * gradient[i % 4][k];
      }
    }
  }
  // What dw[i] belongs to.
  __device__ static __forceinline__ Element element(int i) {
    const Place place;
    return {place.row(i / 4), place.pixels() + i % 4};
  }
};

// A warp has 2 x 2 blocks of 16 x 8 results. All that is stored is rounded to tf32, so that operands are used as they are.
// The stride puts rows 8 banks apart: only the weights of input_grad meet twice in a bank.
struct Tf32 {
  static constexpr int kStride = kPixels + 8;
  __device__ static __forceinline__ float round(float x) { return __uint_as_float(to_tf32(x)); }

  // Blocks of 16 rows from `rows` on and of 8 columns from `columns` on; g and t of mma.cuh.
  struct Place {
    int g = static_cast<int>(threadIdx.x) % kWarp / 4, t = static_cast<int>(threadIdx.x) % 4;
    int rows = static_cast<int>(threadIdx.x) / kWarp % 2 * 32, columns = static_cast<int>(threadIdx.x) / kWarp / 2 * 16;
  };
  using Sums = float[2][2][4];

  // sums [pixel][channel] += z^T B over `count` rows of z; b(k, column) is B's element.
  template <class B>
  __device__ static __forceinline__ void multiply(const float* z, int count, const Place& at, const B& element_b,
                                                  Sums& sums) {
#pragma unroll 2
    for (int k = at.t; k < count; k += 8) {
      uint32_t a[2][4], b[2][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float* from = z + k * kStride + at.rows + 16 * i + at.g;
        a[i][0] = __float_as_uint(from[0]), a[i][1] = __float_as_uint(from[8]);
        a[i][2] = __float_as_uint(from[4 * kStride]), a[i][3] = __float_as_uint(from[4 * kStride + 8]);
        const int column = at.columns + 8 * i + at.g;
        b[i][0] = __float_as_uint(element_b(k, column)), b[i][1] = __float_as_uint(element_b(k + 4, column));
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 2; ++j) mma_tf32(sums[i][j], a[i], b[j]);
      }
    }
  }

  // f(sum, channel, pixel, element of a matrix [channel][pixel]) for all sums [pixel][channel].
  template <class F>
  __device__ static __forceinline__ void each(const Place& at, const Sums& sums, float* matrix, const F& f) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int pixel = at.rows + 16 * (i / 8) + at.g + i / 2 % 2 * 8,
                channel = at.columns + 8 * (i / 4 % 2) + 2 * at.t + i % 2;
      f(sums[i / 8][i / 4 % 2][i % 4], channel, pixel, matrix[channel * kStride + pixel]);
    }
  }

  template <class Start>
  __device__ static __forceinline__ void forward(const float* z, const float* w, const Start& start, int count,
                                                 float slope, float* y) {
    const Place at;
    Sums sums = {};
    multiply(
        z, count, at, [&](int k, int column) { return w[k * kStride + column]; }, sums);
    each(at, sums, y, [&](float sum, int channel, int pixel, float& value) {
      sum += start(channel, pixel);
      value = round(sum > 0 ? sum : slope * sum);
    });
  }

  __device__ static __forceinline__ void input_grad(const float* dz, const float* w, int rows, float slope, float* z) {
    const Place at;
    Sums sums = {};
    multiply(
        dz, kHidden, at, [&](int k, int column) { return w[min(column, rows - 1) * kStride + k]; }, sums);
    each(at, sums, z, [&](float sum, int channel, int, float& value) {
      if (channel < rows) value = round(value > 0 ? sum : slope * sum);
    });
  }

  // Of a step's 8 pixels, k = t is number 2t and k = t + 4 number 2t + 1: one load of 8 bytes for both.
  __device__ static __forceinline__ void weight_grad(const float* z, const float* dz, float (&dw)[16]) {
    const Place at;
#pragma unroll 2
    for (int p = 2 * at.t; p < kPixels; p += 8) {
      uint32_t a[2][4], b[2][2];
      const auto load_two = [&](const float* matrix, int row, uint32_t& first, uint32_t& second) {
        const uint2 two = *reinterpret_cast<const uint2*>(matrix + row * kStride + p);
        first = two.x, second = two.y;
      };
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        load_two(z, at.rows + 16 * i + at.g, a[i][0], a[i][2]);
        load_two(z, at.rows + 16 * i + at.g + 8, a[i][1], a[i][3]);
        load_two(dz, at.columns + 8 * i + at.g, b[i][0], b[i][1]);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float(&sums)[4] = *reinterpret_cast<float(*)[4]>(dw + 4 * i);
        mma_tf32(sums, a[i / 2], b[i % 2]);
      }
    }
  }
  __device__ static __forceinline__ Element element(int i) {
    const Place at;
    return {at.rows + 16 * (i / 8) + at.g + i / 2 % 2 * 8, at.columns + 8 * (i / 4 % 2) + 2 * at.t + i % 2};
  }
};

}  // namespace asap::cuda::products
