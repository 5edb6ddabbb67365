// The per-tile MLP, layer by layer, and its gradients. Contract: kernels.h. Next: label_planes.h.
#pragma once

#include <cmath>
#include <vector>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"
#include "tensor/picture_value.h"

namespace asap::definitions {

// Positional input k (0 .. 4 log2(tile) - 1) at a pixel's place in its tile, its column where k % 4 < 2, else its row: cosine and
// sine for periods of tile, tile / 2, ..; every one divides the tile.
ASAP_HOST_DEVICE inline double tile_position(int64_t k, int64_t place, int64_t tile) {
  const int64_t period = tile >> k / 4;
  const double angle = 2 * M_PI * static_cast<double>(place % period) / static_cast<double>(period);
  return k % 2 == 0 ? std::cos(angle) : std::sin(angle);
}

// What a pixel's MLP reads: one-hot planes of its label, x's channels, sinusoids of its place in the tile.
struct TileMlpInput {
  View labels, x;
  int64_t classes, channels, count, tile;

  TileMlpInput(const Tensor& l, const Tensor& x_, const TileMlpParams& p)
      : labels(l), x(x_), classes(l.defined() ? p.classes : 0), channels(x_.defined() ? x_.size(1) : 0),
        count(classes + channels), tile(p.tile) {
    for (int64_t f = tile; f > 1; f /= 2) count += 4;
  }

  ASAP_HOST_DEVICE double operator()(int64_t b, int64_t i, int64_t row, int64_t column) const {
    if (i < classes) return labels(b, row, column) == static_cast<double>(i) ? 1 : 0;
    i -= classes;
    if (i < channels) return x(b, i, row, column);
    i -= channels;
    return tile_position(i, i % 4 < 2 ? column : row, tile);
  }
};

// One layer for all pixels. Its input is z [B,in,H,W], the output of the layer below, or undefined: the MLP's own input.
struct TileMlpLayer {
  TileMlpInput input;
  View phi, z;
  TileMlpParams p;
  int64_t in, out, first;  // first: of its channels in phi, bias [out] and then W [in, out]
  bool last;

  ASAP_HOST_DEVICE double value(int64_t b, int64_t i, int64_t row, int64_t column) const {
    return z.defined() ? z(b, i, row, column) : input(b, i, row, column);
  }
  ASAP_HOST_DEVICE double bias(int64_t b, int64_t o, int64_t row, int64_t column) const {
    return phi(b, first + o, row / p.tile, column / p.tile);
  }
  ASAP_HOST_DEVICE double weight(int64_t b, int64_t i, int64_t o, int64_t row, int64_t column) const {
    return phi(b, first + out + i * out + o, row / p.tile, column / p.tile);
  }

  // y[b,o,row,column], after the activation.
  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    double sum = bias(y[0], y[1], y[2], y[3]);
    for (int64_t i = 0; i < in; ++i) sum += weight(y[0], i, y[1], y[2], y[3]) * value(y[0], i, y[2], y[3]);
    return last ? std::tanh(sum) : activate(sum, p.slope);
  }
};

// The last layer's output as a picture.
struct TileMlpPicture {
  TileMlpLayer layer;
  ASAP_HOST_DEVICE double operator()(const Position& y) const { return picture_value(layer(y)); }
};

// The gradient of a layer's sums from that of its output: y tells the derivative, since slope is not negative.
struct TileMlpSumGrad {
  View y, dy;
  bool last;
  double slope;
  ASAP_HOST_DEVICE double operator()(const Position& at) const {
    return dy(at) * (last ? 1 - y(at) * y(at) : y(at) > 0 ? 1 : slope);
  }
};

// The gradient of a layer's inputs `from`, from + 1, ...; dsum is that of its sums.
struct TileMlpInputGrad {
  TileMlpLayer layer;
  View dsum;
  int64_t from;
  ASAP_HOST_DEVICE double operator()(const Position& dz) const {
    double sum = 0;
    for (int64_t o = 0; o < layer.out; ++o) {
      sum += layer.weight(dz[0], from + dz[1], o, dz[2], dz[3]) * dsum(dz[0], o, dz[2], dz[3]);
    }
    return sum;
  }
};

