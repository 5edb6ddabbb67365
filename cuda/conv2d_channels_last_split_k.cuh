// The convolution of a layer with K split over blocks, the padded picture gathered tap by tap on its way to shared memory and
// never written out.
//
// Why split: facades' 16 x 16 grid with 1024 channels is 16 tiles of 128 x 128, and a card has 132 multiprocessors. With K
// cut in 8 pieces there are 128 blocks, each of which reads its own eighth of the weights: the floor of such a layer is
// reading 19 MB of bf16 (38 MB of f32) weights once. The pieces' sums are added in order by conv2d_instance_norm.cuh.
// Next: conv2d_channels_last.cu, which plans and launches.
#pragma once

#include "cuda/conv2d_channels_last_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {

constexpr int kSplitStages = 3;
template <class Tile>
constexpr int kSplitStageBytes = (Tile::kPixels + Tile::kOutputs) * kStepBytes;
template <class Tile>
size_t split_k_shared_bytes(const ChannelsLastSizes& s) {  // with StepLoader's tables
  return kSplitStages * size_t{kSplitStageBytes<Tile>} +
         size_t{2} * static_cast<size_t>(s.kh) * Tile::kPixels * sizeof(int);
}
// Blocks on a multiprocessor of Hopper (227 KiB) that registers must leave room for.
template <class Tile>
constexpr int kSplitBlocks = Tile::kPixels == 256  ? 1
                             : Tile::kPixels == 64 ? 3
                                                   : 2;

// Copies the rows of both operands, step by step. A thread has the same chunk column of every step, and every kRowStep-th row.
// What depends on a row's place is looked up: where in x its window's rows begin, and how far its columns are from there.
template <class T, class Tile>
class StepLoader {
 public:
  // tables: shared, 2 x side x kPixels. All threads must call this. Reads neither x nor w.
  __device__ __forceinline__ StepLoader(const T* x, const T* w, const ChannelsLastSizes& s, int* tables,
                                        const TilePlace<Tile>& place)
      : x_(reinterpret_cast<const char*>(x + int64_t{place.picture} * s.h * s.w * s.x_pitch)),
        w_(reinterpret_cast<const char*>(w)),
        side_(s.kh),
        row_table_(tables + row()),
        column_table_(row_table_ + s.kh * Tile::kPixels),
        channel_bytes_(s.c * static_cast<int>(sizeof(T))),
        tap_chunks_(s.w_pitch * static_cast<int>(sizeof(T)) / kChunkBytes),
        outputs_left_(s.o - place.first_output - row()) {
    const int chunk = place.begin * kStepChunks + column(), k_chunks = s.kh * s.kh * tap_chunks_;
    const int tap = chunk / tap_chunks_;
    channel_chunk_ = chunk - tap * tap_chunks_;
    tap_row_ = tap / s.kh;
    tap_column_ = tap - tap_row_ * s.kh;
    weight_ = (place.first_output + row()) * k_chunks + chunk;
    weight_step_ = kRowStep * k_chunks;
    fill_tables(s, place.first_pixel, tables);
    __syncthreads();
    locate();
  }

  // Starts the copies of the next step into a stage: the pixels' rows, then the weights'.
  __device__ __forceinline__ void load(char* stage) {
    char* to = stage + swizzled(row(), column());
    const char* x = x_ + channel_chunk_ * kChunkBytes;
    const int there =
        min(max(channel_bytes_ - channel_chunk_ * kChunkBytes, 0), kChunkBytes);  // of this chunk of channels
#pragma unroll
    for (int i = 0; i < kPixelRows; ++i) {
      const char* from = x + int64_t{max(source_[i], 0)} * kChunkBytes;
      copy_async_part<kChunkBytes>(to + kRowStep * i * kStepBytes, from, source_[i] >= 0 ? there : 0);
    }
    to += Tile::kPixels * kStepBytes;
    const int outputs = tap_row_ < side_ ? outputs_left_ : 0;
#pragma unroll
    for (int i = 0; i < Tile::kOutputs / kRowStep; ++i) {
      const bool valid = kRowStep * i < outputs;
      const char* from = w_ + int64_t{valid ? weight_ + i * weight_step_ : 0} * kChunkBytes;
      copy_async_part<kChunkBytes>(to + kRowStep * i * kStepBytes, from, valid ? there : 0);
    }
    advance();
  }

 private:
  static constexpr int kRowStep = Tile::kThreads / kStepChunks, kPixelRows = Tile::kPixels / kRowStep;
  static constexpr int kNowhere = INT32_MIN / 2;  // stays negative when an offset, or another kNowhere, is added
  static __device__ __forceinline__ int column() { return static_cast<int>(threadIdx.x) % kStepChunks; }
  static __device__ __forceinline__ int row() { return static_cast<int>(threadIdx.x) / kStepChunks; }

