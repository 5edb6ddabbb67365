// Checked ops on label maps: planes, plain or downsampled. Declared in ops.h; the kernels are cpu/label_planes.cpp.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// A class number as an unsigned one: those below 0 become the largest. The pass that finds none outside is one the compiler
// vectorises: a search that stops at the first would take longer than a card takes for the picture.
template <class T>
int64_t first_outside(const Tensor& labels, int64_t classes, int64_t ignored) {
  using Word = std::make_unsigned_t<T>;
  const T* first = labels.data<T>();
  const T* last = first + labels.numel();
  const Word none = std::in_range<T>(ignored) ? static_cast<Word>(ignored) : 0;
  const auto word = [=](T label) {  // 0 where it is ignored; without a branch or a choice, which GCC would not vectorise
    const auto w = static_cast<Word>(label);
    return static_cast<Word>(w & static_cast<Word>(-static_cast<int>(w != none)));
  };
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
  ASAP_CHECK(is_floating(dtype), "one_hot: expected f32, f64 or bf16 planes, got ", dtype);
  const int64_t outside = first_label_outside(labels, classes);
  ASAP_CHECK(outside < 0, "one_hot: label ", labels.contiguous().reshape({-1}).select(0, outside).item(), " is outside 0..",
             classes - 1);
  return label_planes(labels, {}, {.classes = classes}, dtype);
}

}  // namespace asap
