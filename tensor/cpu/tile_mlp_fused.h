// What the fused forward and backward of the per-tile MLP share: tiles handed out in groups with their columns of phi
// transposed, scratch memory, and moving a tile's pixels between pictures and panels (tile_mlp_panels.h).
#pragma once

#include <algorithm>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tile_mlp.h"
#include "tensor/cpu/tile_mlp_panels.h"

namespace asap::cpu {

// A zeroed, 64-byte aligned buffer of one thread.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : memory_(Tensor::empty({count}, dtype_of<T>)), first_(memory_.template data<T>()) {
    std::fill(first_, first_ + count, T{0});
  }
  operator T*() { return first_; }

 private:
  Tensor memory_;
  T* first_;
};

// Tiles that lie beside each other in phi (a cache line of them) are worked on together: a line of phi is read once.
struct TileGroup {
  int64_t picture, first, count;  // tiles first .. first + count - 1 of the picture
};

// Calls f(group index begin, end) on all threads.
class TileGroups {
 public:
  TileGroups(const TileMlpSizes& sizes, int64_t most) : cells_(sizes.cells()) {
    const int64_t fair = sizes.batch * cells_ / (4 * omp_get_max_threads());  // leave every thread a few groups
    size_ = std::clamp<int64_t>(fair, 1, most);
    groups_a_picture_ = (cells_ + size_ - 1) / size_;
    count_ = sizes.batch * groups_a_picture_;
  }
  int64_t count() const { return count_; }
  int64_t size() const { return size_; }
  TileGroup operator[](int64_t i) const {
    const int64_t first = i % groups_a_picture_ * size_;
    return {i / groups_a_picture_, first, std::min(size_, cells_ - first)};
  }

 private:
  int64_t cells_, size_, groups_a_picture_, count_;
};

// phi [B,P,cells] <-> columns [count][stride] of a group. Whole vectors of tiles go through registers.
template <class T>
void gather_columns(const T* phi, const TileMlpSizes& sizes, const TileGroup& group, T* columns, int64_t stride) {
  constexpr int64_t kL = panels::kLanes<T>;
  const int64_t cells = sizes.cells();
  const T* first = phi + group.picture * sizes.parameters * cells + group.first;
  int64_t p = 0;
  if (group.count == kL) {
    for (; p + kL <= sizes.parameters; p += kL) panels::transpose_square(first + p * cells, cells, columns + p, stride);
  }
  for (; p < sizes.parameters; ++p) {
    for (int64_t c = 0; c < group.count; ++c) columns[c * stride + p] = first[p * cells + c];
  }
}
template <class T>
void scatter_columns(const T* columns, int64_t stride, const TileMlpSizes& sizes, const TileGroup& group, T* phi) {
  constexpr int64_t kL = panels::kLanes<T>;
  const int64_t cells = sizes.cells();
  T* first = phi + group.picture * sizes.parameters * cells + group.first;
  int64_t p = 0;
  if (group.count == kL) {
    for (; p + kL <= sizes.parameters; p += kL) panels::transpose_square(columns + p, stride, first + p * cells, cells);
  }
  for (; p < sizes.parameters; ++p) {
    for (int64_t c = 0; c < group.count; ++c) first[p * cells + c] = columns[c * stride + p];
  }
}

// Moves panels of pixels between one tile and its pictures. Pixels are numbered row by row within the tile; tile and panel
// sides are powers of two, so a panel is whole rows or part of one. Tiles smaller than a panel leave its end unused.
template <class T>
class TilePixels {
 public:
  static constexpr int64_t kPanel = panels::kPanel<T>;

  TilePixels(const TileMlpSizes& sizes, const PositionalEncoding<T>& positions)
      : sizes_(sizes), run_(std::min(sizes.tile, kPanel)), used_(std::min(sizes.pixels(), kPanel)) {
    const int64_t length = std::max(sizes.tile, kPanel);
    for (int64_t k = 0; k < sizes.inputs - sizes.channels; ++k) {
      for (int64_t i = 0; i < length; ++i) waves_.push_back(positions.wave(k)[i % sizes.tile]);
    }
  }

  int64_t panels() const { return (sizes_.pixels() + kPanel - 1) / kPanel; }

