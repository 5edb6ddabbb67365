// PSNR, SSIM, MS-SSIM and the seams of tiles. Declared in metrics.h.
#include "train/pictures/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "tensor/error.h"

namespace asap::train {
namespace {

constexpr double kPeak = 255, kInfinity = std::numeric_limits<double>::infinity();

void check_same_size(const Image& a, const Image& b) {
  ASAP_CHECK(a.width == b.width && a.height == b.height && a.channels == b.channels,
             "expected two pictures of equal size, got ", size_text(a.width, a.height), "x", a.channels, " and ",
             size_text(b.width, b.height), "x", b.channels);
}

void check_side(const Image& a, int side, const char* metric) {
  ASAP_CHECK(std::min(a.width, a.height) >= side, metric, ": expected pictures of at least ", side,
             " pixels a side, got ", size_text(a.width, a.height));
}

// One channel.
struct Plane {
  int width, height;
  std::vector<double> values;

  Plane(int w, int h) : width(w), height(h), values(size_t(w) * h) {}
  double* row(int y) { return values.data() + size_t(y) * width; }
  const double* row(int y) const { return values.data() + size_t(y) * width; }
};

Plane channel(const Image& image, int c) {
  Plane plane(image.width, image.height);
  for (size_t i = 0; i < plane.values.size(); ++i) plane.values[i] = image.pixels[i * image.channels + c];
  return plane;
}

Plane product(const Plane& a, const Plane& b) {
  Plane result(a.width, a.height);
  std::transform(a.values.begin(), a.values.end(), b.values.begin(), result.values.begin(), std::multiplies<>());
  return result;
}

Plane halved(const Plane& p) {
  Plane half(p.width / 2, p.height / 2);
  for (int y = 0; y < half.height; ++y) {
    const double *above = p.row(2 * y), *below = p.row(2 * y + 1);
    for (int x = 0; x < half.width; ++x)
      half.row(y)[x] = (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4;
  }
  return half;
}

std::array<double, kSsimSide> gaussian() {
  std::array<double, kSsimSide> window;
  double total = 0;
  for (int i = 0; i < kSsimSide; ++i) {
    const double x = (i - kSsimSide / 2) / 1.5;
    total += window[i] = std::exp(-x * x / 2);
  }
  for (double& w : window) w /= total;
  return window;
}

// Means under the window wherever it lies inside: along rows, then along columns.
Plane blurred(const Plane& p) {
  static const auto window = gaussian();
  const int reach = kSsimSide - 1;
  Plane rows(p.width - reach, p.height), both(p.width - reach, p.height - reach);
  for (int y = 0; y < rows.height; ++y) {
    for (int k = 0; k < kSsimSide; ++k) {
      for (int x = 0; x < rows.width; ++x) rows.row(y)[x] += window[k] * p.row(y)[x + k];
    }
  }
  for (int y = 0; y < both.height; ++y) {
    for (int k = 0; k < kSsimSide; ++k) {
      for (int x = 0; x < both.width; ++x) both.row(y)[x] += window[k] * rows.row(y + k)[x];
    }
  }
  return both;
}

// Means over the places of two channels: contrast and structure alone, and times luminance.
struct Similarity {
  double contrast = 0, whole = 0;
};

Similarity similarity(const Plane& a, const Plane& b) {
  constexpr double c1 = (0.01 * kPeak) * (0.01 * kPeak), c2 = (0.03 * kPeak) * (0.03 * kPeak);
  const Plane ma = blurred(a), mb = blurred(b), aa = blurred(product(a, a)), bb = blurred(product(b, b)),
              ab = blurred(product(a, b));
  Similarity sum;
  for (size_t i = 0; i < ma.values.size(); ++i) {
    const double x = ma.values[i], y = mb.values[i];
    const double contrast = (2 * (ab.values[i] - x * y) + c2) / (aa.values[i] - x * x + bb.values[i] - y * y + c2);
    sum.contrast += contrast;
    sum.whole += contrast * (2 * x * y + c1) / (x * x + y * y + c1);
  }
  const auto count = static_cast<double>(ma.values.size());
  return {sum.contrast / count, sum.whole / count};
}

double mean_over_channels(const Image& a, const Image& b, double (*f)(Plane, Plane)) {
  double sum = 0;
  for (int c = 0; c < a.channels; ++c) sum += f(channel(a, c), channel(b, c));
  return sum / a.channels;
}

}  // namespace

double psnr(const Image& a, const Image& b) {
  check_same_size(a, b);
  int64_t squares = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const int64_t difference = int64_t(a.pixels[i]) - b.pixels[i];
    squares += difference * difference;
  }
  if (squares == 0) return kInfinity;
  return 10 * std::log10(kPeak * kPeak * static_cast<double>(a.pixels.size()) / static_cast<double>(squares));
}

double ssim(const Image& a, const Image& b) {
  check_same_size(a, b);
  check_side(a, kSsimSide, "ssim");
  return mean_over_channels(a, b, [](Plane x, Plane y) { return similarity(x, y).whole; });
}

double ms_ssim(const Image& a, const Image& b) {
  check_same_size(a, b);
  check_side(a, kMsSsimSide, "ms-ssim");
  return mean_over_channels(a, b, [](Plane x, Plane y) {
    constexpr double kWeights[] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};
    double result = 1;
    for (int scale = 0; scale < 5; ++scale) {
      const Similarity s = similarity(x, y);
      // Negative ones, of pictures that are each other's opposite, have no such power.
      result *= std::pow(std::max(scale == 4 ? s.whole : s.contrast, 0.0), kWeights[scale]);
      x = halved(x);
      y = halved(y);
    }
    return result;
  });
}

