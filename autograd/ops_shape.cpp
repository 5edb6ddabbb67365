// Ops that move elements without computing, beside their gradients. Reshape, permute, slice, expand and split are views:
// no element is copied, forward or backward, unless a view does not lie contiguously where it must.
// Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

namespace {

Variable reshaped(const Variable& x, const Tensor& y) {
  return make_result("reshape", y, x,
                     [x_shape = x.shape()](const Tensor& dy) { return dy.contiguous().reshape(x_shape); });
}

}  // namespace

Variable reshape(const Variable& x, const Shape& shape) { return reshaped(x, x.value().contiguous().reshape(shape)); }
Variable reshape(const Variable& x, std::initializer_list<int64_t> sizes) {
  return reshaped(x, x.value().contiguous().reshape(sizes));
}

Variable convert(const Variable& x, DType dtype) { return convert(x, dtype, x.value().layout()); }
Variable convert(const Variable& x, DType dtype, Layout layout) {
  const Tensor y = x.value().to(dtype).to(layout);
  if (y.shares_storage(x.value())) return x;
  return make_result("convert", y, x, [from = x.dtype()](const Tensor& dy) { return dy.to(from); });
}

Variable permute(const Variable& x, const std::vector<int>& dims) {
  const Tensor y = x.value().permute(dims);
  std::vector<int> inverse(dims.size());
  for (size_t d = 0; d < dims.size(); ++d) {
    inverse[static_cast<size_t>(normalize_dim(dims[d], x.rank(), "permute"))] = static_cast<int>(d);
  }
  return make_result("permute", y, x, [inverse](const Tensor& dy) { return dy.permute(inverse); });
}

Variable transpose(const Variable& x, int d0, int d1) {
  return make_result("transpose", x.value().transpose(d0, d1), x,
                     [d0, d1](const Tensor& dy) { return dy.transpose(d0, d1); });
}

// Elements that the slice left out have gradient zero.
Variable slice(const Variable& x, int dim, int64_t start, int64_t end, int64_t step) {
  return make_result("slice", x.value().slice(dim, start, end, step), x,
                     [dim, start, end, step, x_shape = x.shape(), layout = x.value().layout()](const Tensor& dy) {
                       Tensor dx = Tensor::empty(x_shape, dy.dtype(), dy.device(), layout);
                       dx.fill(0);
                       dx.slice(dim, start, end, step).copy_from(dy);
                       return dx;
                     });
}

std::vector<Variable> split(const Variable& x, const std::vector<int64_t>& sizes, int dim) {
  const int d = normalize_dim(dim, x.rank(), "split");
  int64_t total = 0;
  for (int64_t size : sizes) {
    ASAP_CHECK(size >= 0, "split: a size is negative: ", size);
    total = add_sizes(total, size, "split");
  }
  ASAP_CHECK(total == x.size(d), "split: expected sizes that add up to ", x.size(d), " along dimension ", dim, " of ",
             x.shape(), ", got ", total);
  std::vector<Variable> parts;
  int64_t start = 0;
  for (int64_t size : sizes) {
    parts.push_back(slice(x, d, start, start + size));
    start += size;
  }
  return parts;
}

Variable expand(const Variable& x, const Shape& shape) {
  return make_result("expand", x.value().expand(shape), x,
                     [x_shape = x.shape()](const Tensor& dy) { return sum_to(dy, x_shape); });
}

Variable cat(const std::vector<Variable>& xs, int dim) {
  std::vector<Tensor> values;
  for (const Variable& x : xs) values.push_back(x.value());
  const Tensor y = cat(values, dim);
  std::vector<int64_t> sizes;
  for (const Variable& x : xs) sizes.push_back(x.size(dim));
  return make_result("cat", y, xs, [sizes, dim](const Tensor& dy, std::span<const bool> needs) {
    std::vector<Tensor> grads(sizes.size());
    int64_t start = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (needs[i]) grads[i] = dy.slice(dim, start, start + sizes[i]);
      start += sizes[i];
    }
    return grads;
  });
}

Variable stack(const std::vector<Variable>& xs, int dim) {
  std::vector<Variable> parts;
  for (const Variable& x : xs) parts.push_back(unsqueeze(x, dim));
  return cat(parts, dim);
}

Variable unsqueeze(const Variable& x, int dim) {
  const int d = normalize_dim(dim, x.rank() + 1, "unsqueeze");
  return make_result("unsqueeze", x.value().unsqueeze(d), x, [d](const Tensor& dy) { return dy.squeeze(d); });
}

Variable squeeze(const Variable& x, int dim) {
  const int d = normalize_dim(dim, x.rank(), "squeeze");
  return make_result("squeeze", x.value().squeeze(d), x, [d](const Tensor& dy) { return dy.unsqueeze(d); });
}

// An element gathered several times collects the gradient of each.
Variable gather(const Variable& x, int dim, const Tensor& index) {
  return make_result("gather", gather(x.value(), dim, index), x,
                     [dim, saved = Saved(index), x_shape = x.shape()](const Tensor& dy) {
                       return gather_backward(dy, dim, saved.get("gather"), x_shape);
                     });
}

// A gather along w's rows: every column of a row has the row's index.
Variable embedding(const Tensor& indices, const Variable& w) {
  ASAP_CHECK(w.rank() == 2, "embedding: expected w [V,D], got ", w.shape());
  ASAP_CHECK(indices.defined() && (indices.dtype() == DType::i32 || indices.dtype() == DType::u8),
             "embedding: expected i32 or u8 indices, got ", indices.defined() ? name(indices.dtype()) : "an undefined tensor");
  const Tensor list = indices.contiguous().reshape({indices.numel(), 1});
  const int64_t outside = first_label_outside(list, w.size(0));
  ASAP_CHECK(outside < 0, "embedding: index ", list.select(0, outside).item(), " is outside 0..", w.size(0) - 1);
  Shape shape = indices.shape();
  shape.push_back(w.size(1));
  return reshape(gather(w, 0, list.to(DType::i32).expand({indices.numel(), w.size(1)}).contiguous()), shape);
}

}  // namespace asap
