// Image and LabelMap: construction, cropping, mirroring and the float forms. See image.h; next: image_files.cpp.
#include "train/pictures/image.h"

#include <algorithm>

#include "tensor/error.h"
#include "tensor/picture_value.h"

namespace asap::train {

Image::Image(int width_, int height_, int channels_, uint8_t fill) : width(width_), height(height_), channels(channels_) {
  ASAP_CHECK(width > 0 && height > 0 && channels > 0, "Image: expected a positive size, got ", width, "x", height, " with ",
             channels, " channels");
  pixels.assign(size_t(width) * height * channels, fill);
}

LabelMap::LabelMap(int width_, int height_, int32_t fill) : width(width_), height(height_) {
  ASAP_CHECK(width > 0 && height > 0, "LabelMap: expected a positive size, got ", width, "x", height);
  values.assign(size_t(width) * height, fill);
}

void check_picture_size(int64_t width, int64_t height, const std::string& name) {
  ASAP_CHECK(width > 0 && height > 0, name, ": expected a picture, found one of ", width, "x", height, " pixels");
  ASAP_CHECK(width <= kMaxSide && height <= kMaxSide && width <= kMaxPixels / height, name, ": expected a picture of at most ",
             kMaxPixels, " pixels and ", kMaxSide, " a side, found ", width, "x", height,
             " (if the file is not simply damaged, scale it down first)");
}

std::string size_text(int width, int height) { return str(width, "x", height); }

namespace {

void check_window(int x, int y, int width, int height, int whole_width, int whole_height) {
  ASAP_CHECK(x >= 0 && y >= 0 && width > 0 && height > 0 && width <= whole_width - x && height <= whole_height - y,
             "crop: expected a window inside ", size_text(whole_width, whole_height), ", got ", size_text(width, height),
             " at (", x, ", ", y, ")");
}

}  // namespace

Image crop(const Image& image, int x, int y, int width, int height) {
  check_window(x, y, width, height, image.width, image.height);
  Image out(width, height, image.channels);
  for (int r = 0; r < height; ++r)
    std::copy_n(image.row(y + r) + size_t(x) * image.channels, size_t(width) * image.channels, out.row(r));
  return out;
}

LabelMap crop(const LabelMap& labels, int x, int y, int width, int height) {
  check_window(x, y, width, height, labels.width, labels.height);
  LabelMap out(width, height);
  for (int r = 0; r < height; ++r) std::copy_n(labels.row(y + r) + x, width, out.row(r));
  return out;
}

void flip_horizontally(Image& image) {
  const int channels = image.channels;
  for (int y = 0; y < image.height; ++y) {
    uint8_t* left = image.row(y);
    uint8_t* right = left + size_t(image.width - 1) * channels;
    for (; left < right; left += channels, right -= channels) std::swap_ranges(left, left + channels, right);
  }
}

void flip_horizontally(LabelMap& labels) {
  for (int y = 0; y < labels.height; ++y) std::reverse(labels.row(y), labels.row(y) + labels.width);
}

void image_to_floats(const Image& image, float* chw) {
  const size_t plane = size_t(image.width) * image.height;
  float table[256];
  for (int v = 0; v < 256; ++v) table[v] = (float(v) / 255.0f - 0.5f) / 0.5f;
  for (int c = 0; c < image.channels; ++c) {
    const uint8_t* in = image.pixels.data() + c;
    float* out = chw + c * plane;
    for (size_t i = 0; i < plane; ++i) out[i] = table[in[i * image.channels]];
  }
}

Image image_from_floats(const float* chw, int channels, int height, int width) {
  Image image(width, height, channels);
  const size_t plane = size_t(width) * height;
  for (int c = 0; c < channels; ++c) {
    const float* in = chw + c * plane;
    uint8_t* out = image.pixels.data() + c;
    for (size_t i = 0; i < plane; ++i) {
      out[i * channels] = picture_value(in[i]);
    }
  }
  return image;
}

}  // namespace asap::train