  // Calls f(first place in the panel, place of its pixel in the picture, count) for the rows of a panel.
  template <class F>
  void for_runs(int64_t cell, int64_t panel, const F& f) const {
    for (int64_t start = 0; start < used_; start += run_) f(start, offset(cell, panel * kPanel + start), run_);
  }

  // Panel number `panel` of tile `cell` of `channels` planes [channels,H,W] -> [channels][kPanel]. The next panel is
  // prefetched: short rows of many planes are no pattern that the processor foresees.
  void read(const T* planes, int64_t channels, int64_t cell, int64_t panel, T* to) const {
    const int64_t plane = sizes_.height * sizes_.width;
    const bool more = panel + 1 < panels();
    for (int64_t start = 0; start < used_; start += run_) {
      const T* from = planes + offset(cell, panel * kPanel + start);
      const int64_t ahead = more ? offset(cell, (panel + 1) * kPanel + start) - offset(cell, panel * kPanel + start) : 0;
      for (int64_t c = 0; c < channels; ++c) {
        std::copy_n(from + c * plane, run_, to + c * kPanel + start);
        for (int64_t i = 0; i < run_; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(from + c * plane + ahead + i);
      }
    }
    for (int64_t c = 0; used_ < kPanel && c < channels; ++c) std::fill(to + c * kPanel + used_, to + (c + 1) * kPanel, T{0});
  }
  void write(const T* from, int64_t channels, int64_t cell, int64_t panel, T* planes) const {
    for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) {
      T* to = planes + at;
      for (int64_t c = 0; c < channels; ++c) std::copy_n(from + c * kPanel + start, count, to + c * sizes_.height * sizes_.width);
    });
  }
  // The positional features of a panel, [inputs - channels][kPanel].
  void encode(int64_t panel, T* to) const {
    const int64_t length = std::max(sizes_.tile, kPanel), features = sizes_.inputs - sizes_.channels;
    const int64_t row = panel * kPanel / sizes_.tile, column = panel * kPanel % sizes_.tile;
    for (int64_t k = 0; k < features; ++k, to += kPanel) {
      const T* wave = waves_.data() + k * length;
      if (k % 4 < 2) {
        std::copy_n(wave + column, kPanel, to);
      } else {
        for (int64_t start = 0; start < kPanel; start += run_) std::fill_n(to + start, run_, wave[row + start / sizes_.tile]);
      }
    }
  }

 private:
  int64_t offset(int64_t cell, int64_t pixel) const {
    const int64_t row = cell / sizes_.grid_w * sizes_.tile + pixel / sizes_.tile;
    return row * sizes_.width + cell % sizes_.grid_w * sizes_.tile + pixel % sizes_.tile;
  }
  const TileMlpSizes& sizes_;
  int64_t run_, used_;    // pixels of a row of the tile in a panel; pixels in a panel
  std::vector<T> waves_;  // [features][max(tile, kPanel)], repeated to fill a panel
};

// f of the hidden layers.
template <class T>
struct LeakyRelu {
  T slope;
  panels::Vec<T> operator()(panels::Vec<T> v) const { return v > T{0} ? v : slope * v; }
};

// Runs a panel through the layers from number `first` on: z [layers[first].in][kPanel] is one tile's, `weights` its column
// of phi. Returns the result, one of `even` and `odd`, which each hold the widest layer; z may be either, too.
template <class T>
T* run_layers(const TileMlpSizes& sizes, const T* weights, T slope, size_t first, const T* z, T* even, T* odd) {
  T* out = nullptr;
  for (size_t l = first; l < sizes.layers.size(); ++l, z = out) {
    const TileMlpLayer& layer = sizes.layers[l];
    const T *bias = weights + layer.bias, *weight = weights + layer.weight;
    out = z == even ? odd : even;
    if (l + 1 < sizes.layers.size()) {
      panels::linear(z, bias, weight, layer.in, layer.out, out, LeakyRelu<T>{slope});
    } else {
      panels::linear(z, bias, weight, layer.in, layer.out, out, [](panels::Vec<T> v) { return v; });
      panels::tanh_in_place(out, layer.out * panels::kPanel<T>);
    }
  }
  return out;
}

}  // namespace asap::cpu
