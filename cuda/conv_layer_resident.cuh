// The convolution of a layer with K split over blocks, for stride 1 and planes of few pixels: a block's piece of K is some
// channels of all taps. It keeps those channels of its 256 pixels and their padded border in shared memory, and every tap
// reads them there at another offset; only weights stream.
//
// Why: the 16 x 16 grid's layers are bound by what reaches the multiprocessors from the second-level cache. Gathering the
// pixels anew for each tap moves 128 blocks x 18 steps x 32 KiB = 75 MB a layer; this moves 128 x (2 x 41 KiB of pixels
// + 144 KiB of weights) = 30 MB, of which each weight is read once.
// Next: conv_layer_split_k.cu, which plans and launches; conv_layer_norm.cuh, which adds the pieces' sums.
#pragma once

#include "cuda/conv_layer_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {

using ResidentTile = ConvTile<256, 64, 1>;  // 4 warps, each with 64 pixels and all outputs
constexpr int kResidentStages = 6;          // of weights, 8 KiB each: 40 KiB on the way cover the memory's latency
constexpr int kResidentStageBytes = ResidentTile::kOutputs * kStepBytes;
// The pixels of the next 128 bytes of channels are fetched while the last taps of the present ones are multiplied, into the
// buffer of the ones before: those must be done by then.
constexpr int kResidentLeastTaps = kResidentStages - 1;

// The part of the padded picture that a tile's windows cover: a tile is a run of pixels in rows of y.
struct ResidentWindow {
  int rows, columns;
  __host__ __device__ __forceinline__ int pixels() const { return rows * columns; }
  __host__ __device__ __forceinline__ int bytes() const { return pixels() * kStepBytes; }
};
inline ResidentWindow resident_window(const ConvLayerShape& s) {
  const int width = s.out_width, tile = ResidentTile::kPixels;
  const int rows = tile % width == 0 ? tile / width : (tile + width - 2) / width + 1;
  return {std::min(rows, s.out_height) + s.side - 1, width + s.side - 1};
}
// Two buffers of pixels, the stages of weights, and where each pixel of the window comes from.
inline size_t resident_shared_bytes(const ConvLayerShape& s) {
  const ResidentWindow window = resident_window(s);
  const size_t steps = size_t{2} * static_cast<size_t>(window.bytes()) + size_t{kResidentStages} * kResidentStageBytes;
  return std::max(steps + static_cast<size_t>(window.pixels()) * sizeof(int), ResidentTile::kSumsBytes);
}

// Step by step: the taps of 128 bytes of channels, then those of the next. plan.steps counts the latter, here called slices.
template <class T>
class ResidentLoader {
 public:
  // `sources`: shared, [window.pixels()]. All threads must call this.
  __device__ __forceinline__ ResidentLoader(const T* x, const T* w, const ConvLayerShape& s, ResidentWindow window,
                                            const TilePlace<ResidentTile>& place, int* sources)
      : x_(reinterpret_cast<const char*>(x + int64_t{place.picture} * s.height * s.width * s.channels)),
        w_(reinterpret_cast<const char*>(w)),
        s_(s),
        window_pixels_(window.pixels()),
        first_output_(place.first_output),
        slice_chunks_(s.channels * static_cast<int>(sizeof(T)) / kChunkBytes),
        sources_(sources) {
    const int first_row = place.first_pixel / s.out_width;
    for (int i = static_cast<int>(threadIdx.x); i < window_pixels_; i += ResidentTile::kThreads) {
      const int h = padded_source(first_row + i / window.columns - s.pad, s.height, s.mode);
      const int column = padded_source(i % window.columns - s.pad, s.width, s.mode);
      sources_[i] = h < 0 || column < 0 ? -1 : h * s.width + column;
    }
    __syncthreads();
  }

