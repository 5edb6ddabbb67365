// The two-pass fixed-point bicubic filter and the nearest-neighbour lookup. See resize.h.
#include "train/pictures/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tensor/error.h"

namespace asap::train {
namespace {

// Weights are integers scaled by 2^22: 32 bits, less 8 for the pixel and 2 for the overshoot of a bicubic sum.
constexpr int kWeightBits = 32 - 8 - 2;
constexpr double kSupport = 2.0;

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// For each output position: the first source position, the number of taps, and their weights.
struct Taps {
  int most = 0;  // weights reserved per output position
  std::vector<int> first, count;
  std::vector<int32_t> weights;  // [output][most]
  const int32_t* of(int i) const { return weights.data() + size_t(i) * most; }
};

Taps make_taps(int in_size, int out_size) {
  const double scale = double(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);  // widen the filter when shrinking, never narrow it
  const double support = kSupport * stretch;
  Taps taps;
  taps.most = int(std::ceil(support)) * 2 + 1;
  taps.first.resize(out_size);
  taps.count.resize(out_size);
  taps.weights.assign(size_t(out_size) * taps.most, 0);
  std::vector<double> exact(taps.most);
  for (int i = 0; i < out_size; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(0, int(center - support + 0.5));
    const int end = std::min(in_size, int(center + support + 0.5));
    double total = 0;
    for (int t = 0; t < end - first; ++t) total += exact[t] = cubic((t + first - center + 0.5) * (1.0 / stretch));
    int32_t* out = taps.weights.data() + size_t(i) * taps.most;
    for (int t = 0; t < end - first; ++t) {
      const double w = (total != 0 ? exact[t] / total : exact[t]) * (1 << kWeightBits);
      out[t] = int32_t(w < 0 ? w - 0.5 : w + 0.5);
    }
    taps.first[i] = first;
    taps.count[i] = end - first;
  }
  return taps;
}

uint8_t to_pixel(int32_t sum) { return uint8_t(std::clamp(sum >> kWeightBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// Along rows: the channels of a pixel share its taps, C of them are summed at once.
template <int C>
void filter_row(const uint8_t* in, const Taps& taps, int out_width, uint8_t* out) {
  for (int x = 0; x < out_width; ++x) {
    const int32_t* w = taps.of(x);
    const uint8_t* p = in + size_t(taps.first[x]) * C;
    int32_t sum[C];
    for (int c = 0; c < C; ++c) sum[c] = kHalf;
    for (int t = 0; t < taps.count[x]; ++t, p += C)
      for (int c = 0; c < C; ++c) sum[c] += w[t] * p[c];
    for (int c = 0; c < C; ++c) *out++ = to_pixel(sum[c]);
  }
}

// The same for RGB, three channels (and a byte that is dropped) in one vector. In AVX2's code, as x86-64's first vector instructions
// multiply no 32-bit numbers.
#if defined(__x86_64__)
[[gnu::target("avx2")]] void filter_rgb_row_avx2(const uint8_t* in, const Taps& taps, int out_width, uint8_t* out) {
  for (int x = 0; x < out_width; ++x) {
    const int32_t* w = taps.of(x);
    const uint8_t* p = in + size_t(taps.first[x]) * 3;
    __m128i sum = _mm_set1_epi32(kHalf);
    for (int t = 0; t < taps.count[x]; ++t, p += 3) {
      int32_t pixel;
      std::memcpy(&pixel, p, sizeof pixel);
      sum = _mm_add_epi32(sum, _mm_mullo_epi32(_mm_set1_epi32(w[t]), _mm_cvtepu8_epi32(_mm_cvtsi32_si128(pixel))));
    }
    sum = _mm_srai_epi32(sum, kWeightBits);
    const __m128i clamped = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
    const int32_t rgb = _mm_cvtsi128_si32(clamped);
    std::memcpy(out + size_t(x) * 3, &rgb, 3);
  }
}
const bool kAvx2 = __builtin_cpu_supports("avx2");
#else
void filter_rgb_row_avx2(const uint8_t*, const Taps&, int, uint8_t*) {}
constexpr bool kAvx2 = false;
#endif

Image filter_rows(const Image& image, int width) {
  const Taps taps = make_taps(image.width, width);
  Image out(width, image.height, image.channels);
  for (int y = 0; y < image.height; ++y) {
    if (kAvx2 && image.channels == 3 && y + 1 < image.height) {  // below the last row there is no byte to drop
      filter_rgb_row_avx2(image.row(y), taps, width, out.row(y));
      continue;
    }
    switch (image.channels) {
      case 1: filter_row<1>(image.row(y), taps, width, out.row(y)); break;
      case 2: filter_row<2>(image.row(y), taps, width, out.row(y)); break;
      case 3: filter_row<3>(image.row(y), taps, width, out.row(y)); break;
      default: filter_row<4>(image.row(y), taps, width, out.row(y));
    }
  }
  return out;
}

// Along columns: whole rows are added up, each scaled by its weight, which the compiler turns into vector code.
Image filter_columns(const Image& image, int height) {
  const Taps taps = make_taps(image.height, height);
  Image out(image.width, height, image.channels);
  const int n = image.width * image.channels;
  std::vector<int32_t> sums(n);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int t = 0; t < taps.count[y]; ++t) {
      const int32_t w = taps.of(y)[t];
      const uint8_t* in = image.row(taps.first[y] + t);
      for (int i = 0; i < n; ++i) sums[i] += w * in[i];
    }
    uint8_t* to = out.row(y);
    for (int i = 0; i < n; ++i) to[i] = to_pixel(sums[i]);
  }
  return out;
}

void check_sizes(int from_width, int from_height, int width, int height) {
  ASAP_CHECK(from_width > 0 && from_height > 0, "resize: expected a picture, got an empty one");
  ASAP_CHECK(width > 0 && height > 0, "resize: expected a positive size, got ", size_text(width, height), " for a picture of ",
             size_text(from_width, from_height));
}

// Pillow steps through the source by adding the scale up; computing (i + 0.5) * scale instead rounds differently at some ties.
std::vector<int> nearest_sources(int in_size, int out_size) {
  const double scale = double(in_size) / out_size;
  std::vector<int> source(out_size);
  double position = scale * 0.5;
  for (int& s : source) {
    s = std::min(int(position), in_size - 1);
    position += scale;
  }
  return source;
}

}  // namespace

Image resize_bicubic(const Image& image, int width, int height) {
  check_sizes(image.width, image.height, width, height);
  ASAP_CHECK(image.channels <= 4, "resize_bicubic: expected 1 to 4 channels, got ", image.channels);
  if (image.width == width) return image.height == height ? image : filter_columns(image, height);
  const Image narrow = filter_rows(image, width);
  return narrow.height == height ? narrow : filter_columns(narrow, height);
}

LabelMap resize_nearest(const LabelMap& labels, int width, int height) {
  check_sizes(labels.width, labels.height, width, height);
  const auto columns = nearest_sources(labels.width, width), rows = nearest_sources(labels.height, height);
  LabelMap out(width, height);
  for (int y = 0; y < height; ++y) {
    const int32_t* in = labels.row(rows[y]);
    int32_t* to = out.row(y);
    for (int x = 0; x < width; ++x) to[x] = in[columns[x]];
  }
  return out;
}

}  // namespace asap::train
