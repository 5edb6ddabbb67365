// Label planes counted from class numbers: every label adds its tap's weight to its class. Next: tile_mlp.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/label_planes.cpp"
#include "tensor/cpu/targets.h"

#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/label_planes.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

// Weights are multiples of 1 / (4 factor^4), so that the sums are exact in any order. Without downsampling there is one tap.
template <class T, class Label>
void counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const int64_t height = labels.size(1), width = labels.size(2), channels = y.size(1), rows = y.size(2),
                wide = y.size(3);
  const int64_t factor = p.factor, taps = factor == 1 ? 1 : 2 * factor, border = factor == 1 ? 0 : factor / 2;
  std::vector<T> weights;        // of a tap
  std::vector<int64_t> columns;  // of the padded picture
  for (int64_t i = 0; i < taps; ++i) weights.push_back(factor == 1 ? T{1} : definitions::tent_weight<T>(i, factor));
  for (int64_t i = -border; i < width + border; ++i) columns.push_back(padded_index(i, width, PadMode::reflect));
  parallel_for(y.size(0) * rows, std::max<int64_t>(kGrain / (channels * wide), 1), [&](int64_t begin, int64_t end) {
    std::vector<T> sums;  // a row of y, [channels, wide]: side by side, as the caches like it
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / rows, oh = task % rows;
      sums.assign(static_cast<size_t>(channels * wide), T{0});
      for (int64_t i = 0; i < taps; ++i) {
        const int64_t start = (n * height + padded_index(oh * factor - border + i, height, PadMode::reflect)) * width;
        const Label* label = labels.data<Label>() + start;
        const T* value = instance.defined() ? instance.data<T>() + start : nullptr;
        for (int64_t j = 0; j < taps; ++j) {
          const T weight = weights[i] * weights[j];
          const int64_t* column = columns.data() + j;
          for (int64_t ow = 0; ow < wide; ++ow) {
            const auto number = static_cast<uint32_t>(label[column[ow * factor]]);
            if (number < p.classes) sums[number * wide + ow] += weight;
          }
          T* extra = sums.data() + p.classes * wide;
          for (int64_t ow = 0; value && ow < wide; ++ow) extra[ow] += weight * value[column[ow * factor]];
        }
      }
      for (int64_t c = 0; c < channels; ++c) {
        std::copy_n(sums.data() + c * wide, wide, y.data<T>() + ((n * channels + c) * rows + oh) * wide);
      }
    }
  });
}

void label_planes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  dispatch_floating(y.dtype(), "label_planes", [&]<class T>(T) {
    labels.dtype() == DType::u8 ? counted<T, uint8_t>(labels, instance, p, y)
                                : counted<T, int32_t>(labels, instance, p, y);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(label_planes_counted);

void register_label_planes() {
  kernels::label_planes.add(Device::cpu, "counted", HWY_DYNAMIC_DISPATCH(label_planes_counted),
                            [](const Tensor&, const Tensor& instance, const LabelPlanesParams&, Tensor& y) {
                              return !instance.defined() || instance.dtype() == y.dtype();
                            });
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