  // Starts the copies of one step: its weights and, with the first tap, its slice of the pixels.
  __device__ __forceinline__ void load(int slice, int tap, char* weights, char* pixels) const {
    if (tap == 0) load_pixels(slice, pixels);
    copy_weights<ResidentTile>(w_, first_output_, s_.outputs, s_.side * s_.side * slice_chunks_,
                               tap * slice_chunks_ + slice * kStepChunks, weights);
  }

 private:
  __device__ __forceinline__ void load_pixels(int slice, char* to) const {
    const int column = static_cast<int>(threadIdx.x) % kStepChunks, row = static_cast<int>(threadIdx.x) / kStepChunks;
    for (int i = row; i < window_pixels_; i += ResidentTile::kThreads / kStepChunks) {
      const int source = sources_[i];
      const int64_t chunk = int64_t{source} * slice_chunks_ + slice * kStepChunks + column;
      copy_async<kChunkBytes>(to + swizzled(i, column), source < 0 ? x_ : x_ + chunk * kChunkBytes, source >= 0);
    }
  }

  const char *x_, *w_;
  const ConvLayerShape& s_;
  int window_pixels_, first_output_, slice_chunks_;  // the last: 16-byte chunks of a pixel's channels
  int* sources_;                                     // pixel of x that each of the window's is; negative: zeros
};

// Multiplies step by step; between steps it holds the first part's fragments of the next, so that the tensor cores do not
// wait for shared memory behind each barrier.
template <class T>
__global__ void __launch_bounds__(ResidentTile::kThreads, 1)
    resident_kernel(const T* x, const T* w, ConvLayerShape s, ResidentWindow window, SplitKPlan plan,
                    SplitKResult result) {
  constexpr int kFragments = ResidentTile::kFragments, kStages = kResidentStages;
  let_next_kernel_start();
  char* weights = dynamic_shared<char>();
  char* pixels = weights + kStages * kResidentStageBytes;  // slice i is in buffer i % 2
  const TilePlace<ResidentTile> place(plan);
  const ResidentLoader<T> loader(x, w, s, window, place, reinterpret_cast<int*>(pixels + 2 * window.bytes()));
  const int taps = s.side * s.side, steps = (place.end - place.begin) * taps;
  const auto slice_of = [&](int step) { return place.begin + step / taps; };
  const auto weights_of = [&](int step) { return weights + step % kStages * kResidentStageBytes; };
  const auto pixels_of = [&](int step) { return pixels + slice_of(step) % 2 * window.bytes(); };
  const auto load = [&](int step) { loader.load(slice_of(step), step % taps, weights_of(step), pixels_of(step)); };

  // This lane's pixels of the window at the first tap, one for each of its four fragments of pixels.
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int corner[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int pixel = min(place.first_pixel + place.warp_pixel + 16 * i + lane % 16, s.pixels() - 1);
    const int row = pixel / s.out_width - place.first_pixel / s.out_width;
    corner[i] = row * window.columns + pixel % s.out_width;
  }

  wait_for_previous_kernel();
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    copy_commit();
  }
  float sums[4][kFragments][4] = {};
  uint32_t a[2][4][4], b[2][kFragments][2];
  const auto read = [&](int step, int part) {
    const char* from = pixels_of(step);
    const int tap = step % taps / s.side * window.columns + step % taps % s.side;
    const auto pixel_at = [&](int i, int p) { return from + (swizzled(corner[i] + tap, lane / 16) ^ p * kPartBytes); };
    load_fragments(pixel_at, weights_of(step), part, a[part % 2], b[part % 2]);
  };
  copy_wait<kStages - 2>();
  __syncthreads();
  read(0, 0);
  for (int step = 0; step < steps; ++step) {
    copy_wait<kStages - 3>();
    __syncthreads();  // the next step has arrived for all; nobody reads the previous one any more
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    copy_commit();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
      part + 1 < kStepParts ? read(step, part + 1) : read(min(step + 1, steps - 1), 0);  // the last: in vain
      multiply_part<T>(a[part % 2], b[part % 2], sums);
    }
  }
  write_results<ResidentTile>(sums, place, s, plan, result);
}

}  // namespace asap::cuda
