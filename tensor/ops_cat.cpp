// Checked joining of tensors. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

Shape cat_shape(const std::vector<Shape>& xs, int dim) {
  ASAP_CHECK(!xs.empty(), "cat: expected at least one tensor, got none");
  const int along = normalize_dim(dim, xs[0].rank(), "cat");
  Shape y = xs[0];
  for (size_t i = 1; i < xs.size(); ++i) {
    bool fits = xs[i].rank() == y.rank();
    for (int d = 0; fits && d < y.rank(); ++d) fits = d == along || xs[i][d] == y[d];
    ASAP_CHECK(fits, "cat: expected shapes that agree except along dimension ", dim, ", got ", xs[0], " and ", xs[i]);
    y[along] = add_sizes(y[along], xs[i][along], "cat");
  }
  return y;
}

Tensor cat(const std::vector<Tensor>& xs, int dim) {
  std::vector<Shape> shapes;
  Layout layout = Layout::row_major;  // unless one of them is not
  for (const Tensor& x : xs) {
    checks::alike("cat", xs[0], x);
    shapes.push_back(x.shape());
    if (x.layout() == Layout::channels_last) layout = x.layout();
  }
  const Shape shape = cat_shape(shapes, dim);
  Tensor y = Tensor::empty(shape, xs[0].dtype(), xs[0].device(), layout);
  int64_t start = 0;
  for (const Tensor& x : xs) {
    Tensor part = y.slice(dim, start, start + x.size(dim));
    if (x.numel() > 0) kernels::copy.run(x.device(), x, part);
    start += x.size(dim);
  }
  return y;
}

}  // namespace asap
