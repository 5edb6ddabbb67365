// The per-tile MLP from class numbers, fused: as tile_mlp_fused.cpp, but for its first layer, whose input is never made.
// For a pixel of class c at (X, Y) of the tile, output o of that layer is
//   bias[o] + sum over the sinusoids of Y  +  sum over the sinusoids of X  +  W[c][o]  (+ instance * W[instance][o])
// The sums over sinusoids are tables of a tile, made once for all its pixels; W[c][o] is looked up in a vector register that
// holds the weights of as many classes as it has lanes. Contract: ../kernels.h; next: tile_mlp_fused.h.
#include <cstring>

#include "tensor/cpu/inference.h"
#include "tensor/cpu/tile_mlp_fused.h"

namespace asap::cpu {
namespace {

using V = panels::Vec<float>;
typedef int32_t IntVec __attribute__((vector_size(panels::kVectorBytes)));
constexpr int kLanes = panels::kLanes<float>, kVectors = panels::kVectors;
constexpr int64_t kPanel = panels::kPanel<float>;

// The first layer of one tile.
class FirstLayer {
 public:
  FirstLayer(const TileMlpSizes& sizes, int64_t classes)
      : sizes_(sizes),
        layer_(sizes.layers.front()),
        classes_(classes),
        blocks_((classes + kLanes - 1) / kLanes),
        waves_x_(features() * span_x()),
        waves_y_(features() * span_y()),
        along_x_(layer_.out * span_x()),
        along_y_(layer_.out * span_y()),
        by_class_(layer_.out * blocks_ * kLanes) {
    const PositionalEncoding<float> positions(sizes.tile);
    for (int64_t i = 0; i < features(); ++i) {
      const float *x = positions.wave(row_of(i, 0) - sizes.channels),
                  *y = positions.wave(row_of(i, 2) - sizes.channels);
      for (int64_t at = 0; at < span_x(); ++at) waves_x_[i * span_x() + at] = x[at % sizes.tile];
      const int64_t pixels_a_value = whole() ? 1 : sizes.tile;
      for (int64_t at = 0; at < span_y(); ++at) waves_y_[i * span_y() + at] = y[at / pixels_a_value % sizes.tile];
    }
  }

  // Makes the tables from the tile's column of phi.
  void prepare(const float* weights) {
    weights_ = weights + layer_.weight;
    for (int64_t c = 0; c < classes_; ++c) {
      for (int64_t o = 0; o < layer_.out; ++o) by_class_[o * blocks_ * kLanes + c] = weights_[c * layer_.out + o];
    }
    for (int64_t o = 0; o < layer_.out; ++o) {
      sum_waves(o, 0, 0.0f, waves_x_, span_x(), along_x_);
      sum_waves(o, 2, weights[layer_.bias + o], waves_y_, span_y(), along_y_);
    }
  }

  // A panel: labels [kPanel], instance [kPanel] or null -> y = f(layer) [out][kPanel].
  template <class F>
  void run(int64_t panel, const int32_t* labels, const float* instance, float* y, const F& f) {
    IntVec lane[kVectors], block[kVectors];  // of the class's weight in by_class_
    V extra[kVectors] = {};
    int64_t x[kVectors], row[kVectors];  // of a vector's first pixel
    for (int n = 0; n < kVectors; ++n) {
      const int64_t pixel = panel * kPanel + n * kLanes;
      x[n] = whole() ? pixel % sizes_.tile : 0;
      row[n] = whole() ? pixel / sizes_.tile : pixel;
      IntVec label;
      std::memcpy(&label, labels + n * kLanes, sizeof label);
      lane[n] = label & (kLanes - 1);
      block[n] = label / kLanes;
      if (instance) extra[n] = panels::load(instance + n * kLanes);
    }
    const float* instance_row = weights_ + classes_ * layer_.out;
    const bool one_row = whole();
    for (int64_t o = 0; o < layer_.out; ++o) {
      const float *along_x = along_x_ + o * span_x(), *along_y = along_y_ + o * span_y();
      for (int n = 0; n < kVectors; ++n) {
        V v = panels::load(along_x + x[n]) + (one_row ? V{} + along_y[row[n]] : panels::load(along_y + row[n]));
        if (instance) v += instance_row[o] * extra[n];
        V weight = {};  // stays 0 for a label that is no class
        for (int64_t b = 0; b < blocks_; ++b) {
          const V table = panels::load(by_class_ + (o * blocks_ + b) * kLanes);
          weight = block[n] == static_cast<int32_t>(b) ? __builtin_shuffle(table, lane[n]) : weight;
        }
        panels::store(y + o * kPanel + n * kLanes, f(v + weight));
      }
    }
  }

 private:
  // Sinusoids of X, and as many of Y. The input has them as cos X, sin X, cos Y, sin Y for one frequency after the other:
  // number i of X (first = 0) or Y (first = 2) meets this row of W.
  int64_t features() const { return (sizes_.inputs - sizes_.channels) / 2; }
  int64_t row_of(int64_t i, int64_t first) const { return sizes_.channels + i / 2 * 4 + first + i % 2; }
  // A vector of pixels lies in one row of the tile, and has one value of Y; smaller tiles hold Y pixel by pixel.
  bool whole() const { return sizes_.tile >= kLanes; }
  int64_t span_x() const { return std::max<int64_t>(sizes_.tile, kLanes); }
  int64_t span_y() const { return whole() ? sizes_.tile : panels::round_up(sizes_.pixels(), kPanel); }

