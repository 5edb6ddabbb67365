// Label planes counted from class numbers. Next: tile_mlp.cpp.
#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/label_planes.h"

namespace asap::cpu {
namespace {

// ---- label_planes ---------------------------------------------------------------------------------------------------

// Row `row` of picture n as it is, in all planes of y.
template <class T, class Label>
void write_row(const Tensor& labels, const Tensor& instance, int64_t classes, int64_t n, int64_t row, Tensor& y) {
  const int64_t width = labels.size(2), plane = labels.size(1) * width, at = n * plane + row * width;
  const Label* from = labels.data<Label>() + at;
  T* to = y.data<T>() + n * y.size(1) * plane + row * width;
  for (int64_t c = 0; c < classes; ++c, to += plane) {
#pragma GCC ivdep
    for (int64_t i = 0; i < width; ++i) to[i] = from[i] == c ? T{1} : T{0};
  }
  if (instance.defined()) std::copy_n(instance.data<T>() + at, width, to);
}

// One row of the downsampled planes: every label adds its tap's weight to its class. Weights are multiples of
// 1 / (4 factor^4), so that the sums are exact in any order.
template <class T, class Label>
class TentRows {
 public:
  TentRows(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p)
      : labels_(labels), instance_(instance), p_(p), height_(labels.size(1)), width_(labels.size(2)) {
    for (int64_t i = 0; i < 2 * p.factor; ++i) weights_.push_back(static_cast<T>(definitions::tent_weight(i, p.factor)));
    for (int64_t i = 0; i < width_ + p.factor; ++i) {
      columns_.push_back(static_cast<int32_t>(padded_index(i - p.factor / 2, width_, PadMode::reflect)));
    }
  }

  // Row oh of picture n. `numbers` holds a padded row of class numbers; `sums` a row of y for each class, one for what is no
  // class, one for the instance channel.
  void write(int64_t n, int64_t oh, int32_t* numbers, T* sums, Tensor& y) const {
    const int64_t factor = p_.factor, wide = width_ / factor, plane = height_ / factor * wide, taps = 2 * factor;
    std::fill_n(sums, (p_.classes + 2) * wide, T{0});
    T* extra = sums + (p_.classes + 1) * wide;
    for (int64_t i = 0; i < taps; ++i) {
      const int64_t row = padded_index(oh * factor - factor / 2 + i, height_, PadMode::reflect);
      const int64_t start = (n * height_ + row) * width_;
      const Label* label = labels_.data<Label>() + start;
      number(label, numbers);
      const T* value = instance_.defined() ? instance_.data<T>() + start : nullptr;
      for (int64_t j = 0; j < taps; ++j) {
        const T weight = weights_[i] * weights_[j];
        for (int64_t ow = 0; ow < wide; ++ow) sums[numbers[ow * factor + j] * wide + ow] += weight;
        for (int64_t ow = 0; value && ow < wide; ++ow) extra[ow] += weight * value[columns_[ow * factor + j]];
      }
    }
    T* to = y.data<T>() + n * y.size(1) * plane + oh * wide;
    for (int64_t c = 0; c < p_.classes; ++c, to += plane) std::copy_n(sums + c * wide, wide, to);
    if (instance_.defined()) std::copy_n(extra, wide, to);
  }
  int64_t padded_width() const { return static_cast<int64_t>(columns_.size()); }

 private:
  // A row of labels as class numbers, those of no class being p_.classes, and its reflection at both ends.
  void number(const Label* labels, int32_t* numbers) const {
    const auto classes = static_cast<uint32_t>(p_.classes);
    const int64_t border = p_.factor / 2;
    for (int64_t i = 0; i < width_; ++i) {
      numbers[border + i] = static_cast<int32_t>(std::min(static_cast<uint32_t>(labels[i]), classes));
    }
    for (int64_t i = 0; i < border; ++i) {
      for (const int64_t at : {i, border + width_ + i}) numbers[at] = numbers[border + columns_[at]];
    }
  }
  const Tensor &labels_, &instance_;
  const LabelPlanesParams& p_;
  const int64_t height_, width_;
  std::vector<T> weights_;        // [2*factor]
  std::vector<int32_t> columns_;  // of the padded picture
};

template <class T, class Label>
void counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const int64_t rows = y.size(2), wide = y.size(3);
  const TentRows<T, Label> tent(labels, instance, p);
  parallel_for(y.size(0) * rows, std::max<int64_t>(kGrain / (y.size(1) * wide), 1), [&](int64_t begin, int64_t end) {
    Tensor sums = Tensor::empty({p.factor == 1 ? 0 : p.classes + 2, wide}, dtype_of<T>);
    Tensor numbers = Tensor::empty({tent.padded_width()}, DType::i32);
    for (int64_t row = begin; row < end; ++row) {
      if (p.factor == 1) {
        write_row<T, Label>(labels, instance, p.classes, row / rows, row % rows, y);
      } else {
        tent.write(row / rows, row % rows, numbers.data<int32_t>(), sums.data<T>(), y);
      }
    }
  });
}

void label_planes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  dispatch_floating(y.dtype(), "label_planes", [&](auto zero) {
    using T = decltype(zero);
    labels.dtype() == DType::u8 ? counted<T, uint8_t>(labels, instance, p, y) : counted<T, int32_t>(labels, instance, p, y);
  });
}

}  // namespace

void register_label_planes() {
  kernels::label_planes.add(Device::cpu, "counted", label_planes_counted,
                            [](const Tensor&, const Tensor& instance, const LabelPlanesParams&, Tensor& y) {
                              return !instance.defined() || instance.dtype() == y.dtype();
                            });
}

}  // namespace asap::cpu
