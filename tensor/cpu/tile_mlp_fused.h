// What the fused forward and backward of the per-tile MLP share: tiles handed out in groups with their columns of phi
// transposed, scratch memory, and moving a tile's pixels between pictures and panels (tile_mlp_panels.h). Next:
// tile_mlp_first_layer.h.
#if defined(ASAP_CPU_TILE_MLP_FUSED_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_TILE_MLP_FUSED_H
#undef ASAP_CPU_TILE_MLP_FUSED_H
#else
#define ASAP_CPU_TILE_MLP_FUSED_H
#endif

#include <algorithm>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tile_mlp.h"
#include "tensor/cpu/tile_mlp_panels.h"
#include "tensor/definitions/tile_mlp.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// A zeroed, 64-byte aligned buffer of one thread.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : memory_(Tensor::empty({count * static_cast<int64_t>(sizeof(T))}, DType::u8)), first_(static_cast<T*>(memory_.raw())) {
    std::fill(first_, first_ + count, T{0});
  }
  operator T*() { return first_; }

 private:
  Tensor memory_;
  T* first_;
};

// Tiles that lie beside each other in phi (a cache line of them) are worked on together: a line of phi is read once. Their
// columns of phi [B,P,cells] are transposed to rows of numbers.
struct TileGroup {
  int64_t picture, first, count;  // tiles first .. first + count - 1 of the picture
  int64_t in_phi;                 // place of the first one's first number
};

class TileGroups {
 public:
  TileGroups(const TileMlpSizes& sizes, int64_t most) : cells_(sizes.cells()), parameters_(sizes.parameters) {
    const int64_t fair = sizes.batch * cells_ / (4 * omp_get_max_threads());  // leave every thread a few groups
    size_ = std::clamp<int64_t>(fair, 1, most);
    groups_a_picture_ = (cells_ + size_ - 1) / size_;
    count_ = sizes.batch * groups_a_picture_;
  }
  int64_t count() const { return count_; }
  int64_t size() const { return size_; }
  TileGroup operator[](int64_t i) const {
    const int64_t first = i % groups_a_picture_ * size_;
    const int64_t picture = i / groups_a_picture_;
    return {picture, first, std::min(size_, cells_ - first), picture * parameters_ * cells_ + first};
  }

 private:
  int64_t cells_, parameters_, size_, groups_a_picture_, count_;
};

// Moves panels of pixels between one tile and its pictures. Pixels are numbered row by row within the tile; tile and panel
// sides are powers of two, so a panel is whole rows or part of one. Tiles smaller than a panel leave its end unused.
template <class T>
class TilePixels {
 public:
  static constexpr int64_t kPanel = panels::kPanel<T>;

  explicit TilePixels(const TileMlpSizes& sizes)
      : sizes_(sizes), run_(std::min(sizes.tile, kPanel)), used_(std::min(sizes.pixels(), kPanel)) {
    for (int64_t k = 0; k < sizes.waves; ++k) {
      for (int64_t i = 0; i < std::max(sizes.tile, kPanel); ++i) {
        waves_.push_back(static_cast<T>(definitions::tile_position(k, i % sizes.tile, sizes.tile)));
      }
    }
  }

  int64_t panels() const { return (sizes_.pixels() + kPanel - 1) / kPanel; }

  // Calls f(first place in the panel, place of its pixel in the picture, count) for the rows of a panel.
  template <class F>
  void for_runs(int64_t cell, int64_t panel, const F& f) const {
    for (int64_t start = 0; start < used_; start += run_) f(start, offset(cell, panel * kPanel + start), run_);
  }

  // Panel number `panel` of tile `cell` of picture n of x [B,channels,H,W] -> [channels][kPanel]; nothing of an undefined x.
  // The next panel is prefetched: short rows of many planes are no pattern that the processor foresees.
  void read(const Tensor& x, int64_t n, int64_t cell, int64_t panel, T* to) const {
    if (!x.defined()) return;
    const int64_t plane = sizes_.plane(), channels = x.size(1);
    const T* planes = x.data<T>() + n * channels * plane;
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
  void write(const T* from, int64_t n, int64_t cell, int64_t panel, Tensor& y) const {
    const int64_t plane = sizes_.plane(), channels = y.size(1);
    T* planes = y.data<T>() + n * channels * plane;
    for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) {
      for (int64_t c = 0; c < channels; ++c) std::copy_n(from + c * kPanel + start, count, planes + c * plane + at);
    });
  }
  // The class numbers of a panel of labels [B,H,W], [kPanel].
  void read_labels(const Tensor& labels, int64_t n, int64_t cell, int64_t panel, panels::Int<T>* to) const {
    const auto copy = [&](const auto* from) {
      for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) { std::copy_n(from + at, count, to + start); });
    };
    if (!labels.defined()) return;
    const int64_t first = n * sizes_.plane();
    labels.dtype() == DType::u8 ? copy(labels.data<uint8_t>() + first) : copy(labels.data<int32_t>() + first);
  }
  // The positional features of a panel, [waves][kPanel].
  void encode(int64_t panel, T* to) const {
    const int64_t length = std::max(sizes_.tile, kPanel);
    const int64_t row = panel * kPanel / sizes_.tile, column = panel * kPanel % sizes_.tile;
    for (int64_t k = 0; k < sizes_.waves; ++k, to += kPanel) {
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

// y = act(start + z W) of a layer: `in` inputs z [in][kPanel] that meet the rows `weight` of W; y [out][kPanel].
template <class T, class Start>
void run_layer(const TileMlpLayer& layer, const T* z, int64_t in, const T* weight, const Start& start, T slope, T* y) {
  using V = panels::Vec<T>;
  if (layer.last) {
    panels::linear(z, weight, in, layer.out, start, y, [](V v) { return v; });
    panels::tanh_in_place(y, layer.out * panels::kPanel<T>);
  } else {
    panels::linear(z, weight, in, layer.out, start, y, [slope](V v) { return v > T{0} ? v : slope * v; });
  }
}
// Of a layer behind the first. `weights`: the tile's column of phi.
template <class T>
void run_layer(const TileMlpLayer& layer, const T* z, const T* weights, T slope, T* y) {
  const T* bias = weights + layer.bias;
  run_layer(layer, z, layer.in, weights + layer.weight, [bias](int64_t o, int) { return panels::Vec<T>{} + bias[o]; }, slope, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
