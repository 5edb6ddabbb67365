// Checked ops on label maps: planes, plain or downsampled; and the convolution layers of inference, which write into the
// caller's tensors. Declared in ops.h; the kernels are cpu/inference.cpp.
#include <algorithm>
#include <type_traits>

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

// What an output must not lie on: kernels write it while they read.
void is_apart(const char* op, const char* what, const Tensor& x, const Tensor& y) {
  ASAP_CHECK(!x.defined() || !y.overlaps(x), op, ": y lies on the memory of ", what);
}

Tensor packed(const Tensor& x) { return x.defined() ? x.contiguous() : x; }

// A class number as an unsigned one: those below 0 become the largest. The pass that finds none outside is one the compiler
// vectorises: a search that stops at the first would take longer than a card takes for the picture.
template <class T>
int64_t first_outside(const Tensor& labels, int64_t classes, int64_t ignored) {
  using Word = std::make_unsigned_t<T>;
  const T* first = labels.data<T>();
  const T* last = first + labels.numel();
  const auto word = [&](T label) { return static_cast<Word>(label == ignored ? 0 : label); };
  Word largest = 0;
  for (const T* label = first; label != last; ++label) largest = std::max(largest, word(*label));
  if (static_cast<int64_t>(largest) < classes) return -1;
  return std::find_if(first, last, [&](T label) { return static_cast<int64_t>(word(label)) >= classes; }) - first;
}

}  // namespace

int64_t first_label_outside(const Tensor& labels, int64_t classes, int64_t ignored) {
  if (labels.device() != Device::cpu) return -1;
  const Tensor packed = labels.contiguous();
  return labels.dtype() == DType::u8 ? first_outside<uint8_t>(packed, classes, ignored)
                                     : first_outside<int32_t>(packed, classes, ignored);
}

Shape label_planes_shape(const Shape& labels, bool instance, const LabelPlanesParams& p) {
  checks::has_rank("label_planes", "labels", labels, 3);
  ASAP_CHECK(p.classes >= 1, "label_planes: expected a positive number of classes, got ", p.classes);
  ASAP_CHECK(p.factor == 1 || (p.factor > 1 && p.factor % 2 == 0), "label_planes: factor must be 1 or even, got ",
             p.factor);
  ASAP_CHECK(labels[1] % p.factor == 0 && labels[2] % p.factor == 0, "label_planes: labels ", labels,
             " are no multiple of factor ", p.factor);
  const int64_t channels = add_sizes(p.classes, instance ? 1 : 0, "label_planes");
  return {labels[0], channels, labels[1] / p.factor, labels[2] / p.factor};
}

Tensor label_planes(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& params, DType dtype,
                    Layout layout) {
  checks::is_labels("label_planes", labels);
  if (instance.defined()) {
    checks::is_floating("label_planes", "instance", instance);
    checks::one_device("label_planes", labels, instance);
    checks::has_shape("label_planes", "instance", instance, {labels.size(0), 1, labels.size(1), labels.size(2)});
  }
  ASAP_CHECK(is_floating(dtype), "label_planes: expected f32, f64 or bf16 planes, got ", dtype);
  Tensor y = Tensor::empty(label_planes_shape(labels.shape(), instance.defined(), params), dtype, labels.device(), layout);
  if (y.numel() > 0) kernels::label_planes.run(y.device(), labels, instance, params, y);
  return y;
}

Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype) {
  checks::is_labels("one_hot", labels);
  ASAP_CHECK(classes > 0, "one_hot: expected a positive number of classes, got ", classes);
  ASAP_CHECK(is_floating(dtype), "one_hot: expected f32 or f64 planes, got ", dtype);
  const int64_t outside = first_label_outside(labels, classes);
  ASAP_CHECK(outside < 0, "one_hot: label ", labels.contiguous().reshape({-1}).select(0, outside).item(), " is outside 0..",
             classes - 1);
  return label_planes(labels, {}, {.classes = classes}, dtype);
}

Shape conv_layer_shape(const Shape& x, const Shape& w, const ConvLayerParams& p) {
  checks::has_rank("conv_layer", "x", x, 4);
  checks::has_rank("conv_layer", "w", w, 4);
  const Sizes in = sizes_of(x, p.layout), kernel = sizes_of(w, p.layout);  // of the kernel, n is O
  ASAP_CHECK(kernel.h == kernel.w && kernel.h > 0, "conv_layer: expected a square kernel, got w ", w);
  ASAP_CHECK(in.c > 0, "conv_layer: expected an x with channels, got ", x);
  ASAP_CHECK(kernel.c == in.c, "conv_layer: x ", x, " has ", in.c, " channels, but w ", w, " needs ", kernel.c);
  ASAP_CHECK(p.pad >= 0 && p.stride >= 1, "conv_layer: expected no negative pad and a positive stride, got pad ", p.pad,
             " and stride ", p.stride);
  ASAP_CHECK(p.pad_mode != PadMode::reflect || p.pad < std::min(in.h, in.w),
             "conv_layer: reflect padding must be smaller than the picture, got pad ", p.pad, " for x ", x);
  const int64_t border = multiply_sizes(2, p.pad, "conv_layer");
  ASAP_CHECK(std::min(in.h, in.w) >= 1 && add_sizes(std::min(in.h, in.w), border, "conv_layer") >= kernel.h,
             "conv_layer: the kernel of w ", w, " is larger than x ", x, " padded by ", p.pad);
  const auto out = [&](int64_t size) { return (add_sizes(size, border, "conv_layer") - kernel.h) / p.stride + 1; };
  return shape_of({in.n, kernel.n, out(in.h), out(in.w)}, p.layout);
}

void conv_layer(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                const ConvLayerParams& params, Tensor& y) {
  is_activation("conv_layer", "x", x);
  checks::alike("conv_layer", x, w);
  is_activation("conv_layer", "y", y);
  checks::one_device("conv_layer", x, y);
  checks::has_shape("conv_layer", "y", y, conv_layer_shape(x.shape(), w.shape(), params));
  is_packed("conv_layer", "y", y);
  is_apart("conv_layer", "x", x, y);
  is_apart("conv_layer", "w", w, y);
  is_apart("conv_layer", "scale", scale, y);
  is_apart("conv_layer", "shift", shift, y);
  ASAP_CHECK((x.dtype() == DType::f64) == (y.dtype() == DType::f64), "conv_layer: f64 goes to f64 only, got x ",
             x.dtype(), " and y ", y.dtype());
  ASAP_CHECK(params.norm == scale.defined(), "conv_layer: expected scale ", params.norm ? "with" : "only with",
             " norm");
  if (params.norm) is_f32("conv_layer", "scale", scale, {w.size(0)}, x);
  is_f32("conv_layer", "shift", shift, {w.size(0)}, x);
  if (y.numel() == 0) return;
  kernels::conv_layer.run(x.device(), x.contiguous(), w.contiguous(), packed(scale), shift.contiguous(), params, y);
  y.bump_version();
}

}  // namespace asap
