// Checked front of the kernels that inference runs. Declared in ops.h; the kernels are cpu/inference*.cpp.
// They write into the caller's tensors: a session plans its buffers once (asapnet/session.h).
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// Sizes of an activation in either layout.
struct Sizes {
  int64_t n, c, h, w;
};
Sizes sizes_of(const Shape& x, Layout layout) {
  return layout == Layout::row_major ? Sizes{x[0], x[1], x[2], x[3]} : Sizes{x[0], x[3], x[1], x[2]};
}
Shape shape_of(const Sizes& s, Layout layout) {
  return layout == Layout::row_major ? Shape{s.n, s.c, s.h, s.w} : Shape{s.n, s.h, s.w, s.c};
}

void is_defined(const char* op, const char* what, const Tensor& x) {
  ASAP_CHECK(x.defined(), op, ": expected a tensor for ", what, ", got an undefined one");
}

void is_activation(const char* op, const char* what, const Tensor& x) {
  is_defined(op, what, x);
  ASAP_CHECK(is_floating(x.dtype()) || x.dtype() == DType::bf16, op, ": expected ", what,
             " to be f32, bf16 or f64, got ", x.dtype());
}

void is_packed(const char* op, const char* what, const Tensor& x) {
  ASAP_CHECK(x.is_contiguous(), op, ": expected ", what, " ", x.shape(), " to be contiguous, got strides ",
             x.strides());
}

// An f32 tensor beside `like`.
void is_f32(const char* op, const char* what, const Tensor& x, const Shape& shape, const Tensor& like) {
  is_defined(op, what, x);
  ASAP_CHECK(x.dtype() == DType::f32, op, ": expected ", what, " to be f32, got ", x.dtype());
  checks::one_device(op, x, like);
  checks::has_shape(op, what, x, shape);
}

void check_labels(const char* op, const Tensor& labels, const Tensor& instance) {
  is_defined(op, "labels", labels);
  ASAP_CHECK(labels.dtype() == DType::u8, op, ": expected labels to be u8, got ", labels.dtype());
  checks::has_rank(op, "labels", labels.shape(), 3);
  if (!instance.defined()) return;
  is_f32(op, "instance", instance, {labels.size(0), 1, labels.size(1), labels.size(2)}, labels);
}

// A label is a byte.
void check_classes(const char* op, int64_t classes) {
  ASAP_CHECK(classes >= 1 && classes <= 256, op, ": expected 1 to 256 classes, got ", classes);
}

// What an output must not lie on: kernels write it while they read.
void is_apart(const char* op, const char* what, const Tensor& x, const Tensor& y) {
  ASAP_CHECK(!x.defined() || !y.overlaps(x), op, ": y lies on the memory of ", what);
}

Tensor packed(const Tensor& x) { return x.defined() ? x.contiguous() : x; }

}  // namespace

Shape label_planes_shape(const Shape& labels, const LabelPlanesParams& p) {
  checks::has_rank("label_planes", "labels", labels, 3);
  check_classes("label_planes", p.classes);
  ASAP_CHECK(p.channels >= p.classes, "label_planes: expected a channel for each of ", p.classes, " classes, got ",
             p.channels);
  ASAP_CHECK(p.factor == 1 || (p.factor > 1 && p.factor % 2 == 0), "label_planes: factor must be 1 or even, got ",
             p.factor);
  ASAP_CHECK(labels[1] % p.factor == 0 && labels[2] % p.factor == 0, "label_planes: labels ", labels,
             " are no multiple of factor ", p.factor);
  return shape_of({labels[0], p.channels, labels[1] / p.factor, labels[2] / p.factor}, p.layout);
}

void label_planes(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& params, Tensor& y) {
  check_labels("label_planes", labels, instance);
  const int64_t needed = params.classes + (instance.defined() ? 1 : 0);
  ASAP_CHECK(params.channels >= needed, "label_planes: y has ", params.channels, " channels, but the input has ",
             needed);
  is_activation("label_planes", "y", y);
  checks::one_device("label_planes", labels, y);
  checks::has_shape("label_planes", "y", y, label_planes_shape(labels.shape(), params));
  is_packed("label_planes", "y", y);
  is_apart("label_planes", "labels", labels, y);
  is_apart("label_planes", "instance", instance, y);
  if (y.numel() == 0) return;
  kernels::label_planes.run(y.device(), labels.contiguous(), packed(instance), params, y);
  y.bump_version();
}

Shape tile_mlp_labels_shape(const Shape& labels, bool instance, const Shape& phi, const TileMlpLabelsParams& p) {
  checks::has_rank("tile_mlp_labels", "labels", labels, 3);
  checks::has_rank("tile_mlp_labels", "phi", phi, 4);
  check_classes("tile_mlp_labels", p.classes);
  const int64_t channels = p.classes + (instance ? 1 : 0), parameters = tile_mlp_parameters(channels, p.mlp);
  const Sizes grid = sizes_of(phi, p.phi_layout);
  ASAP_CHECK(grid.c >= parameters, "tile_mlp_labels: phi ", phi, " has ", grid.c, " channels, but the MLP on ",
             channels, " channels needs ", parameters);
  // The rest is the same as with the one-hot planes written out.
  return tile_mlp_shape({labels[0], channels, labels[1], labels[2]}, {grid.n, parameters, grid.h, grid.w}, p.mlp);
}

Shape picture_shape(const Shape& values) {
  checks::has_rank("picture_shape", "values", values, 4);
  return {values[0], values[2], values[3], values[1]};
}

void tile_mlp_labels(const Tensor& labels, const Tensor& instance, const Tensor& phi, const TileMlpLabelsParams& params,
                     Tensor& y) {
  check_labels("tile_mlp_labels", labels, instance);
  is_activation("tile_mlp_labels", "phi", phi);
  is_defined("tile_mlp_labels", "y", y);
  checks::one_device("tile_mlp_labels", labels, phi);
  checks::one_device("tile_mlp_labels", labels, y);
  const bool picture = y.dtype() == DType::u8;
  const DType wanted = phi.dtype() == DType::f64 ? DType::f64 : DType::f32;
  ASAP_CHECK(picture || y.dtype() == wanted, "tile_mlp_labels: with phi in ", phi.dtype(), " expected y to be u8 or ",
             wanted, ", got ", y.dtype());
  const Shape values = tile_mlp_labels_shape(labels.shape(), instance.defined(), phi.shape(), params);
  checks::has_shape("tile_mlp_labels", "y", y, picture ? picture_shape(values) : values);
  is_packed("tile_mlp_labels", "y", y);
  is_apart("tile_mlp_labels", "labels", labels, y);
  is_apart("tile_mlp_labels", "instance", instance, y);
  is_apart("tile_mlp_labels", "phi", phi, y);
  if (y.numel() == 0) return;
  kernels::tile_mlp_labels.run(y.device(), labels.contiguous(), packed(instance), phi.contiguous(), params, y);
  y.bump_version();
}

}  // namespace asap
