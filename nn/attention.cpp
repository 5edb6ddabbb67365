// Declared in attention.h.
#include "nn/attention.h"

#include <cmath>

#include "nn/init.h"

namespace asap::nn {
namespace {

const MultiHeadAttentionOptions& checked(const MultiHeadAttentionOptions& o) {
  ASAP_CHECK(o.size > 0 && o.heads > 0 && o.size % o.heads == 0, "MultiHeadAttention: ", o.heads, " heads do not divide ",
             o.size, " elements");
  return o;
}

}  // namespace

// PyTorch's initial values: Glorot & Bengio 2010, uniform, for the projections in; biases 0.
MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionOptions& options)
    : options_(checked(options)), out_proj_(register_module<Linear>("out_proj", options.size, options.size, options.bias)) {
  const double bound = std::sqrt(6 / static_cast<double>(4 * options.size));
  in_proj_weight = register_parameter("in_proj_weight", init::new_weight({3 * options.size, options.size}, [&](Tensor& w) {
                                        init::uniform(w, -bound, bound);
                                      }));
  if (!options.bias) return;
  in_proj_bias = register_parameter("in_proj_bias", Tensor::zeros({3 * options.size}));
  out_proj_.bias.set_value(Tensor::zeros({options.size}));
}

Variable MultiHeadAttention::forward(const Variable& query, const Variable& key, const Variable& value, const Variable& mask) {
  const int64_t size = options_.size, heads = options_.heads;
  const std::vector<int64_t> parts{size, size, size};
  const std::vector<Variable> weights = split(in_proj_weight, parts, 0);
  const std::vector<Variable> biases = options_.bias ? split(in_proj_bias, parts, 0) : std::vector<Variable>(3);
  const auto projected = [&](const Variable& x, size_t part) {  // [N,heads,L,size/heads]
    ASAP_CHECK(x.rank() == 3 && x.size(2) == size && x.size(0) == query.size(0), "MultiHeadAttention: expected [N,L,", size,
               "] and as many sequences of keys and values as of queries, got ", x.shape(), " beside ", query.shape());
    return permute(reshape(linear(x, weights[part], biases[part]), {x.size(0), x.size(1), heads, size / heads}), {0, 2, 1, 3});
  };
  const Variable attended = scaled_dot_product_attention(projected(query, 0), projected(key, 1), projected(value, 2), mask,
                                                         options_.causal);
  return out_proj_(reshape(permute(attended, {0, 2, 1, 3}), query.shape()));
}

}  // namespace asap::nn
