// Packing phi for the fused per-tile MLP: a transposition of [P,cells] that also pads, rounds and orders (tile_mlp_pack.cuh).
// Memory-bound: facades 512 read 15 MB and write as much (bf16: half), both in L2 when the layer before has just run. Where a word
// comes from is looked up once for all tiles of a block: looked up for each tile it took 19 us on an H200, bound by instructions.
#include "cuda/hopper.cuh"
#include "cuda/tile_mlp_pack.cuh"

namespace asap::cuda {
namespace {

// Which numbers of the tile's phi a packed word holds: channels, or -1 for zero. It does not depend on the tile.
struct WordSource {
  int first = -1, second = -1;
  bool exact = false;  // an f32, whatever the format

  template <PackFormat kFormat>
  static __device__ __forceinline__ WordSource of(int word, const TileMlpSizes& s, const PackedMlp& packed) {
    const int l = packed.layer_of(word);
    const TileMlpLayer layer = s.layer(l);
    const bool last = l + 1 == s.depth;
    const auto bias = [&](int column) { return column < layer.out ? layer.bias + column : -1; };
    const auto weight = [&](int row, int column) {
      return row < layer.in && column < layer.out ? layer.weight + row * layer.out + column : -1;
    };
    int i = word - packed.offset(l), outputs = last ? kOutputs : kHidden;
    if constexpr (kFormat == PackFormat::bf16_rows) {
      if (last) outputs = layer.out;
      const auto number = [&](int j) { return j < outputs ? bias(j) : weight(j / outputs - 1, j % outputs); };
      return {number(2 * i), number(2 * i + 1)};
    }
    if (i < outputs) return {bias(i), -1, true};
    i -= outputs;
    if constexpr (kFormat == PackFormat::f32 || kFormat == PackFormat::tf32_rows)
      return {weight(i / outputs, i % outputs)};
    // Words of a lane: registers 0 and 1 of one block, then of the next block of columns, or of rows where there is but one.
    const int lane = i / 4 % kWarp, second = i / 2 % 2, r = i % 2;
    const int step = last ? i / 128 * 2 + second : i / 512, block = last ? 0 : i / 128 % 4 * 2 + second;
    const int column = block * 8 + lane / 4, row = step * rows_of_step(kFormat) + lane % 4 * 2;
    if constexpr (kFormat == PackFormat::tf32) return {weight(row + r, column)};
    return {weight(row + 8 * r, column), weight(row + 8 * r + 1, column)};
  }

