// The kernels of inference on the CPU, except for the per-tile MLP (inference_mlp.cpp): label planes counted from class
// numbers; and the registration of both. The definitions are inference_naive.cpp.
#include "tensor/cpu/inference.h"

#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"

namespace asap::cpu {
namespace {

// ---- label_planes ---------------------------------------------------------------------------------------------------

// The input's planes [channels][H][W] of picture n, before any filter: rows `first` to `last` of them.
void write_planes(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, int64_t n, int64_t first,
                  int64_t last, float* planes) {
  const int64_t width = labels.size(2), plane = labels.size(1) * width, count = (last - first) * width;
  const uint8_t* from = labels.data<uint8_t>() + n * plane + first * width;
  for (int64_t c = 0; c < p.channels; ++c) {
    float* to = planes + c * plane + first * width;
    if (c < p.classes) {
#pragma GCC ivdep
      for (int64_t i = 0; i < count; ++i) to[i] = from[i] == c ? 1.0f : 0.0f;
    } else if (c == p.classes && instance.defined()) {
      std::copy_n(instance.data<float>() + n * plane + first * width, count, to);
    } else {
      std::fill_n(to, count, 0.0f);
    }
  }
}

// One row of the downsampled planes: every label adds its tap's weight to its class. Weights are multiples of
// 1 / (4 factor^4), so that the sums are exact in any order.
class TentRows {
 public:
  TentRows(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p)
      : labels_(labels), instance_(instance), p_(p), height_(labels.size(1)), width_(labels.size(2)) {
    for (int64_t i = 0; i < 2 * p.factor; ++i) weights_.push_back(static_cast<float>(tent_weight(i, p.factor)));
    for (int64_t i = 0; i < width_ + p.factor; ++i) {
      columns_.push_back(static_cast<int32_t>(padded_index(i - p.factor / 2, width_, PadMode::reflect)));
    }
  }

  // Row oh of picture n; `sums` holds 256 + 1 rows of the output's width.
  void write(int64_t n, int64_t oh, float* sums, float* planes) const {
    const int64_t factor = p_.factor, wide = width_ / factor, plane = height_ / factor * wide, taps = 2 * factor;
    std::fill_n(sums, p_.classes * wide, 0.0f);
    float* extra = sums + 256 * wide;
    if (instance_.defined()) std::fill_n(extra, wide, 0.0f);
    for (int64_t i = 0; i < taps; ++i) {
      const int64_t row = padded_index(oh * factor - factor / 2 + i, height_, PadMode::reflect);
      const int64_t start = (n * height_ + row) * width_;
      const uint8_t* label = labels_.data<uint8_t>() + start;
      const float* value = instance_.defined() ? instance_.data<float>() + start : nullptr;
      for (int64_t j = 0; j < taps; ++j) {
        const float weight = weights_[i] * weights_[j];
        const int32_t* column = columns_.data() + j;
        for (int64_t ow = 0; ow < wide; ++ow) sums[label[column[ow * factor]] * wide + ow] += weight;
        for (int64_t ow = 0; value && ow < wide; ++ow) extra[ow] += weight * value[column[ow * factor]];
      }
    }
    for (int64_t c = 0; c < p_.channels; ++c) {
      float* to = planes + c * plane + oh * wide;
      const bool is_instance = c == p_.classes && instance_.defined();
      if (c < p_.classes || is_instance) {
        std::copy_n(is_instance ? extra : sums + c * wide, wide, to);
      } else {
        std::fill_n(to, wide, 0.0f);
      }
    }
  }

 private:
  const Tensor &labels_, &instance_;
  const LabelPlanesParams& p_;
  const int64_t height_, width_;
  std::vector<float> weights_;    // [2*factor]
  std::vector<int32_t> columns_;  // of the padded picture
};

void label_planes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const int64_t rows = y.size(2), wide = y.size(3), picture = y.numel() / std::max<int64_t>(y.size(0), 1);
  const TentRows tent(labels, instance, p);
  parallel_for(y.size(0) * rows, std::max<int64_t>(kGrain / (p.channels * wide), 1), [&](int64_t begin, int64_t end) {
    const Tensor sums = Tensor::empty({257, wide});  // a row for every value of a label, and for the instance channel
    for (int64_t row = begin; row < end; ++row) {
      float* planes = y.data<float>() + row / rows * picture;
      if (p.factor == 1) {
        write_planes(labels, instance, p, row / rows, row % rows, row % rows + 1, planes);
      } else {
        tent.write(row / rows, row % rows, static_cast<float*>(sums.raw()), planes);
      }
    }
  });
}

bool is_f32_nchw(const Tensor& x, Layout layout) { return layout == Layout::row_major && x.dtype() == DType::f32; }

}  // namespace

void register_inference() {
  kernels::label_planes.add(
      Device::cpu, "counted", label_planes_counted,
      [](const Tensor&, const Tensor&, const LabelPlanesParams& p, Tensor& y) { return is_f32_nchw(y, p.layout); },
      {.bf16 = true});
  kernels::label_planes.add(Device::cpu, "naive", label_planes_naive, {}, {.bf16 = true});

  kernels::tile_mlp_labels.add(Device::cpu, "fused", tile_mlp_labels_fused,
                               [](const Tensor&, const Tensor&, const Tensor& phi, const TileMlpLabelsParams& p,
                                  Tensor&) { return is_f32_nchw(phi, p.phi_layout); },
                               {.bf16 = true});
  kernels::tile_mlp_labels.add(Device::cpu, "naive", tile_mlp_labels_naive, {}, {.bf16 = true});
}

}  // namespace asap::cpu
