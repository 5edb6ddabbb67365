// A vision transformer (Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929) under torchvision's names of
// parameters. Next: vit.cpp trains a small one.
#pragma once

#include "nn/attention.h"
#include "nn/init.h"

namespace asap::examples {

struct VitOptions {  // the published ViT-B/16
  int64_t channels = 3, side = 224, patch = 16;
  int64_t width = 768, heads = 12, layers = 12;
  int64_t classes = 1000;
  int64_t patches() const { return (side / patch) * (side / patch); }
};

// x + attention(norm(x)), then x + mlp(norm(x)); x [N,L,width].
class VitBlock : public nn::Layer {
 public:
  explicit VitBlock(const VitOptions& options)
      : ln_1_(register_module<nn::LayerNorm>("ln_1", Shape{options.width}, true, 1e-6)),
        self_attention_(register_module<nn::MultiHeadAttention>(
            "self_attention", nn::MultiHeadAttentionOptions{.size = options.width, .heads = options.heads})),
        ln_2_(register_module<nn::LayerNorm>("ln_2", Shape{options.width}, true, 1e-6)),
        mlp_(register_module<nn::Sequential>("mlp")) {
    mlp_.add<nn::Linear>(options.width, 4 * options.width);
    mlp_.add<nn::GELU>();
    mlp_.add<nn::Identity>();  // the published dropout, of probability 0
    mlp_.add<nn::Linear>(4 * options.width, options.width);
  }
  Variable forward(const Variable& x) override {
    const Variable h = x + self_attention_(ln_1_(x));
    return h + mlp_(ln_2_(h));
  }

 private:
  nn::LayerNorm& ln_1_;
  nn::MultiHeadAttention& self_attention_;
  nn::LayerNorm& ln_2_;
  nn::Sequential& mlp_;
};

// Tokens [N,L,width] with their places added, through all blocks.
class VitEncoder : public nn::Layer {
 public:
  explicit VitEncoder(const VitOptions& options)
      : layers_(register_module<Blocks>("layers", options)),
        ln_(register_module<nn::LayerNorm>("ln", Shape{options.width}, true, 1e-6)) {
    Tensor places = Tensor::empty({1, 1 + options.patches(), options.width});
    nn::init::normal(places, 0, 0.02);
    pos_embedding_ = register_parameter("pos_embedding", places);
  }
  Variable forward(const Variable& tokens) override {
    Variable x = tokens + pos_embedding_;
    for (VitBlock* block : layers_.blocks) x = (*block)(x);
    return ln_(x);
  }

 private:
  struct Blocks : nn::Module {  // under their published names
    explicit Blocks(const VitOptions& options) {
      for (int64_t i = 0; i < options.layers; ++i)
        blocks.push_back(&register_module<VitBlock>(str("encoder_layer_", i), options));
    }
    std::vector<VitBlock*> blocks;
  };
  Blocks& layers_;
  nn::LayerNorm& ln_;
  Variable pos_embedding_;
};

// x [N,channels,side,side] -> logits [N,classes].
class Vit : public nn::Layer {
 public:
  explicit Vit(const VitOptions& options)
      : class_token_(register_parameter("class_token", Tensor::zeros({1, 1, options.width}))),
        conv_proj_(register_module<nn::Conv2d>(
            "conv_proj",
            nn::Conv2dOptions{
                .in = options.channels, .out = options.width, .kernel = options.patch, .stride = options.patch})),
        encoder_(register_module<VitEncoder>("encoder", options)),
        heads_(register_module<Heads>("heads", options)) {}

  Variable forward(const Variable& x) override {
    const Variable planes = conv_proj_(x);                                                       // [N,width,h,w]
    const Variable patches = transpose(reshape(planes, {x.size(0), planes.size(1), -1}), 1, 2);  // [N,h*w,width]
    const Variable first = expand(class_token_, {x.size(0), 1, planes.size(1)});
    const Variable tokens = encoder_(cat({first, patches}, 1));
    return heads_.head(reshape(slice(tokens, 1, 0, 1), {x.size(0), -1}));
  }

 private:
  struct Heads : nn::Module {
    explicit Heads(const VitOptions& options)
        : head(register_module<nn::Linear>("head", options.width, options.classes)) {}
    nn::Linear& head;
  };
  Variable class_token_;
  nn::Conv2d& conv_proj_;
  VitEncoder& encoder_;
  Heads& heads_;
};

}  // namespace asap::examples
