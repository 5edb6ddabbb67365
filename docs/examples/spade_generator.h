// SPADE's generator (Park, Liu, Wang, Zhu: Semantic Image Synthesis with Spatially-Adaptive Normalization, CVPR 2019, arXiv
// 1903.07291), written from the paper, under the published names of parameters. Next: spade.cpp trains a small one.
#pragma once

#include "nn/spectral_norm.h"

namespace asap::examples {

enum class SpadeNorm { instance, batch };  // the published one is batch, over all cards

struct SpadeOptions {
  int64_t classes = 13;
  int64_t width = 64;    // channels before the last convolution; 16 times as many at the start
  int64_t hidden = 128;  // channels within each modulation
  int doublings = 5;     // 5, 6 or 7: the picture is 2^doublings times as large as the map that it grows from
  SpadeNorm norm = SpadeNorm::instance;
  bool spectral = true;  // spectral normalisation of the blocks' convolutions
};

// The paper's section 3.1: x, normalised without parameters, is scaled and shifted at every pixel by what two convolutions
// say about the label map there. x [N,C,H,W], labels [N,classes,H,W].
class Spade : public nn::Module {
 public:
  Spade(int64_t channels, const SpadeOptions& options)
      : norm_(param_free_norm(channels, options.norm)),
        shared_(register_module<nn::Sequential>("mlp_shared")),
        gamma_(register_module<nn::Conv2d>("mlp_gamma", conv(options.hidden, channels))),
        beta_(register_module<nn::Conv2d>("mlp_beta", conv(options.hidden, channels))) {
    nn::Conv2dOptions first = conv(options.classes, options.hidden);
    first.activation_slope = 0;  // ReLU
    shared_.add<nn::Conv2d>(first);
  }
  Variable forward(const Variable& x, const Variable& labels) {
    const Variable context = shared_(labels);
    return norm_(x) * (1 + gamma_(context)) + beta_(context);
  }

 private:
  static nn::Conv2dOptions conv(int64_t in, int64_t out) { return {.in = in, .out = out, .kernel = 3, .padding = 1}; }
  nn::Layer& param_free_norm(int64_t channels, SpadeNorm norm) {
    if (norm == SpadeNorm::instance) return register_module<nn::InstanceNorm2d>("param_free_norm", channels);
    return register_module<nn::BatchNorm2d>("param_free_norm", channels, 0.1, 1e-5, false);
  }
  nn::Layer& norm_;
  nn::Sequential& shared_;
  nn::Conv2d &gamma_, &beta_;
};

// Figure 4 of the paper: twice SPADE, LeakyReLU, convolution, beside a shortcut that is learned where the channels change.
class SpadeBlock : public nn::Module {
 public:
  SpadeBlock(int64_t in, int64_t out, const SpadeOptions& options)
      : conv_0_(conv("conv_0", {.in = in, .out = std::min(in, out), .kernel = 3, .padding = 1}, options)),
        conv_1_(conv("conv_1", {.in = std::min(in, out), .out = out, .kernel = 3, .padding = 1}, options)),
        conv_s_(in == out ? nullptr : &conv("conv_s", {.in = in, .out = out, .bias = false}, options)),
        norm_0_(register_module<Spade>("norm_0", in, options)),
        norm_1_(register_module<Spade>("norm_1", std::min(in, out), options)),
        norm_s_(in == out ? nullptr : &register_module<Spade>("norm_s", in, options)) {}

  Variable forward(const Variable& x, const Variable& full_size_labels) {
    const Variable labels = resize2d(full_size_labels, {x.size(2), x.size(3)}, ResizeMode::nearest);
    const Variable shortcut = conv_s_ ? (*conv_s_)(norm_s_->forward(x, labels)) : x;
    const Variable h = conv_0_(leaky_relu(norm_0_.forward(x, labels), 0.2));
    return shortcut + conv_1_(leaky_relu(norm_1_.forward(h, labels), 0.2));
  }

 private:
  nn::Layer& conv(const char* name, const nn::Conv2dOptions& conv_options, const SpadeOptions& options) {
    if (options.spectral) return register_module<nn::SpectralConv2d>(name, conv_options);
    return register_module<nn::Conv2d>(name, conv_options);
  }
  nn::Layer &conv_0_, &conv_1_, *conv_s_;
  Spade &norm_0_, &norm_1_, *norm_s_;
};

// labels [N,classes,H,W], one-hot; H and W multiples of 2^doublings -> picture [N,3,H,W] in [-1,1].
class SpadeGenerator : public nn::Layer {
 public:
  explicit SpadeGenerator(const SpadeOptions& options)
      : options_(options),
        fc_(register_module<nn::Conv2d>(
            "fc", nn::Conv2dOptions{.in = options.classes, .out = 16 * options.width, .kernel = 3, .padding = 1})) {
    ASAP_CHECK(options.doublings >= 5 && options.doublings <= 7, "SpadeGenerator: expected 5 to 7 doublings, got ",
               options.doublings);
    const int64_t w = options.width;
    block("head_0", 16 * w, 16 * w, false);
    block("G_middle_0", 16 * w, 16 * w, true);
    block("G_middle_1", 16 * w, 16 * w, options.doublings >= 6);
    block("up_0", 16 * w, 8 * w, true);
    block("up_1", 8 * w, 4 * w, true);
    block("up_2", 4 * w, 2 * w, true);
    block("up_3", 2 * w, w, true);
    if (options.doublings == 7) block("up_4", w, w / 2, true);
    const int64_t last = options.doublings == 7 ? w / 2 : w;
    conv_img_ =
        &register_module<nn::Conv2d>("conv_img", nn::Conv2dOptions{.in = last, .out = 3, .kernel = 3, .padding = 1});
  }

  Variable forward(const Variable& labels) override {
    const int64_t factor = int64_t{1} << options_.doublings;
    ASAP_CHECK(labels.rank() == 4 && labels.size(2) % factor == 0 && labels.size(3) % factor == 0,
               "SpadeGenerator: expected labels [N,C,H,W] with H and W multiples of ", factor, ", got ",
               labels.shape());
    Variable x = fc_(resize2d(labels, {labels.size(2) / factor, labels.size(3) / factor}, ResizeMode::nearest));
    for (const auto& [block, doubled] : blocks_) {
      if (doubled) x = resize2d(x, {2 * x.size(2), 2 * x.size(3)}, ResizeMode::nearest);
      x = block->forward(x, labels);
    }
    return tanh((*conv_img_)(leaky_relu(x, 0.2)));
  }

 private:
  void block(const char* name, int64_t in, int64_t out, bool doubled) {
    blocks_.emplace_back(&register_module<SpadeBlock>(name, in, out, options_), doubled);
  }
  SpadeOptions options_;
  nn::Conv2d& fc_;
  std::vector<std::pair<SpadeBlock*, bool>> blocks_;  // and whether the picture doubles before it
  nn::Conv2d* conv_img_;
};

}  // namespace asap::examples
