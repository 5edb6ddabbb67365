// The header of a BMP and its rows of indices; other pixels come from stb_image. See bmp.h.
// Source: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER).
#include "train/pictures/bmp.h"

// Compiled here, and with the only format used.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#include <stb_image.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tensor/error.h"
#include "train/pictures/label_values.h"

namespace asap::train {
namespace {

using Bytes = std::span<const uint8_t>;

struct Header {
  int width = 0, height = 0, bits = 0;
  bool top_down = false, compressed = false;
  size_t pixels = 0, row_bytes = 0;  // where they begin; rows are padded to four bytes
};

Header header_of(Bytes file, const std::string& name) {
  const auto at = [&](size_t offset, size_t size) {
    if (offset + size > file.size()) fail(name, ": this BMP is cut off after ", file.size(), " bytes");
    uint32_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | file[offset + i];
    return value;
  };
  const bool core = at(14, 4) == 12;  // the old header: 16-bit sizes
  const int64_t width = core ? int64_t(at(18, 2)) : int32_t(at(18, 4));
  const int64_t height = core ? int64_t(at(20, 2)) : int32_t(at(22, 4));  // below 0: from top to bottom
  check_picture_size(width, std::abs(height), name);
  Header h{
      .width = int(width), .height = int(std::abs(height)), .bits = int(at(core ? 24 : 28, 2)), .top_down = height < 0};
  const uint32_t compression = core ? 0 : at(30, 4);
  h.compressed = compression != 0 && compression != 3;  // 3: uncompressed with bit masks
  h.pixels = at(10, 4);
  h.row_bytes = (size_t(h.width) * size_t(h.bits) + 31) / 32 * 4;
  if (h.compressed) fail(name, ": this BMP is compressed, which is not supported; save it uncompressed or as PNG");
  const size_t whole = h.pixels + h.row_bytes * size_t(h.height);
  ASAP_CHECK(whole <= file.size(), name, ": this BMP is cut off or damaged: ", size_text(h.width, h.height),
             " pixels of ", h.bits, " bits need ", whole, " bytes, found ", file.size());
  return h;
}

}  // namespace

// stb_image's reasons are two-word codes ("bad BMP"); they stand in brackets behind our sentence.
Image decode_bmp_rgb(Bytes file, const std::string& name) {
  header_of(file, name);
  ASAP_CHECK(file.size() <= size_t(INT32_MAX), name, ": expected a file below 2 GiB, found ", file.size(), " bytes");
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(file.data(), int(file.size()), &width, &height, &channels, 3), stbi_image_free);
  if (!pixels) fail(name, ": this BMP is damaged or of an unsupported kind (", stbi_failure_reason(), ")");
  Image image(width, height, 3);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.data());
  return image;
}

LabelMap decode_bmp_values(Bytes file, const std::string& name, const std::string& what) {
  const Header h = header_of(file, name);
  if (h.bits > 8) {
    ASAP_CHECK(h.bits != 16, name, ": expected ", what,
               ", found a BMP of 16 bits a pixel, whose values are rounded; save it as PNG");
    const Image image = decode_bmp_rgb(file, name);
    return gray_values(
        image.width, image.height, 3, [&](size_t i) { return image.pixels[i]; }, name, what);
  }
  ASAP_CHECK(h.bits == 1 || h.bits == 4 || h.bits == 8, name, ": this BMP is damaged (", h.bits, " bits a pixel)");
  LabelMap map(h.width, h.height);
  for (int y = 0; y < h.height; ++y) {
    const Bytes row = file.subspan(h.pixels + h.row_bytes * size_t(h.top_down ? y : h.height - 1 - y), h.row_bytes);
    for (int x = 0; x < h.width; ++x) {
      const int bit = x * h.bits;  // the first pixel is in the highest bits
      map.at(x, y) = row[size_t(bit / 8)] >> (8 - h.bits - bit % 8) & ((1 << h.bits) - 1);
    }
  }
  return map;
}

}  // namespace asap::train
