// The convolution of a layer with K split over blocks, the padded picture gathered tap by tap on its way to shared memory and
// never written out.
//
// Why split: facades' 16 x 16 grid with 1024 channels is 16 tiles of 128 x 128, and a card has 132 multiprocessors. With K
// cut in 8 pieces there are 128 blocks, each of which reads its own eighth of the weights: the floor of such a layer is
// reading 19 MB of bf16 (38 MB of f32) weights once. The pieces' sums are added in order by conv_layer_norm.cuh.
// Next: conv_layer_split_k.cu, which plans and launches.
#pragma once

#include "cuda/conv_layer_tile.cuh"

namespace asap::cuda {

constexpr int kSplitStages = 3;
template <class Tile>
constexpr int kSplitStageBytes = (Tile::kPixels + Tile::kOutputs) * kStepBytes;
template <class Tile>
constexpr size_t kSplitSharedBytes = size_t{kSplitStages} * kSplitStageBytes<Tile>;
// Blocks on a multiprocessor of Hopper (227 KiB) that registers must leave room for.
template <class Tile>
constexpr int kSplitBlocks = Tile::kPixels == 256    ? 1
                             : Tile::kOutputs == 128 ? 2
                                                     : 3;

// Copies the rows of both operands, step by step. A thread has the same chunk column of every step, and every 16th row (32nd of
// a tile of 256 pixels).
template <class T, class Tile>
class StepLoader {
 public:
  // windows: shared, a place for each pixel of the tile. All threads must call this.
  __device__ __forceinline__ StepLoader(const T* x, const T* w, const ConvLayerShape& s, int* windows,
                                        const TilePlace<Tile>& place)
      : x_(reinterpret_cast<const char*>(x + int64_t{place.picture} * s.height * s.width * s.channels)),
        w_(reinterpret_cast<const char*>(w)),
        s_(s),
        windows_(windows),
        first_output_(place.first_output),
        tap_chunks_(s.channels * static_cast<int>(sizeof(T)) / kChunkBytes),
        chunk_(place.begin * kStepChunks + column()) {
    static_assert(Tile::kThreads == Tile::kPixels);
    const int tap = chunk_ / tap_chunks_;
    channel_chunk_ = chunk_ % tap_chunks_;
    tap_row_ = tap / s.side;
    tap_column_ = tap % s.side;
    const int pixel = place.first_pixel + static_cast<int>(threadIdx.x);
    const int top = pixel / s.out_width * s.stride - s.pad, left = pixel % s.out_width * s.stride - s.pad;
    windows_[threadIdx.x] = pixel < s.pixels() ? top * 65536 + (left & 0xFFFF) : kNoPixel;
    __syncthreads();
    locate();
  }

  // Starts the copies of the next step into a stage: the pixels' rows, then the weights'.
  __device__ __forceinline__ void load(char* stage) {
    const bool in_k = chunk_ < chunks();
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool valid = in_k && source_[i] >= 0;
      const char* from = valid ? x_ + int64_t{source_[i] + channel_chunk_} * kChunkBytes : x_;
      copy_async<kChunkBytes>(stage + swizzled(row(), column()) + kRowStep * i * kStepBytes, from, valid);
    }
    copy_weights<Tile>(w_, first_output_, s_.outputs, chunks(), chunk_ - column(), stage + Tile::kPixels * kStepBytes);
    advance();
  }

 private:
  static constexpr int kRowStep = Tile::kThreads / kStepChunks, kRows = Tile::kPixels / kRowStep;
  static constexpr int kNoPixel = INT32_MIN;
  static __device__ __forceinline__ int column() { return static_cast<int>(threadIdx.x) % kStepChunks; }
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / kStepChunks; }
  __device__ __forceinline__ int chunks() const { return s_.side * s_.side * tap_chunks_; }

  __device__ __forceinline__ void advance() {
    chunk_ += kStepChunks;
    channel_chunk_ += kStepChunks;
    if (channel_chunk_ < tap_chunks_) return;
    while (channel_chunk_ >= tap_chunks_) {
      channel_chunk_ -= tap_chunks_;
      if (++tap_column_ == s_.side) tap_column_ = 0, ++tap_row_;
    }
    if (chunk_ < chunks()) locate();
  }
  // The pixels that the rows read at the current tap.
  __device__ __forceinline__ void locate() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int window = windows_[row() + kRowStep * i];
      const int h = padded_source((window >> 16) + tap_row_, s_.height, s_.mode);
      const int w = padded_source(static_cast<int16_t>(window) + tap_column_, s_.width, s_.mode);
      source_[i] = window == kNoPixel || h < 0 || w < 0 ? -1 : (h * s_.width + w) * tap_chunks_;
    }
  }

  const char *x_, *w_;
  const ConvLayerShape& s_;
  int* windows_;  // each pixel's upper left corner in x: row in the upper 16 bits, column in the lower
  int first_output_, tap_chunks_;
  int chunk_, channel_chunk_, tap_row_, tap_column_;  // this thread's column in K, and where it lies
  int source_[kRows];  // the chunk of x that the current tap of each row's window begins at; negative: zeros
};

// kFma: float32 by FMA; else tensor cores, in T's precision.
template <class T, class Tile, bool kFma>
__global__ void __launch_bounds__(Tile::kThreads, kSplitBlocks<Tile>)
    split_k_kernel(const T* x, const T* w, ConvLayerShape s, SplitKPlan plan, SplitKResult result) {
  ASAP_SHARED(int, windows, [Tile::kPixels]);
  char* shared = dynamic_shared<char>();
  const TilePlace<Tile> place(plan);
  StepLoader<T, Tile> loader(x, w, s, &windows[0], place);
  float sums[4][Tile::kFragments][4] = {};
#pragma unroll
  for (int stage = 0; stage < kSplitStages - 1; ++stage) {
    if (place.begin + stage < place.end) loader.load(shared + stage * kSplitStageBytes<Tile>);
    copy_commit();
  }
  int stage = 0, free_stage = kSplitStages - 1;
  for (int step = place.begin; step < place.end; ++step) {
    copy_wait<kSplitStages - 2>();
    __syncthreads();  // this step has arrived for all; nobody reads the free stage any more
    if (step + kSplitStages - 1 < place.end) loader.load(shared + free_stage * kSplitStageBytes<Tile>);
    copy_commit();
    const char* pixels = shared + stage * kSplitStageBytes<Tile> + place.warp_pixel * kStepBytes;
    const char* weights = shared + stage * kSplitStageBytes<Tile> + (Tile::kPixels + place.warp_output) * kStepBytes;
    if constexpr (kFma) {
      multiply_step_fma(pixels, weights, sums);
    } else {
      multiply_step_mma<T>(pixels, weights, sums);
    }
    free_stage = stage;
    stage = stage + 1 == kSplitStages ? 0 : stage + 1;
  }
  write_results<Tile>(sums, place, s, plan, result);
}

}  // namespace asap::cuda