// The gradient of a layer's channels of phi: sums over a tile's pixels.
struct TileMlpWeightGrad {
  TileMlpLayer layer;
  View dsum;
  ASAP_HOST_DEVICE double operator()(const Position& dphi) const {
    const int64_t tile = layer.p.tile, i = dphi[1] / layer.out - 1, o = dphi[1] % layer.out;  // i = -1: the bias
    double sum = 0;
    for (int64_t row = dphi[2] * tile; row < (dphi[2] + 1) * tile; ++row) {
      for (int64_t column = dphi[3] * tile; column < (dphi[3] + 1) * tile; ++column) {
        sum += dsum(dphi[0], o, row, column) * (i < 0 ? 1 : layer.value(dphi[0], i, row, column));
      }
    }
    return sum;
  }
};

// All layers on one input. What lies between them is kept in pictures [B,channels,H,W] of the given type.
template <class Run>
class TileMlp {
 public:
  TileMlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& p, DType between)
      : input_(labels, x, p), phi_(phi), p_(p), between_(between) {}

  TileMlpLayer layer(int64_t l, const Tensor& z) const {
    const int64_t w = p_.width, in = l == 0 ? input_.count : w;
    const int64_t first = l == 0 ? 0 : (1 + input_.count) * w + (l - 1) * (1 + w) * w;
    return {input_, phi_, z, p_, in, l + 1 < p_.depth ? w : p_.out, first, l + 1 == p_.depth};
  }
  Tensor picture(int64_t channels) const {
    return Tensor::empty({phi_.size(0), channels, phi_.size(2) * p_.tile, phi_.size(3) * p_.tile}, between_, phi_.device());
  }
  // The output of layer l but the last, from that of the one below.
  Tensor hidden(int64_t l, const Tensor& z) const {
    const Tensor next = picture(p_.width);
    Run::each(next, layer(l, z));
    return next;
  }

  void forward(Tensor& y) const {
    Tensor z;  // undefined: the input
    for (int64_t l = 0; l + 1 < p_.depth; ++l) z = hidden(l, z);
    const TileMlpLayer last = layer(p_.depth - 1, z);
    if (y.dtype() == DType::u8) return Run::each(y.permute({0, 3, 1, 2}), TileMlpPicture{last});
    Run::each(y, last);
  }

  void backward(const Tensor& dy, Tensor& dx, Tensor& dphi) const {
    std::vector<Tensor> z(1);
    for (int64_t l = 0; l + 1 < p_.depth; ++l) z.push_back(hidden(l, z.back()));
    z.push_back(picture(p_.out));
    Run::each(z.back(), layer(p_.depth - 1, z[z.size() - 2]));
    Tensor dz = dy;
    for (int64_t l = p_.depth - 1; l >= 0; --l) {
      const TileMlpLayer on = layer(l, z[static_cast<size_t>(l)]);
      const Tensor dsum = picture(on.out);
      Run::each(dsum, TileMlpSumGrad{z.back(), dz, on.last, p_.slope});
      z.pop_back();
      Run::each(dphi.slice(1, on.first, on.first + (1 + on.in) * on.out), TileMlpWeightGrad{on, dsum});
      if (l > 0) Run::each(dz = picture(on.in), TileMlpInputGrad{on, dsum, 0});
      if (l == 0 && dx.defined()) Run::each(dx, TileMlpInputGrad{on, dsum, input_.classes});
    }
  }

 private:
  TileMlpInput input_;
  const Tensor& phi_;
  TileMlpParams p_;
  DType between_;
};

template <class Run>
void add_tile_mlp(Device device) {
  kernels::tile_mlp_forward.add_definition(
      device, [](const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& p, Tensor& y) {
        TileMlp<Run>(labels, x, phi, p, sum_dtype(phi.dtype())).forward(y);
      });
  kernels::tile_mlp_backward.add_definition(
      device, [](const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& p, Tensor& dx,
                 Tensor& dphi) { TileMlp<Run>(labels, x, phi, p, sum_dtype(phi.dtype())).backward(dy, dx, dphi); });
}

}  // namespace asap::definitions