double tile_seams(const Image& picture, int tile) {
  ASAP_CHECK(tile >= 2 && std::max(picture.width, picture.height) > tile,
             "seams: expected tiles of at least 2 pixels and a picture larger than one tile, got tiles of ", tile,
             " and ", size_text(picture.width, picture.height));
  int64_t sums[2] = {}, counts[2] = {};  // inside, across borders
  const auto add = [&](int position, const uint8_t* here, const uint8_t* before) {
    const int border = position % tile == 0;
    for (int c = 0; c < picture.channels; ++c) sums[border] += std::abs(here[c] - before[c]);
    counts[border] += picture.channels;
  };
  const int step = picture.channels;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const uint8_t* here = picture.row(y) + size_t(x) * step;
      if (x > 0) add(x, here, here - step);
      if (y > 0) add(y, here, picture.row(y - 1) + size_t(x) * step);
    }
  }
  if (sums[0] == 0) return sums[1] == 0 ? 1 : kInfinity;
  return static_cast<double>(sums[1]) / static_cast<double>(counts[1]) * static_cast<double>(counts[0]) /
         static_cast<double>(sums[0]);
}

void Confusion::add(const LabelMap& labels, std::span<const int32_t> predicted) {
  ASAP_CHECK(predicted.size() == labels.values.size(), "segmentation: expected a class for each of ",
             labels.values.size(), " pixels, got ", predicted.size());
  for (size_t i = 0; i < predicted.size(); ++i) {
    const int32_t label = labels.values[i];
    if (label >= 0 && label < classes_) ++counts_[size_t(label) * classes_ + predicted[i]];
  }
}

void Confusion::add(std::span<const double> counts) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += static_cast<int64_t>(counts[i]);
}

int64_t Confusion::labelled(int c) const {
  int64_t sum = 0;
  for (int p = 0; p < classes_; ++p) sum += count(c, p);
  return sum;
}

int64_t Confusion::predicted(int c) const {
  int64_t sum = 0;
  for (int l = 0; l < classes_; ++l) sum += count(l, c);
  return sum;
}

double Confusion::pixel_accuracy() const {
  int64_t right = 0, all = 0;
  for (int c = 0; c < classes_; ++c) {
    right += count(c, c);
    all += labelled(c);
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

double Confusion::class_accuracy() const {
  double sum = 0;
  int occurring = 0;
  for (int c = 0; c < classes_; ++c) {
    if (labelled(c) == 0) continue;
    sum += static_cast<double>(count(c, c)) / static_cast<double>(labelled(c));
    ++occurring;
  }
  return sum / occurring;
}

double Confusion::mean_iou() const {
  double sum = 0;
  int occurring = 0;
  for (int c = 0; c < classes_; ++c) {
    const int64_t either = labelled(c) + predicted(c) - count(c, c);
    if (either == 0) continue;
    sum += static_cast<double>(count(c, c)) / static_cast<double>(either);
    ++occurring;
  }
  return sum / occurring;
}

}  // namespace asap::train
