// The per-tile MLP of ASAPNet's high-res stream: its definition, pixel by pixel, and the registration of all variants.
// Faster ones: tile_mlp_composed.cpp (whole-tensor steps), tile_mlp_fused.cpp (a tile stays in cache). Contract: ../kernels.h.
#include "tensor/cpu/tile_mlp.h"

#include "tensor/cpu/register.h"

namespace asap::cpu {
namespace {

// One tile's weights: its column of phi.
template <class T>
std::vector<T> phi_column(const T* phi, const TileMlpSizes& sizes, int64_t b, int64_t cell) {
  std::vector<T> column(static_cast<size_t>(sizes.parameters));
  for (int64_t p = 0; p < sizes.parameters; ++p) {
    column[static_cast<size_t>(p)] = phi[(b * sizes.parameters + p) * sizes.cells() + cell];
  }
  return column;
}

// The MLP at one pixel. values[0] is its input, values[l + 1] the output of layer l after its activation.
// Sums run in double, so that the definition adds no rounding of its own.
template <class T>
struct PixelMlp {
  const TileMlpSizes& sizes;
  T slope;
  std::vector<std::vector<T>> values;

  PixelMlp(const TileMlpSizes& s, double leak) : sizes(s), slope(static_cast<T>(leak)) {
    values.emplace_back(static_cast<size_t>(s.inputs));
    for (const TileMlpLayer& layer : s.layers) values.emplace_back(static_cast<size_t>(layer.out));
  }

  void read_input(const T* x, const PositionalEncoding<T>& positions, int64_t b, int64_t row, int64_t column) {
    const int64_t tile = sizes.tile, plane = sizes.height * sizes.width;
    for (int64_t c = 0; c < sizes.inputs; ++c) {
      values[0][c] = c < sizes.channels ? x[(b * sizes.channels + c) * plane + row * sizes.width + column]
                                        : positions.value(c - sizes.channels, column % tile, row % tile);
    }
  }

  void forward(const std::vector<T>& phi) {
    for (size_t l = 0; l < sizes.layers.size(); ++l) {
      const TileMlpLayer& layer = sizes.layers[l];
      const bool last = l + 1 == sizes.layers.size();
      for (int64_t o = 0; o < layer.out; ++o) {
        double sum = phi[layer.bias + o];
        for (int64_t i = 0; i < layer.in; ++i) {
          sum += static_cast<double>(values[l][i]) * phi[layer.weight + i * layer.out + o];
        }
        const T z = static_cast<T>(sum);
        values[l + 1][o] = last ? std::tanh(z) : z > 0 ? z : slope * z;
      }
    }
  }

  // From dy, the gradient of the last values, adds to the gradient of phi's column and returns that of the input.
  std::vector<double> backward(const std::vector<T>& phi, std::vector<double> dy, std::vector<double>& dphi) const {
    for (size_t l = sizes.layers.size(); l-- > 0;) {
      const TileMlpLayer& layer = sizes.layers[l];
      const bool last = l + 1 == sizes.layers.size();
      for (int64_t o = 0; o < layer.out; ++o) {
        const double y = values[l + 1][o];  // slope >= 0: y and what went into LeakyReLU have one sign
        dy[o] *= last ? 1 - y * y : y > 0 ? 1.0 : static_cast<double>(slope);
      }
      std::vector<double> dz(static_cast<size_t>(layer.in), 0.0);
      for (int64_t o = 0; o < layer.out; ++o) dphi[layer.bias + o] += dy[o];
      for (int64_t i = 0; i < layer.in; ++i) {
        for (int64_t o = 0; o < layer.out; ++o) {
          dphi[layer.weight + i * layer.out + o] += static_cast<double>(values[l][i]) * dy[o];
          dz[i] += dy[o] * phi[layer.weight + i * layer.out + o];
        }
      }
      dy = std::move(dz);
    }
    return dy;
  }
};

// Calls f(row, column) for the pixels of a tile.
template <class F>
void each_pixel(const TileMlpSizes& sizes, int64_t cell, const F& f) {
  const int64_t top = cell / sizes.grid_w * sizes.tile, left = cell % sizes.grid_w * sizes.tile;
  for (int64_t row = top; row < top + sizes.tile; ++row) {
    for (int64_t column = left; column < left + sizes.tile; ++column) f(row, column);
  }
}

void forward_naive(const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  dispatch_floating(x.dtype(), "tile_mlp", [&](auto zero) {
    using T = decltype(zero);
    const TileMlpSizes sizes(x, params);
    const PositionalEncoding<T> positions(sizes.tile);
    PixelMlp<T> mlp(sizes, params.slope);
    const int64_t plane = sizes.height * sizes.width;
    for (int64_t b = 0; b < sizes.batch; ++b) {
      for (int64_t cell = 0; cell < sizes.cells(); ++cell) {
        const std::vector<T> column = phi_column(phi.data<T>(), sizes, b, cell);
        each_pixel(sizes, cell, [&](int64_t row, int64_t col) {
          mlp.read_input(x.data<T>(), positions, b, row, col);
          mlp.forward(column);
          for (int64_t o = 0; o < params.out; ++o) {
            y.data<T>()[(b * params.out + o) * plane + row * sizes.width + col] = mlp.values.back()[o];
          }
        });
      }
    }
  });
}

void backward_naive(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor& dx,
                    Tensor& dphi) {
  dispatch_floating(x.dtype(), "tile_mlp_backward", [&](auto zero) {
    using T = decltype(zero);
    const TileMlpSizes sizes(x, params);
    const PositionalEncoding<T> positions(sizes.tile);
    PixelMlp<T> mlp(sizes, params.slope);
    const int64_t plane = sizes.height * sizes.width;
    for (int64_t b = 0; b < sizes.batch; ++b) {
      for (int64_t cell = 0; cell < sizes.cells(); ++cell) {
        const std::vector<T> column = phi_column(phi.data<T>(), sizes, b, cell);
        std::vector<double> dcolumn(column.size(), 0.0), dpixel(static_cast<size_t>(params.out));
        each_pixel(sizes, cell, [&](int64_t row, int64_t col) {
          const int64_t at = row * sizes.width + col;
          mlp.read_input(x.data<T>(), positions, b, row, col);
          mlp.forward(column);
          for (int64_t o = 0; o < params.out; ++o) dpixel[o] = dy.data<T>()[(b * params.out + o) * plane + at];
          const std::vector<double> dinput = mlp.backward(column, dpixel, dcolumn);
          for (int64_t c = 0; dx.defined() && c < sizes.channels; ++c) {
            dx.data<T>()[(b * sizes.channels + c) * plane + at] = static_cast<T>(dinput[c]);
          }
        });
        for (int64_t p = 0; p < sizes.parameters; ++p) {
          dphi.data<T>()[(b * sizes.parameters + p) * sizes.cells() + cell] = static_cast<T>(dcolumn[p]);
        }
      }
    }
  });
}

}  // namespace

void register_tile_mlp() {
  kernels::tile_mlp_forward.add(Device::cpu, "fused", tile_mlp_forward_fused);
  kernels::tile_mlp_forward.add(Device::cpu, "composed", tile_mlp_forward_composed);
  kernels::tile_mlp_forward.add(Device::cpu, "naive", forward_naive);
  kernels::tile_mlp_backward.add(Device::cpu, "fused", tile_mlp_backward_fused);
  kernels::tile_mlp_backward.add(Device::cpu, "composed", tile_mlp_backward_composed);
  kernels::tile_mlp_backward.add(Device::cpu, "naive", backward_naive);
}

}  // namespace asap::cpu
