// The per-tile MLP of ASAPNet's high-res stream: `naive`, layer by layer with every activation in memory as a picture
// [B,C,H,W], and the registration of all variants. Sums run in double, so that the definition adds no rounding of its own.
// Next: tile_mlp.cuh; the fast ones, where activations never leave the chip: tile_mlp_fused.cu.
#include "cuda/tile_mlp.cuh"

#include <vector>

#include "cuda/register.h"

namespace asap::cuda {
namespace {

// A pixel's place in a picture tensor [B,C,H,W].
struct Pixel {
  int b, channel, row, column;
  __device__ __forceinline__ Pixel(int64_t i, int channels, const TileMlpSizes& s) {
    column = static_cast<int>(i % s.width);
    row = static_cast<int>(i / s.width % s.height);
    channel = static_cast<int>(i / s.plane() % channels);
    b = static_cast<int>(i / s.plane() / channels);
  }
  // Element of another picture tensor at this pixel.
  __device__ __forceinline__ int64_t at(int c, int channels, const TileMlpSizes& s) const {
    return (static_cast<int64_t>(b) * channels + c) * s.plane() + static_cast<int64_t>(row) * s.width + column;
  }
};

// z [B,inputs,H,W]: x, then the positional inputs.
template <class T>
__global__ void input_kernel(const T* x, TileMlpSizes s, T* z) {
  for_each_index(s.batch * s.inputs * s.plane(), [&](int64_t i) {
    const Pixel p(i, s.inputs, s);
    z[i] = p.channel < s.channels
               ? x[p.at(p.channel, s.channels, s)]
               : positional_input<T>(p.channel - s.channels, p.column & (s.tile - 1), p.row & (s.tile - 1), s.tile);
  });
}

// The same from class numbers [B,H,W]: one-hot planes, then the instance channel [B,1,H,W] if there is one.
template <class T>
__global__ void label_input_kernel(const uint8_t* labels, const float* instance, int classes, TileMlpSizes s, T* z) {
  for_each_index(s.batch * s.inputs * s.plane(), [&](int64_t i) {
    const Pixel p(i, s.inputs, s);
    const int64_t at = p.at(0, 1, s);
    z[i] = p.channel < classes ? static_cast<T>(labels[at] == p.channel)
           : p.channel < s.channels
               ? static_cast<T>(instance[at])
               : positional_input<T>(p.channel - s.channels, p.column & (s.tile - 1), p.row & (s.tile - 1), s.tile);
  });
}

// y [B,out,H,W] = act(z W + b), W and b of the pixel's tile, stored as Weight.
template <class T, class Weight>
__global__ void layer_kernel(const T* z, PhiView<const Weight> phi, TileMlpLayer layer, bool last, TileMlpSizes s,
                             T* y) {
  for_each_index(s.batch * layer.out * s.plane(), [&](int64_t i) {
    const Pixel p(i, layer.out, s);
    const Weight* weights = phi.tile(p.b, s.cell_of(p.row, p.column));
    double sum = weights[(layer.bias + p.channel) * phi.step];
    for (int c = 0; c < layer.in; ++c) {
      sum +=
          static_cast<double>(z[p.at(c, layer.in, s)]) * weights[(layer.weight + c * layer.out + p.channel) * phi.step];
    }
    const T value = static_cast<T>(sum);
    y[i] = last ? std::tanh(value) : value > 0 ? value : static_cast<T>(s.slope) * value;
  });
}

// y [B,out,H,W] in [-1,1] to a picture [B,H,W,out].
template <class T>
__global__ void picture_kernel(const T* y, TileMlpSizes s, uint8_t* picture) {
  for_each_index(s.batch * s.out * s.plane(), [&](int64_t i) {
    const Pixel p(i, s.out, s);
    picture[p.at(0, 1, s) * s.out + p.channel] = picture_value(y[i]);
  });
}

// dz = dy tanh'(y), by y = tanh.
template <class T>
__global__ void output_grad_kernel(const T* y, const T* dy, int64_t count, T* dz) {
  for_each_index(count, [&](int64_t i) { dz[i] = dy[i] * (1 - y[i] * y[i]); });
}

// The gradient of the first `wanted` of a layer's inputs, [B,wanted,H,W]; of what went into their LeakyReLU where
// `activated`. slope >= 0: z and what went in have one sign.
template <class T>
__global__ void input_grad_kernel(const T* dy, PhiView<const T> phi, TileMlpLayer layer, const T* z, bool activated,
                                  int wanted, TileMlpSizes s, T* dz) {
  for_each_index(s.batch * wanted * s.plane(), [&](int64_t i) {
    const Pixel p(i, wanted, s);
    const T* weights = phi.tile(p.b, s.cell_of(p.row, p.column)) + (layer.weight + p.channel * layer.out) * phi.step;
    double sum = 0;
    for (int o = 0; o < layer.out; ++o) sum += static_cast<double>(dy[p.at(o, layer.out, s)]) * weights[o * phi.step];
    if (activated && !(z[p.at(p.channel, layer.in, s)] > 0)) sum *= static_cast<T>(s.slope);
    dz[i] = static_cast<T>(sum);
  });
}

// A layer's part of dphi: a bias sums dy over the tile's pixels, a weight z times dy.
template <class T>
__global__ void weight_grad_kernel(const T* z, const T* dy, TileMlpLayer layer, TileMlpSizes s, PhiView<T> dphi) {
  const int parameters = layer.out * (1 + layer.in);
  for_each_index(static_cast<int64_t>(s.batch) * parameters * s.cells, [&](int64_t i) {
    const int cell = static_cast<int>(i % s.cells), k = static_cast<int>(i / s.cells % parameters);
    const int b = static_cast<int>(i / s.cells / parameters), o = k % layer.out, c = k / layer.out - 1;
    const int64_t first = static_cast<int64_t>(cell / s.grid_w * s.tile) * s.width + cell % s.grid_w * s.tile;
    const T* gradient = dy + (static_cast<int64_t>(b) * layer.out + o) * s.plane() + first;
    const T* value = z + (static_cast<int64_t>(b) * layer.in + max(c, 0)) * s.plane() + first;
    double sum = 0;
    for (int row = 0; row < s.tile; ++row) {
      for (int column = 0; column < s.tile; ++column) {
        const int64_t at = static_cast<int64_t>(row) * s.width + column;
        sum += static_cast<double>(gradient[at]) * (c < 0 ? 1.0 : static_cast<double>(value[at]));
      }
    }
    dphi.tile(b, cell)[(layer.bias + k) * dphi.step] = static_cast<T>(sum);
  });
}

// A picture tensor of `channels` channels that lives for one call.
Tensor picture(const TileMlpSizes& s, int channels, DType dtype) {
  return scratch(s.batch * channels * s.plane(), dtype);
}

template <class T, class Weight>
void run_layer(const Tensor& z, const PhiView<const Weight>& phi, int l, const TileMlpSizes& s, Tensor& y) {
  const TileMlpLayer layer = s.layer(l);
  launch(layer_kernel<T, Weight>, {blocks_for(s.batch * layer.out * s.plane()), kBlock}, z.data<T>(), phi, layer,
         l + 1 == s.depth, s, y.data<T>());
}

// y = the MLP of z [B,inputs,H,W].
template <class T, class Weight>
void run_layers(Tensor z, const PhiView<const Weight>& phi, const TileMlpSizes& s, Tensor& y) {
  for (int l = 0; l + 1 < s.depth; ++l) {
    Tensor next = picture(s, s.hidden, z.dtype());
    run_layer<T>(z, phi, l, s, next);
    z = next;
  }
  run_layer<T>(z, phi, s.depth - 1, s, y);
}

template <class T>
Tensor mlp_input(const Tensor& x, const TileMlpSizes& s) {
  Tensor z = picture(s, s.inputs, x.dtype());
  launch(input_kernel<T>, {blocks_for(z.numel()), kBlock}, x.data<T>(), s, z.data<T>());
  return z;
}

void forward_naive(const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  dispatch_floating(x.dtype(), "tile_mlp", [&](auto zero) {
    using T = decltype(zero);
    const TileMlpSizes s(x, params);
    run_layers<T>(mlp_input<T>(x, s), PhiView<const T>(phi, Layout::row_major), s, y);
  });
}

// Weight: how phi is stored; f64 phi is computed in f64, others in f32.
template <class Weight>
void labels_naive(const Tensor& labels, const Tensor& instance, const Tensor& phi, const TileMlpLabelsParams& params,
                  Tensor& y) {
  using T = std::conditional_t<std::is_same_v<Weight, double>, double, float>;
  const TileMlpSizes s(labels, instance, params);
  Tensor z = picture(s, s.inputs, dtype_of<T>);
  launch(label_input_kernel<T>, {blocks_for(z.numel()), kBlock}, labels.data<uint8_t>(),
         instance.defined() ? instance.data<float>() : nullptr, static_cast<int>(params.classes), s, z.data<T>());
  const bool to_picture = y.dtype() == DType::u8;
  Tensor values = to_picture ? picture(s, s.out, dtype_of<T>) : y;
  run_layers<T>(z, PhiView<const Weight>(phi, params.phi_layout), s, values);
  if (to_picture) launch(picture_kernel<T>, {blocks_for(y.numel()), kBlock}, values.data<T>(), s, y.data<uint8_t>());
}

void labels_naive_any(const Tensor& labels, const Tensor& instance, const Tensor& phi,
                      const TileMlpLabelsParams& params, Tensor& y) {
  if (phi.dtype() == DType::bf16) return labels_naive<bf16>(labels, instance, phi, params, y);
  dispatch_floating(phi.dtype(), "tile_mlp_labels",
                    [&](auto zero) { labels_naive<decltype(zero)>(labels, instance, phi, params, y); });
}

void backward_naive(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor& dx,
                    Tensor& dphi) {
  dispatch_floating(x.dtype(), "tile_mlp_backward", [&](auto zero) {
    using T = decltype(zero);
    const TileMlpSizes s(x, params);
    const PhiView<const T> weights(phi, Layout::row_major);
    std::vector<Tensor> z{mlp_input<T>(x, s)};
    for (int l = 0; l < s.depth; ++l) {
      z.push_back(picture(s, s.layer(l).out, x.dtype()));
      run_layer<T>(z[l], weights, l, s, z[l + 1]);
    }
    Tensor dz = picture(s, s.out, x.dtype());
    launch(output_grad_kernel<T>, {blocks_for(dz.numel()), kBlock}, z.back().data<T>(), dy.data<T>(), dz.numel(),
           dz.data<T>());
    for (int l = s.depth - 1; l >= 0; --l) {
      const TileMlpLayer layer = s.layer(l);
      launch(weight_grad_kernel<T>,
             {blocks_for(static_cast<int64_t>(s.batch) * layer.out * (1 + layer.in) * s.cells), kBlock}, z[l].data<T>(),
             dz.data<T>(), layer, s, PhiView<T>(dphi, Layout::row_major));
      if (l == 0 && !dx.defined()) break;
      const int wanted = l == 0 ? s.channels : layer.in;
      Tensor below = l == 0 ? dx : picture(s, layer.in, x.dtype());
      launch(input_grad_kernel<T>, {blocks_for(s.batch * wanted * s.plane()), kBlock}, dz.data<T>(), weights, layer,
             z[l].data<T>(), l > 0, wanted, s, below.data<T>());
      dz = below;
    }
  });
}

}  // namespace

void register_tile_mlp() {
  add_tile_mlp_wgmma();
  add_tile_mlp_mma();
  add_tile_mlp_fused();
  add_tile_mlp_backward();
  kernels::tile_mlp_forward.add(Device::cuda, "naive", forward_naive);
  kernels::tile_mlp_backward.add(Device::cuda, "naive", backward_naive);
  kernels::tile_mlp_labels.add(Device::cuda, "naive", labels_naive_any, {}, {.bf16 = true});
}

}  // namespace asap::cuda
