// Packing phi for the fused per-tile MLP: a transposition of [P,cells] that also pads, rounds and orders (tile_mlp_pack.cuh).
// Memory-bound: facades 512 read 15 MB and write as much (bf16: half), both in L2 when the layer before has just run.
#include "cuda/tile_mlp_pack.cuh"

namespace asap::cuda {
namespace {

// Word `i` of a packed layer; channel(p) gives number p of the tile's phi.
template <PackFormat kFormat, class Channel>
__device__ __forceinline__ float packed_word(int i, const TileMlpLayer& layer, int outputs, const Channel& channel) {
  if (i < outputs) return i < layer.out ? channel(layer.bias + i) : 0.0f;
  i -= outputs;
  const auto weight = [&](int row, int column) {
    return row < layer.in && column < layer.out ? channel(layer.weight + row * layer.out + column) : 0.0f;
  };
  if constexpr (kFormat == PackFormat::f32) {
    return weight(i / outputs, i % outputs);
  } else if constexpr (kFormat == PackFormat::tf32_rows) {
    return __uint_as_float(to_tf32(weight(i / outputs, i % outputs)));
  } else {
    // Words of a lane: registers 0 and 1 of one block, then of the next block of columns, or of rows where there is but one.
    const int lane = i / 4 % kWarp, second = i / 2 % 2, r = i % 2;
    const int step = outputs == kHidden ? i / 512 : i / 128 * 2 + second,
              block = outputs == kHidden ? i / 128 % 4 * 2 + second : 0;
    const int column = block * 8 + lane / 4, row = step * rows_of_step(kFormat) + lane % 4 * 2;
    if constexpr (kFormat == PackFormat::tf32) {
      return __uint_as_float(to_tf32(weight(row + r, column)));
    } else {
      return __uint_as_float(pack_bf16(weight(row + 8 * r, column), weight(row + 8 * r + 1, column)));
    }
  }
}

constexpr int kSquare = 32;  // a block packs so many words of so many tiles

template <PackFormat kFormat, class Weight>
__global__ void pack_kernel(PhiView<const Weight> phi, TileMlpSizes s, PackedMlp packed, float* to) {
  ASAP_SHARED(float, square, [kSquare][kSquare + 1]);  // [word][tile]
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first_word = static_cast<int>(blockIdx.x) * kSquare, first_tile = static_cast<int>(blockIdx.y) * kSquare;
  const int tiles = s.batch * s.cells, warps = static_cast<int>(blockDim.x) / kWarp;
  // Neighbouring lanes read neighbouring numbers: of one tile, or of neighbouring tiles.
  const bool by_word = phi.step == 1;
  for (int i = warp; i < kSquare; i += warps) {
    const int word = by_word ? lane : i, tile = by_word ? i : lane;
    if (first_word + word >= packed.words || first_tile + tile >= tiles) continue;
    const int l = packed.layer_of(first_word + word);
    const Weight* column = phi.tile((first_tile + tile) / s.cells, (first_tile + tile) % s.cells);
    square[word][tile] =
        packed_word<kFormat>(first_word + word - packed.offset(l), s.layer(l), l + 1 == s.depth ? kOutputs : kHidden,
                             [&](int p) { return static_cast<float>(column[p * phi.step]); });
  }
  __syncthreads();
  for (int tile = warp; tile < kSquare; tile += warps) {
    if (first_word + lane >= packed.words || first_tile + tile >= tiles) continue;
    to[static_cast<int64_t>(first_tile + tile) * packed.words + first_word + lane] = square[lane][tile];
  }
}

// Number of phi that word `i` of a packed layer in rows belongs to, or -1.
__device__ __forceinline__ int channel_of_word(int i, const TileMlpLayer& layer, int outputs) {
  const int row = i / outputs - 1, column = i % outputs;  // row -1 is the bias
  if (column >= layer.out || row >= layer.in) return -1;
  return row < 0 ? layer.bias + column : layer.weight + row * layer.out + column;
}

__global__ void unpack_kernel(const float* partial, int parts, TileMlpSizes s, PackedMlp packed, PhiView<float> dphi) {
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
  for (int word = warp; word < kSquare; word += warps) {
    if (first_word + word >= packed.words || first_tile + lane >= tiles) continue;
    const int l = packed.layer_of(first_word + word);
    const int p =
        channel_of_word(first_word + word - packed.offset(l), s.layer(l), l + 1 == s.depth ? kOutputs : kHidden);
    if (p >= 0)
      dphi.tile((first_tile + lane) / s.cells, (first_tile + lane) % s.cells)[p * dphi.step] = square[word][lane];
  }
}

template <PackFormat kFormat>
void pack(const Tensor& phi, Layout layout, const TileMlpSizes& s, const PackedMlp& packed, Tensor& to) {
  const dim3 blocks(static_cast<unsigned>(ceil_div(packed.words, kSquare)),
                    static_cast<unsigned>(ceil_div(to.size(0), kSquare)));
  if (phi.dtype() == DType::bf16) {
    launch(pack_kernel<kFormat, bf16>, {blocks, kBlock}, PhiView<const bf16>(phi, layout), s, packed, to.data<float>());
  } else {
    launch(pack_kernel<kFormat, float>, {blocks, kBlock}, PhiView<const float>(phi, layout), s, packed,
           to.data<float>());
  }
}

}  // namespace

Tensor pack_phi(const Tensor& phi, Layout layout, const TileMlpSizes& s, PackFormat format) {
  const PackedMlp packed(s, format);
  Tensor to = Tensor::empty({static_cast<int64_t>(s.batch) * s.cells, packed.words}, DType::f32, Device::cuda);
  switch (format) {
    case PackFormat::f32: pack<PackFormat::f32>(phi, layout, s, packed, to); break;
    case PackFormat::tf32: pack<PackFormat::tf32>(phi, layout, s, packed, to); break;
    case PackFormat::tf32_rows: pack<PackFormat::tf32_rows>(phi, layout, s, packed, to); break;
    case PackFormat::bf16: pack<PackFormat::bf16>(phi, layout, s, packed, to); break;
  }
  return to;
}

void unpack_grads(const Tensor& partial, int parts, const TileMlpSizes& s, Tensor& dphi) {
  const PackedMlp packed(s, PackFormat::f32);
  const dim3 blocks(static_cast<unsigned>(ceil_div(packed.words, kSquare)),
                    static_cast<unsigned>(ceil_div(s.batch * s.cells, kSquare)));
  launch(unpack_kernel, {blocks, kBlock}, partial.data<float>(), parts, s, packed, PhiView<float>(dphi, Layout::nchw));
}

}  // namespace asap::cuda
