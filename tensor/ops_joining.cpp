// Checked ops that rearrange: cat, one_hot. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

template <class T>
void check_labels(const Tensor& labels, int64_t classes) {
  const T* values = labels.data<T>();
  for (int64_t i = 0; i < labels.numel(); ++i) {
    ASAP_CHECK(values[i] >= 0 && values[i] < classes, "one_hot: label ", static_cast<int>(values[i]), " is outside 0..",
               classes - 1);
  }
}

}  // namespace

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

Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype) {
  ASAP_CHECK(labels.defined() && (labels.dtype() == DType::i32 || labels.dtype() == DType::u8),
             "one_hot: expected i32 or u8 labels, got ",
             labels.defined() ? name(labels.dtype()) : "an undefined tensor");
  checks::has_rank("one_hot", "labels", labels.shape(), 3);
  ASAP_CHECK(classes > 0, "one_hot: expected a positive number of classes, got ", classes);
  ASAP_CHECK(asap::is_floating(dtype), "one_hot: expected f32 or f64 planes, got ", dtype);
  const Tensor packed = labels.contiguous();
  if (labels.device() == Device::cpu) {
    labels.dtype() == DType::u8 ? check_labels<uint8_t>(packed, classes) : check_labels<int32_t>(packed, classes);
  }
  Tensor y = Tensor::empty({labels.size(0), classes, labels.size(1), labels.size(2)}, dtype, labels.device());
  if (y.numel() > 0) kernels::one_hot.run(labels.device(), packed, y);
  return y;
}

}  // namespace asap
