// Attention with several heads.
#pragma once

#include "nn/layers.h"

namespace asap::nn {

struct MultiHeadAttentionOptions {
  int64_t size = 0, heads = 1;  // elements of a token, which the heads share
  bool bias = true;
  bool causal = false;  // a token sees itself and those before it
};

// Vaswani et al. 2017: each head attends with its own projections of query, key and value, [heads] parts of `size` elements;
// what the heads give is joined and projected. State, as PyTorch's MultiheadAttention: in_proj_weight [3*size,size] and
// in_proj_bias of query, key and value, out_proj.weight [size,size], out_proj.bias.
class MultiHeadAttention : public Layer {
 public:
  explicit MultiHeadAttention(const MultiHeadAttentionOptions& options);
  // x [N,L,size], of each sequence to itself.
  Variable forward(const Variable& x) override { return forward(x, x, x); }
  // query [N,L,size], key and value [N,S,size] -> [N,L,size]; mask: scaled_dot_product_attention's, broadcasts to [N,heads,L,S].
  Variable forward(const Variable& query, const Variable& key, const Variable& value, const Variable& mask = {});
  Variable in_proj_weight, in_proj_bias;

 private:
  MultiHeadAttentionOptions options_;
  Linear& out_proj_;
};

}  // namespace asap::nn
