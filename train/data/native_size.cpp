// Declared in native_size.h.
#include "train/data/native_size.h"

#include <algorithm>

namespace asap::train {
namespace {

// Reflection needs a second row to mirror; without it, instance normalisation needs a second tile anywhere.
int64_t least_tiles(const asapnet::Config& config) { return config.reflection_pad ? 2 : 1; }

// Where pixel `i` of a line of `n`, continued by its mirror image again and again, comes from.
int mirrored(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1), at = i % period;
  return at < n ? at : period - at;
}

template <class Picture, class Copy>
void extend(Picture& out, int from_width, int from_height, const Copy& copy) {
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) copy(x, y, mirrored(x, from_width), mirrored(y, from_height));
  }
}

LabelMap extended(const LabelMap& map, int width, int height) {
  LabelMap out(width, height);
  extend(out, map.width, map.height,
         [&](int x, int y, int from_x, int from_y) { out.at(x, y) = map.at(from_x, from_y); });
  return out;
}

Image extended(const Image& image, int width, int height) {
  Image out(width, height, image.channels);
  extend(out, image.width, image.height, [&](int x, int y, int from_x, int from_y) {
    for (int c = 0; c < image.channels; ++c) out.at(x, y, c) = image.at(from_x, from_y, c);
  });
  return out;
}

}  // namespace

void check_network_size(const asapnet::Config& config, int64_t height, int64_t width, const std::string& what) {
  const int64_t tile = config.tile(), least = least_tiles(config) * tile;
  const bool one_tile = width <= tile && height <= tile;
  ASAP_CHECK(width >= least && height >= least && !one_tile, what, ": ", width, "x", height,
             " is too small for this model, whose tiles have ", tile, " pixels a side; it takes at least ",
             std::max(least, one_tile ? 2 * tile : least), "x", least);
  config.check_size(height, width, what);
}

void extend_to_tiles(const asapnet::Config& config, const std::string& what, Sample& sample) {
  const int64_t tile = config.tile(), least = least_tiles(config) * tile;
  const auto up = [&](int64_t side) { return std::max(least, (side + tile - 1) / tile * tile); };
  const int64_t height = up(sample.height());
  int64_t width = up(sample.width());
  if (width == tile && height == tile) width *= 2;
  if (width == sample.width() && height == sample.height()) return;
  check_picture_size(width, height, what + ", extended to tiles of " + std::to_string(tile) + " pixels");
  const int w = static_cast<int>(width), h = static_cast<int>(height);
  if (!sample.label.empty()) sample.label = extended(sample.label, w, h);
  if (!sample.label_rgb.empty()) sample.label_rgb = extended(sample.label_rgb, w, h);
  if (!sample.instance.empty()) sample.instance = extended(sample.instance, w, h);
}

}  // namespace asap::train