  // table[o] = start + sum over the features of W[feature][o] * wave, `span` values.
  void sum_waves(int64_t o, int64_t first, float start, const float* waves, int64_t span, float* table) const {
    for (int64_t at = 0; at < span; at += kLanes) {
      V sum = V{} + start;
      for (int64_t i = 0; i < features(); ++i) {
        sum += weights_[row_of(i, first) * layer_.out + o] * panels::load(waves + i * span + at);
      }
      panels::store(table + o * span + at, sum);
    }
  }
  const TileMlpSizes& sizes_;
  const TileMlpLayer layer_;
  const int64_t classes_, blocks_;    // blocks of kLanes classes
  const float* weights_ = nullptr;    // [in][out]
  Scratch<float> waves_x_, waves_y_;  // [features][span]
  Scratch<float> along_x_, along_y_;  // [out][span]
  Scratch<float> by_class_;           // [out][blocks_ * kLanes]
};

// Where a panel's results go: values [N,out,H,W], or a picture [N,H,W,out].
class Results {
 public:
  Results(const TileMlpSizes& sizes, const TilePixels<float>& pixels, Tensor& y)
      : pixels_(pixels),
        out_(sizes.layers.back().out),
        plane_(sizes.height * sizes.width),
        values_(y.dtype() == DType::f32 ? y.data<float>() : nullptr),
        picture_(values_ ? nullptr : y.data<uint8_t>()) {}

  // z [out][kPanel]; `bytes` is scratch of that size.
  void write(const float* z, int64_t n, int64_t cell, int64_t panel, uint8_t* bytes) const {
    if (values_) return pixels_.write(z, out_, cell, panel, values_ + n * out_ * plane_);
    for (int64_t i = 0; i < out_ * kPanel; ++i) bytes[i] = picture_value(z[i]);
    pixels_.for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) {
      uint8_t* to = picture_ + (n * plane_ + at) * out_;
      for (int64_t o = 0; o < out_; ++o) {
        for (int64_t i = 0; i < count; ++i) to[i * out_ + o] = bytes[o * kPanel + start + i];
      }
    });
  }

 private:
  const TilePixels<float>& pixels_;
  const int64_t out_, plane_;
  float* values_;
  uint8_t* picture_;
};

}  // namespace

void tile_mlp_labels_fused(const Tensor& labels, const Tensor& instance, const Tensor& phi,
                           const TileMlpLabelsParams& p, Tensor& y) {
  const TileMlpSizes sizes({labels.size(0), p.classes + (instance.defined() ? 1 : 0), labels.size(1), labels.size(2)},
                           p.mlp);
  const TilePixels<float> pixels(sizes, PositionalEncoding<float>(sizes.tile));
  const Results results(sizes, pixels, y);
  const LeakyRelu<float> leaky_relu{static_cast<float>(p.mlp.slope)};
  const TileGroups groups(sizes, kLanes);
  const int64_t column_stride = panels::round_up(sizes.parameters, kLanes), plane = sizes.height * sizes.width;
  const bool single = sizes.layers.size() == 1;

  parallel_for(groups.count(), 1, [&](int64_t begin, int64_t end) {
    FirstLayer first(sizes, p.classes);
    Scratch<float> columns(groups.size() * column_stride), even(sizes.widest() * kPanel), odd(sizes.widest() * kPanel);
    Scratch<float> extra(kPanel);
    Scratch<int32_t> classes(kPanel);
    Scratch<uint8_t> bytes(p.mlp.out * kPanel);
    for (int64_t g = begin; g < end; ++g) {
      const TileGroup group = groups[g];
      // phi may have more channels than the MLP: the group as one of its own picture.
      gather_columns<float>(phi.data<float>() + group.picture * phi.size(1) * sizes.cells(), sizes,
                            {0, group.first, group.count}, columns, column_stride);
      for (int64_t t = 0; t < group.count; ++t) {
        const float* weights = columns + t * column_stride;
        const int64_t cell = group.first + t;
        first.prepare(weights);
        for (int64_t panel = 0; panel < pixels.panels(); ++panel) {
          pixels.for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) {
            const uint8_t* from = labels.data<uint8_t>() + group.picture * plane + at;
            std::copy_n(from, count, classes + start);
          });
          if (instance.defined()) pixels.read(instance.data<float>() + group.picture * plane, 1, cell, panel, extra);
          const float* added = instance.defined() ? static_cast<float*>(extra) : nullptr;
          float* z = even;
          if (single) {
            first.run(panel, classes, added, z, [](V v) { return v; });
            panels::tanh_in_place(z, p.mlp.out * kPanel);
          } else {
            first.run(panel, classes, added, z, leaky_relu);
            z = run_layers<float>(sizes, weights, leaky_relu.slope, 1, z, even, odd);
          }
          results.write(z, group.picture, cell, panel, bytes);
        }
      }
    }
  });
}

}  // namespace asap::cpu
