// The first layer of a tile's MLP, whose input is never made. For a pixel of class c at (X, Y) of the tile, output o is
//   bias[o] + sum over the sinusoids of Y  +  sum over the sinusoids of X  +  W[c][o]  +  x's channels times their rows of W
// The sums over sinusoids are tables of a tile, made once for all its pixels; W[c][o] is looked up in a vector register that
// holds the weights of as many classes as it has lanes. Next: tile_mlp_fused.cpp.
#if defined(ASAP_CPU_TILE_MLP_FIRST_LAYER_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_TILE_MLP_FIRST_LAYER_H
#undef ASAP_CPU_TILE_MLP_FIRST_LAYER_H
#else
#define ASAP_CPU_TILE_MLP_FIRST_LAYER_H
#endif

#include <bit>
#include <cstring>

#include "tensor/cpu/tile_mlp_fused.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

template <class T>
class FirstLayer {
  using V = panels::Vec<T>;
  using Int = panels::Int<T>;
  using IntVec = panels::IntVec<T>;
  static constexpr int kLanes = panels::kLanes<T>, kVectors = panels::kVectors;

 public:
  explicit FirstLayer(const TileMlpSizes& sizes)
      : sizes_(sizes), layer_(sizes.layers.front()), blocks_((sizes.classes + kLanes - 1) / kLanes),
        waves_x_(features() * span_x()), waves_y_(features() * span_y()), along_x_(layer_.out * span_x()),
        along_y_(layer_.out * span_y()), by_class_(layer_.out * blocks_ * kLanes) {
    const int64_t pixels_a_value = whole() ? 1 : sizes.tile;
    for (int64_t i = 0; i < features(); ++i) {
      const auto wave = [&](int64_t place) {
        return static_cast<T>(definitions::tile_position(wave_of(i, 0), place % sizes.tile, sizes.tile));
      };
      for (int64_t at = 0; at < span_x(); ++at) waves_x_[i * span_x() + at] = wave(at);
      for (int64_t at = 0; at < span_y(); ++at) waves_y_[i * span_y() + at] = wave(at / pixels_a_value);
    }
  }

  // Makes the tables from the tile's column of phi.
  void prepare(const T* weights) {
    weights_ = weights + layer_.weight;
    for (int64_t c = 0; c < sizes_.classes; ++c) {
      for (int64_t o = 0; o < layer_.out; ++o) by_class_[o * blocks_ * kLanes + c] = weights_[c * layer_.out + o];
    }
    for (int64_t o = 0; o < layer_.out; ++o) {
      sum_waves(o, 0, T{0}, waves_x_, span_x(), along_x_);
      sum_waves(o, 2, weights[layer_.bias + o], waves_y_, span_y(), along_y_);
    }
  }

  // A panel: class numbers [kPanel], x [channels][kPanel] -> y [out][kPanel].
  void run(int64_t panel, const Int* labels, const T* x, T slope, T* y) {
    IntVec lane[kVectors], block[kVectors];   // of the class's weight in by_class_
    int64_t column[kVectors], row[kVectors];  // of a vector's first pixel
    for (int n = 0; n < kVectors; ++n) {
      const int64_t pixel = panel * panels::kPanel<T> + n * kLanes;
      column[n] = whole() ? pixel % sizes_.tile : 0;
      row[n] = whole() ? pixel / sizes_.tile : pixel;
      IntVec label;
      std::memcpy(&label, labels + n * kLanes, sizeof label);
      lane[n] = label & (kLanes - 1);
      block[n] = label >> std::countr_zero(static_cast<unsigned>(kLanes));
    }
    const T *along_x = along_x_, *along_y = along_y_, *by_class = by_class_;
    const int64_t span_x = this->span_x(), span_y = this->span_y(), blocks = blocks_;
    const bool one_row = whole();
    const auto start = [&](int64_t o, int n) __attribute__((always_inline)) {
      const T* y_part = along_y + o * span_y + row[n];
      const V places = panels::load(along_x + o * span_x + column[n]) + (one_row ? V{} + *y_part : panels::load(y_part));
      V weight = {};  // stays 0 for a label that is no class
      for (int64_t b = 0; b < blocks; ++b) {
        const V table = panels::load(by_class + (o * blocks + b) * kLanes);
        weight = block[n] == static_cast<Int>(b) ? panels::look_up<T>(table, lane[n]) : weight;
      }
      return places + weight;
    };
    run_layer(layer_, x, sizes_.channels, weights_ + sizes_.classes * layer_.out, start, slope, y);
  }

 private:
  // Sinusoids of X, and as many of Y. The input has them as cos X, sin X, cos Y, sin Y for one frequency after the other:
  // number i of X (first = 0) or Y (first = 2) is this one of all.
  int64_t features() const { return sizes_.waves / 2; }
  static int64_t wave_of(int64_t i, int64_t first) { return i / 2 * 4 + first + i % 2; }
  // A vector of pixels lies in one row of the tile, and has one value of Y; smaller tiles hold Y pixel by pixel.
  bool whole() const { return sizes_.tile >= kLanes; }
  int64_t span_x() const { return std::max<int64_t>(sizes_.tile, kLanes); }
  int64_t span_y() const { return whole() ? sizes_.tile : panels::round_up(sizes_.pixels(), panels::kPanel<T>); }

  // table[o] = start + sum over the features of W[feature][o] * wave, `span` values.
  void sum_waves(int64_t o, int64_t first, T start, const T* waves, int64_t span, T* table) const {
    const T* weight = weights_ + (sizes_.classes + sizes_.channels) * layer_.out + o;
    for (int64_t at = 0; at < span; at += kLanes) {
      V sum = V{} + start;
      for (int64_t i = 0; i < features(); ++i) sum += weight[wave_of(i, first) * layer_.out] * panels::load(waves + i * span + at);
      panels::store(table + o * span + at, sum);
    }
  }

  const TileMlpSizes& sizes_;
  const TileMlpLayer layer_;
  const int64_t blocks_;          // blocks of kLanes classes
  const T* weights_ = nullptr;    // [in][out]
  Scratch<T> waves_x_, waves_y_;  // [features][span]
  Scratch<T> along_x_, along_y_;  // [out][span]
  Scratch<T> by_class_;           // [out][blocks_ * kLanes]
};

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
