// HDRnet (Gharbi, Chen, Barron, Hasinoff, Durand: Deep Bilateral Learning for Real-Time Image Enhancement, SIGGRAPH 2017, arXiv
// 1707.02880), written from the paper: a network looks at a small copy of the picture and fills a coarse grid over x, y and brightness
// with affine colour transforms; each pixel reads its own from there. Next: hdrnet.cpp teaches it an operator.
#pragma once

#include "nn/layers.h"

namespace asap::examples {

// The transforms of each pixel by trilinear interpolation (section 3.3): grid [N,C*depth,gh,gw], guide [N,1,H,W] in 0..1 ->
// [N,C,H,W]. Between the cells of a layer it is resizing; between the layers a pixel's weights are tents around its guide.
inline Variable slice_grid(const Variable& grid, const Variable& guide, int64_t depth) {
  const int64_t n = guide.size(0), h = guide.size(2), w = guide.size(3);
  std::vector<double> numbers;
  for (int64_t k = 0; k < depth; ++k) numbers.push_back(static_cast<double>(k));
  const Tensor layers = Tensor::from(numbers, {1, depth, 1, 1}).to(guide.dtype()).to(guide.device());
  const Variable tents = relu(1 - abs(guide * static_cast<double>(depth - 1) - layers));  // [N,depth,H,W], sum 1
  const Variable wide = resize2d(grid, {h, w}, ResizeMode::bilinear);
  return sum(reshape(wide, {n, -1, depth, h, w}) * reshape(tents, {n, 1, depth, h, w}), {2});
}

// Equation 9: of `transforms` [N,12,H,W], a matrix [3,4] a pixel, with x [N,3,H,W] and a 1 below it.
inline Variable apply_transforms(const Variable& transforms, const Variable& x) {
  const int64_t n = x.size(0), h = x.size(2), w = x.size(3);
  const Variable matrices = reshape(transforms, {n, 3, 4, h, w});
  return sum(slice(matrices, 2, 0, 3) * reshape(x, {n, 1, 3, h, w}), {2}) +
         reshape(slice(matrices, 2, 3, 4), {n, 3, h, w});
}

struct HdrnetOptions {
  int64_t small = 64;  // side of the copy that the network looks at; the published one is 256, with a grid of 16x16x8
  int64_t grid = 8;    // cells of the grid in x and y: small over a power of two
  int64_t depth = 8;   // and in brightness
  int64_t width = 8;   // channels of the first convolution, doubled by each further one
};

// x [N,3,H,W] in 0..1, of any size -> the same, enhanced.
class Hdrnet : public nn::Layer {
 public:
  explicit Hdrnet(const HdrnetOptions& options)
      : options_(options),
        splat_(register_module<nn::Sequential>("splat")),
        local_(register_module<nn::Sequential>("local")),
        global_(register_module<nn::Sequential>("global")),
        guide_(register_module<nn::Sequential>("guide")) {
    int64_t channels = 3;
    for (int64_t side = options.small, out = options.width; side > options.grid; side /= 2, out *= 2) {
      conv(splat_, channels, out, 2);
      channels = out;
    }
    conv(local_, channels, channels, 1);
    local_.add<nn::Conv2d>(
        nn::Conv2dOptions{.in = channels, .out = channels, .kernel = 3, .padding = 1, .bias = false});
    conv(global_, channels, channels, 2);
    conv(global_, channels, channels, 2);
    global_.add<nn::Function>([](const Variable& x) { return mean(x, {2, 3}); });
    global_.add<nn::Linear>(channels, channels);
    global_.add<nn::ReLU>();
    global_.add<nn::Linear>(channels, channels);
    to_grid_ = &register_module<nn::Conv2d>("to_grid",
                                            nn::Conv2dOptions{.in = channels, .out = 12 * options.depth, .kernel = 1});
    for (int64_t i = 0; i < 12; ++i) {  // starts from the identity
      to_grid_->bias.value().slice(0, i * options.depth, (i + 1) * options.depth).fill(i % 5 == 0 ? 1 : 0);
    }
    guide_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 3, .out = 16, .kernel = 1, .activation_slope = 0});
    guide_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 1, .kernel = 1});
    guide_.add<nn::Sigmoid>();
  }

  Variable forward(const Variable& x) override {
    const Variable features = splat_(resize2d(x, options_.small, ResizeMode::bilinear));
    const Variable fused = relu(local_(features) + reshape(global_(features), {x.size(0), -1, 1, 1}));  // equation 3
    return apply_transforms(slice_grid((*to_grid_)(fused), guide_(x), options_.depth), x);
  }

 private:
  static void conv(nn::Sequential& layers, int64_t in, int64_t out, int64_t stride) {
    layers.add<nn::Conv2d>(
        nn::Conv2dOptions{.in = in, .out = out, .kernel = 3, .stride = stride, .padding = 1, .activation_slope = 0});
  }
  HdrnetOptions options_;
  nn::Sequential &splat_, &local_, &global_, &guide_;
  nn::Conv2d* to_grid_;
};

}  // namespace asap::examples