  // Entry [i][pixel] of the first table is the chunk of x at which row i of the pixel's window begins, of the second how many
  // chunks column i is from there; kNowhere: zeros.
  __device__ __forceinline__ void fill_tables(const ChannelsLastSizes& s, int first_pixel, int* tables) const {
    static_assert(Tile::kThreads % Tile::kPixels == 0);
    const int thread = static_cast<int>(threadIdx.x), place = thread % Tile::kPixels, pixel = first_pixel + place;
    const int out_row = pixel / s.ow, out_column = pixel - out_row * s.ow;
    const int top = out_row * s.stride_h - s.padding_h, left = out_column * s.stride_h - s.padding_h;
    const int pixel_chunks = s.x_pitch * static_cast<int>(sizeof(T)) / kChunkBytes;
    for (int i = thread / Tile::kPixels; i < s.kh; i += Tile::kThreads / Tile::kPixels) {
      const int h = padded_index(top + i, s.h, s.pad_mode), w = padded_index(left + i, s.w, s.pad_mode);
      tables[i * Tile::kPixels + place] = pixel < s.pixels() && h >= 0 ? h * s.w * pixel_chunks : kNowhere;
      tables[(s.kh + i) * Tile::kPixels + place] = pixel < s.pixels() && w >= 0 ? w * pixel_chunks : kNowhere;
    }
  }
  __device__ __forceinline__ void advance() {
    weight_ += kStepChunks;
    channel_chunk_ += kStepChunks;
    if (channel_chunk_ < tap_chunks_) return;
    do {
      channel_chunk_ -= tap_chunks_;
      if (++tap_column_ == side_) tap_column_ = 0, ++tap_row_;
    } while (channel_chunk_ >= tap_chunks_);
    locate();
  }
  // The pixels that the rows read at the current tap.
  __device__ __forceinline__ void locate() {
    const bool in_k = tap_row_ < side_;
    const int* rows = row_table_ + (in_k ? tap_row_ : 0) * Tile::kPixels;
    const int* columns = column_table_ + tap_column_ * Tile::kPixels;
#pragma unroll
    for (int i = 0; i < kPixelRows; ++i) source_[i] = in_k ? rows[kRowStep * i] + columns[kRowStep * i] : kNowhere;
  }

  const char *x_, *w_;
  int side_;
  const int *row_table_, *column_table_;  // this thread's first row of them
  int channel_bytes_, tap_chunks_;
  int outputs_left_;                          // from this thread's first row of weights on
  int channel_chunk_, tap_row_, tap_column_;  // where this thread's column of the step lies in K
  int weight_, weight_step_;                  // its chunk of w in the first row, and from there to the next
  int source_[kPixelRows];  // the chunk of x that the current tap of each row's window begins at; negative: zeros
};

// The block's weights are on their way to the second-level cache while the previous kernel still runs.
template <class T, class Tile>
__device__ __forceinline__ void prefetch_weights(const T* w, const ChannelsLastSizes& s, const TilePlace<Tile>& place) {
  static_assert(Tile::kThreads % Tile::kOutputs == 0);
  const int thread = static_cast<int>(threadIdx.x), output = place.first_output + thread % Tile::kOutputs;
  if (output >= s.o) return;
  const char* row = reinterpret_cast<const char*>(w + int64_t{output} * s.kh * s.kh * s.w_pitch);
  for (int step = place.begin + thread / Tile::kOutputs; step < place.end; step += Tile::kThreads / Tile::kOutputs) {
    prefetch_to_cache(row + step * kStepBytes);
  }
}

// kFma: float32 by FMA; else tensor cores, in T's precision.
template <class T, class Tile, bool kFma>
__global__ void __launch_bounds__(Tile::kThreads, kSplitBlocks<Tile>)
    split_k_kernel(const T* x, const T* w, ChannelsLastSizes s, SplitKPlan plan, SplitKResult<T> result) {
  static_assert(Tile::kSumsBytes <= size_t{kSplitStages} * kSplitStageBytes<Tile>);
  let_next_kernel_start();
  char* shared = dynamic_shared<char>();
  const TilePlace<Tile> place(plan);
  prefetch_weights(w, s, place);
  StepLoader<T, Tile> loader(x, w, s, reinterpret_cast<int*>(shared + kSplitStages * kSplitStageBytes<Tile>), place);
  wait_for_previous_kernel();
  float sums[Tile::kRows][Tile::kFragments][4] = {};
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