  template <PackFormat kFormat, class Weight>
  __device__ __forceinline__ float read(const Weight* numbers, int64_t step) const {
    const auto number = [&](int channel) { return channel < 0 ? 0.0f : static_cast<float>(numbers[channel * step]); };
    if (exact || kFormat == PackFormat::f32) return number(first);
    if constexpr (kFormat == PackFormat::bf16 || kFormat == PackFormat::bf16_rows)
      return __uint_as_float(pack_bf16(number(first), number(second)));
    return __uint_as_float(to_tf32(number(first)));
  }
};

constexpr int kSquare = 32;       // words of a block, and tiles that it takes at a time
constexpr int kTilesOfRows = 64;  // of a block where phi lies tile by tile

// Row-major phi: neighbouring lanes read neighbouring tiles and write neighbouring words.
template <PackFormat kFormat, class Weight>
__global__ void pack_kernel(PhiView<const Weight> phi, TileMlpSizes s, PackedMlp packed, float* to) {
  ASAP_SHARED(float, square, [kSquare][kSquare + 1]);  // [word][tile]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_word = static_cast<int>(blockIdx.x) * kSquare, first_tile = static_cast<int>(blockIdx.y) * kSquare;
  const int tiles = s.batch * s.cells, warps = static_cast<int>(blockDim.x) / kWarp, words = packed.words;
  let_next_kernel_start();
  wait_for_previous_kernel();
  const Weight* column = phi.numbers(first_tile + lane);
#pragma unroll 1
  for (int i = warp; i < min(kSquare, words - first_word); i += warps) {
    const WordSource word = WordSource::of<kFormat>(first_word + i, s, packed);
    if (first_tile + lane < tiles) square[i][lane] = word.read<kFormat>(column, phi.step);
  }
  __syncthreads();
  if (first_word + lane >= words) return;
  for (int tile = warp; tile < min(kSquare, tiles - first_tile); tile += warps)
    to[static_cast<int64_t>(first_tile + tile) * words + first_word + lane] = square[lane][tile];
}

// Channels-last phi: a lane has one word of all its tiles.
template <PackFormat kFormat, class Weight>
__global__ void pack_rows_kernel(PhiView<const Weight> phi, TileMlpSizes s, PackedMlp packed, float* to) {
  const int word = static_cast<int>(blockIdx.x) * kSquare + static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp, first = static_cast<int>(blockIdx.y) * kTilesOfRows;
  const int end = min(first + kTilesOfRows, s.batch * s.cells);
  const WordSource source = WordSource::of<kFormat>(word, s, packed);
  let_next_kernel_start();
  wait_for_previous_kernel();
  if (word >= packed.words) return;
  for (int tile = first + static_cast<int>(threadIdx.x) / kWarp; tile < end; tile += warps) {
    to[static_cast<int64_t>(tile) * packed.words + word] = source.read<kFormat>(phi.numbers(tile), 1);
  }
}

// Number of phi that word `i` of a packed layer in rows belongs to, or -1.
__device__ __forceinline__ int channel_of_word(int i, const TileMlpLayer& layer, int outputs) {
  const int row = i / outputs - 1, column = i % outputs;  // row -1 is the bias
  if (column >= layer.out || row >= layer.in) return -1;
  return row < 0 ? layer.bias + column : layer.weight + row * layer.out + column;
}

template <class Weight>
__global__ void unpack_kernel(const float* partial, int parts, TileMlpSizes s, PackedMlp packed, PhiView<Weight> dphi) {
  ASAP_SHARED(float, square, [kSquare][kSquare + 1]);  // [word][tile]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_word = static_cast<int>(blockIdx.x) * kSquare, first_tile = static_cast<int>(blockIdx.y) * kSquare;
  const int tiles = s.batch * s.cells, warps = static_cast<int>(blockDim.x) / kWarp;
  for (int tile = warp; tile < kSquare; tile += warps) {
    if (first_word + lane >= packed.words || first_tile + tile >= tiles) continue;
    float sum = 0;
    for (int part = 0; part < parts; ++part) {
      sum += partial[(static_cast<int64_t>(part) * tiles + first_tile + tile) * packed.words + first_word + lane];
    }
    square[lane][tile] = sum;
  }
  __syncthreads();
  const bool by_tile = dphi.step == 1;  // then lanes write neighbouring channels, else neighbouring tiles
  for (int i = warp; i < kSquare; i += warps) {
    const int word = by_tile ? lane : i, tile = by_tile ? i : lane;
    if (first_word + word >= packed.words || first_tile + tile >= tiles) continue;
    const int l = packed.layer_of(first_word + word);
    const int p =
        channel_of_word(first_word + word - packed.offset(l), s.layer(l), l + 1 == s.depth ? kOutputs : kHidden);
    if (p >= 0) dphi.numbers(first_tile + tile)[p * dphi.step] = Weight(square[word][tile]);
  }
}

template <PackFormat kFormat, class Weight>
void pack(const Tensor& phi, const TileMlpSizes& s, const PackedMlp& packed, Tensor& to) {
  const bool rows = phi.layout() == Layout::channels_last;
  const dim3 blocks(static_cast<unsigned>(ceil_div(packed.words, kSquare)),
                    static_cast<unsigned>(ceil_div(to.size(0), rows ? kTilesOfRows : kSquare)));
  const Launch shape = Launch(blocks, kBlock).overlapping();
  const PhiView<const Weight> from(phi);
  if (rows) {
    launch(pack_rows_kernel<kFormat, Weight>, shape, from, s, packed, to.data<float>());
  } else {
    launch(pack_kernel<kFormat, Weight>, shape, from, s, packed, to.data<float>());
  }
}
template <PackFormat kFormat>
void pack(const Tensor& phi, const TileMlpSizes& s, const PackedMlp& packed, Tensor& to) {
  phi.dtype() == DType::bf16 ? pack<kFormat, bf16>(phi, s, packed, to) : pack<kFormat, float>(phi, s, packed, to);
}

}  // namespace

Tensor pack_phi(const Tensor& phi, const TileMlpSizes& s, PackFormat format) {
  const PackedMlp packed(s, format);
  Tensor to = Tensor::empty({static_cast<int64_t>(s.batch) * s.cells, packed.words}, DType::f32, Device::cuda);
  switch (format) {
    case PackFormat::f32: pack<PackFormat::f32>(phi, s, packed, to); break;
    case PackFormat::tf32: pack<PackFormat::tf32>(phi, s, packed, to); break;
    case PackFormat::tf32_rows: pack<PackFormat::tf32_rows>(phi, s, packed, to); break;
    case PackFormat::bf16: pack<PackFormat::bf16>(phi, s, packed, to); break;
    case PackFormat::bf16_rows: pack<PackFormat::bf16_rows>(phi, s, packed, to); break;
  }
  return to;
}

void unpack_grads(const Tensor& partial, int parts, const TileMlpSizes& s, Tensor& dphi) {
  const PackedMlp packed(s, PackFormat::f32);
  const dim3 blocks(static_cast<unsigned>(ceil_div(packed.words, kSquare)),
                    static_cast<unsigned>(ceil_div(s.batch * s.cells, kSquare)));
  const auto run = [&](auto zero) {
    using Weight = decltype(zero);
    launch(unpack_kernel<Weight>, {blocks, kBlock}, partial.data<float>(), parts, s, packed, PhiView<Weight>(dphi));
  };
  dphi.dtype() == DType::bf16 ? run(bf16{}) : run(0.0f);
}

}  // namespace asap::cuda
