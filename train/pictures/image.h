// Plain pictures in memory: Image (8-bit, interleaved) and LabelMap (one integer a pixel), and their float forms.
// Nothing here reads files. Next: image_files.h, resize.h, data/load_sample.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace asap::train {

// An 8-bit picture, pixels in HWC order (for RGB: r g b r g b ...), rows top to bottom.
struct Image {
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int width, int height, int channels, uint8_t fill = 0);  // asap::Error unless all are positive

  bool empty() const { return pixels.empty(); }
  uint8_t* row(int y) { return pixels.data() + size_t(y) * width * channels; }
  const uint8_t* row(int y) const { return pixels.data() + size_t(y) * width * channels; }
  uint8_t& at(int x, int y, int c) { return row(y)[size_t(x) * channels + c]; }
  uint8_t at(int x, int y, int c) const { return row(y)[size_t(x) * channels + c]; }
  bool operator==(const Image&) const = default;
};

// Class indices or instance numbers, [height][width].
struct LabelMap {
  int width = 0, height = 0;
  std::vector<int32_t> values;

  LabelMap() = default;
  LabelMap(int width, int height, int32_t fill = 0);  // asap::Error unless both are positive

  bool empty() const { return values.empty(); }
  int32_t* row(int y) { return values.data() + size_t(y) * width; }
  const int32_t* row(int y) const { return values.data() + size_t(y) * width; }
  int32_t& at(int x, int y) { return row(y)[x]; }
  int32_t at(int x, int y) const { return row(y)[x]; }
  bool operator==(const LabelMap&) const = default;
};

// Larger pictures are refused before anything is allocated for them: 100 million pixels, e.g. 10000x10000, and sides of 65535.
inline constexpr int64_t kMaxPixels = 100'000'000, kMaxSide = 65535;
// asap::Error starting with `name` unless both sides are 1 to kMaxSide and there are at most kMaxPixels pixels.
void check_picture_size(int64_t width, int64_t height, const std::string& name);

// Label maps have up to 16 bits.
inline constexpr int kMostClasses = 65536;

// "WIDTHxHEIGHT", for messages.
std::string size_text(int width, int height);

// Columns [x, x+width), rows [y, y+height); asap::Error unless they lie inside.
Image crop(const Image& image, int x, int y, int width, int height);
LabelMap crop(const LabelMap& labels, int x, int y, int width, int height);

// Mirrors left and right in place.
void flip_horizontally(Image& image);
void flip_horizontally(LabelMap& labels);

// 8-bit HWC -> float CHW in [-1, 1]: (v/255 - 0.5) / 0.5. `chw` holds channels*height*width floats.
void image_to_floats(const Image& image, float* chw);

// Float CHW in [-1, 1] -> 8-bit HWC: (y + 1) / 2 * 255, clipped to [0, 255], fraction cut off (NaN becomes 0).
Image image_from_floats(const float* chw, int channels, int height, int width);

}  // namespace asap::train
