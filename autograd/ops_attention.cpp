// Attention, composed of two products and a softmax. Declared in ops.h.
#include <cmath>
#include <limits>

#include "autograd/ops.h"

namespace asap {
namespace {

// u8 [queries,keys]: 1 where the key comes after the query.
Tensor later_keys(int64_t queries, int64_t keys, Device device) {
  std::vector<uint8_t> later(static_cast<size_t>(queries * keys));
  for (int64_t i = 0; i < queries; ++i) {
    for (int64_t j = i + 1; j < keys; ++j) later[static_cast<size_t>(i * keys + j)] = 1;
  }
  return Tensor::from(later, {queries, keys}, device);
}

}  // namespace

Variable scaled_dot_product_attention(const Variable& q, const Variable& k, const Variable& v, const Variable& mask,
                                      bool causal) {
  ASAP_CHECK(q.rank() >= 2 && k.rank() >= 2 && q.size(-1) > 0 && q.size(-1) == k.size(-1),
             "scaled_dot_product_attention: expected q [...,L,D] and k [...,S,D], got ", q.shape(), " and ", k.shape());
  Variable scores = matmul(q / std::sqrt(static_cast<double>(q.size(-1))), k, false, true);
  if (mask.defined()) scores = scores + mask;
  if (causal) {
    const Tensor hidden = Tensor::full({1}, -std::numeric_limits<double>::infinity(), scores.dtype(), scores.device());
    scores = where(later_keys(q.size(-2), k.size(-2), q.device()), hidden, scores);
  }
  return matmul(softmax(scores, -1), v);
}

}  // namespace asap
