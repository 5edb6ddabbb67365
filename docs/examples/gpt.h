// A GPT (Radford et al.: Language Models are Unsupervised Multitask Learners, 2019): a decoder-only transformer with the norm before each
// part, learned positions, and the embedding as the output's weights, too. Next: gpt.cpp trains it on characters.
#pragma once

#include "nn/attention.h"
#include "nn/init.h"

namespace asap::examples {

struct GptOptions {
  int64_t vocabulary = 0, context = 64, width = 64, heads = 4, layers = 3;
  double dropout = 0.1;
};

class GptMlp : public nn::Layer {
 public:
  explicit GptMlp(int64_t width)
      : c_fc_(register_module<nn::Linear>("c_fc", width, 4 * width)),
        c_proj_(register_module<nn::Linear>("c_proj", 4 * width, width)) {}
  Variable forward(const Variable& x) override { return c_proj_(gelu(c_fc_(x), true)); }

 private:
  nn::Linear &c_fc_, &c_proj_;
};

// x + attention(norm(x)), then x + mlp(norm(x)); x [N,L,width].
class GptBlock : public nn::Layer {
 public:
  explicit GptBlock(const GptOptions& options)
      : ln_1_(register_module<nn::LayerNorm>("ln_1", Shape{options.width})),
        attn_(register_module<nn::MultiHeadAttention>(
            "attn", nn::MultiHeadAttentionOptions{.size = options.width, .heads = options.heads, .causal = true})),
        ln_2_(register_module<nn::LayerNorm>("ln_2", Shape{options.width})),
        mlp_(register_module<GptMlp>("mlp", options.width)),
        dropout_(register_module<nn::Dropout>("dropout", options.dropout)) {}

  Variable forward(const Variable& x) override {
    const Variable h = x + dropout_(attn_(ln_1_(x)));
    return h + dropout_(mlp_(ln_2_(h)));
  }

 private:
  nn::LayerNorm& ln_1_;
  nn::MultiHeadAttention& attn_;
  nn::LayerNorm& ln_2_;
  GptMlp& mlp_;
  nn::Dropout& dropout_;
};

// tokens i32 [N,L], L up to context -> logits [N,L,vocabulary] of each one's successor.
class Gpt : public nn::Module {
 public:
  explicit Gpt(const GptOptions& options)
      : options_(options),
        wte_(register_module<nn::Embedding>("wte", options.vocabulary, options.width)),
        wpe_(register_module<nn::Embedding>("wpe", options.context, options.width)),
        dropout_(register_module<nn::Dropout>("dropout", options.dropout)),
        h_(register_module<nn::Sequential>("h")),
        ln_f_(register_module<nn::LayerNorm>("ln_f", Shape{options.width})) {
    for (int64_t i = 0; i < options.layers; ++i) h_.add<GptBlock>(options);
    for (nn::Embedding* embedding : {&wte_, &wpe_}) {
      Tensor weight = embedding->weight.value();
      nn::init::normal(weight, 0, 0.02);
    }
  }

  Variable forward(const Tensor& tokens) {
    ASAP_CHECK(tokens.rank() == 2 && tokens.size(1) <= options_.context, "Gpt: expected tokens [N,L], L up to ",
               options_.context, ", got ", tokens.shape());
    const Variable x = wte_(tokens) + slice(wpe_.weight, 0, 0, tokens.size(1));
    return linear(ln_f_(h_(dropout_(x))), wte_.weight, {});
  }

 private:
  GptOptions options_;
  nn::Embedding &wte_, &wpe_;
  nn::Dropout& dropout_;
  nn::Sequential& h_;
  nn::LayerNorm& ln_f_;
};

}  // namespace asap::examples
