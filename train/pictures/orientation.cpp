// The EXIF reader for one tag, and the eight ways to turn a picture. See orientation.h.
#include "train/pictures/orientation.h"

#include <algorithm>
#include <string_view>

namespace asap::train {
namespace {

// Numbers of an EXIF block in its byte order; 0 beyond its end.
struct Numbers {
  std::span<const uint8_t> bytes;
  bool big_endian = false;

  uint32_t at(size_t offset, size_t size) const {
    uint32_t value = 0;
    if (offset > bytes.size() || size > bytes.size() - offset) return 0;
    for (size_t i = 0; i < size; ++i) value = value << 8 | bytes[offset + (big_endian ? i : size - 1 - i)];
    return value;
  }
};

// Calls copy(to, from) with the index of every pixel of the upright picture and of its source, width x height.
template <class Copy>
void for_each_pixel(int width, int height, int orientation, Copy&& copy) {
  const bool swap = lies_on_its_side(orientation);
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int out_width = swap ? height : width, out_height = swap ? width : height;
  size_t to = 0;
  for (int y = 0; y < out_height; ++y)
    for (int x = 0; x < out_width; ++x) {
      const int across = swap ? y : x, down = swap ? x : y;
      const int from_x = mirror_x ? width - 1 - across : across, from_y = mirror_y ? height - 1 - down : down;
      copy(to++, size_t(from_y) * width + from_x);
    }
}

template <class Picture>
Picture turned_sides(const Picture& picture, int orientation) {
  Picture out = picture;
  if (lies_on_its_side(orientation)) std::swap(out.width, out.height);
  return out;
}

}  // namespace

int exif_orientation(std::span<const uint8_t> exif) {
  constexpr std::string_view kHeading("Exif\0\0", 6);
  if (exif.size() >= kHeading.size() && std::equal(kHeading.begin(), kHeading.end(), exif.begin()))
    exif = exif.subspan(kHeading.size());
  Numbers numbers{exif};
  if (numbers.at(0, 2) == 0x4d4d) numbers.big_endian = true;  // "MM", else "II"
  if ((!numbers.big_endian && numbers.at(0, 2) != 0x4949) || numbers.at(2, 2) != 42) return 1;
  const size_t folder = numbers.at(4, 4);
  const uint32_t entries = numbers.at(folder, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = folder + 2 + 12 * size_t(i);
    if (entry >= exif.size()) break;
    if (numbers.at(entry, 2) != 0x0112) continue;
    const uint32_t type = numbers.at(entry + 2, 2), count = numbers.at(entry + 4, 4);
    const size_t size = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;  // byte, short or long
    const uint32_t value = size && count == 1 ? numbers.at(entry + 8, size) : 0;
    return value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

Image turned_upright(Image picture, int orientation) {
  if (orientation == 1) return picture;
  Image out = turned_sides(picture, orientation);
  const int channels = picture.channels;
  for_each_pixel(picture.width, picture.height, orientation, [&](size_t to, size_t from) {
    std::copy_n(&picture.pixels[from * channels], channels, &out.pixels[to * channels]);
  });
  return out;
}

LabelMap turned_upright(LabelMap picture, int orientation) {
  if (orientation == 1) return picture;
  LabelMap out = turned_sides(picture, orientation);
  for_each_pixel(picture.width, picture.height, orientation,
                 [&](size_t to, size_t from) { out.values[to] = picture.values[from]; });
  return out;
}

}  // namespace asap::train
