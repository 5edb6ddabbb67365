// libtiff behind two functions: samples are read as they are stored, in strips or tiles, interleaved or in planes, and turned
// into RGB or numbers here, since libtiff's own RGBA reader multiplies colours by alpha. See tiff.h.
#include "train/pictures/tiff.h"

#include <tiffio.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tensor/error.h"
#include "train/pictures/label_values.h"

namespace asap::train {
namespace {

constexpr tmsize_t kLargestTile = 1 << 28;  // bytes

// The file in memory, as libtiff reads it, with the last of its messages.
struct Reader {
  std::span<const uint8_t> file;
  const std::string& name;
  uint64_t position = 0;
  std::array<char, 256> message{};
  TIFF* tiff = nullptr;

  Reader(std::span<const uint8_t> bytes, const std::string& name_) : file(bytes), name(name_) {
    static const bool quiet = [] {  // handlers are the process's; each message finds its reader by the handle
      TIFFSetWarningHandler(nullptr);
      TIFFSetErrorHandler(nullptr);
      TIFFSetErrorHandlerExt([](thandle_t handle, const char*, const char* format, va_list values) {
        if (!handle) return;
        auto& text = static_cast<Reader*>(handle)->message;
        std::vsnprintf(text.data(), text.size(), format, values);
      });
      return true;
    }();
    static_cast<void>(quiet);
    tiff = TIFFClientOpen(
        "", "rm", this,
        [](thandle_t handle, void* out, tmsize_t size) {
          auto& self = *static_cast<Reader*>(handle);
          const uint64_t left = self.file.size() - std::min<uint64_t>(self.position, self.file.size());
          const uint64_t count = std::min<uint64_t>(left, uint64_t(size));
          if (count) std::memcpy(out, self.file.data() + self.position, count);
          self.position += count;
          return tmsize_t(count);
        },
        [](thandle_t, void*, tmsize_t) { return tmsize_t(0); },
        [](thandle_t handle, toff_t offset, int from) {
          auto& self = *static_cast<Reader*>(handle);
          const uint64_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? self.position : self.file.size();
          return self.position = base + offset;
        },
        [](thandle_t) { return 0; }, [](thandle_t handle) { return toff_t(static_cast<Reader*>(handle)->file.size()); },
        nullptr, nullptr);
    if (!tiff) damaged();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (tiff) TIFFClose(tiff);
  }

  [[noreturn]] void damaged() const { fail(name, ": this TIFF is damaged or cut off (", message.data(), ")"); }
  [[noreturn]] void unsupported(const std::string& kind) const {
    fail(name, ": this TIFF has ", kind, ", which is not supported; save it as PNG");
  }
};

struct Header {
  uint32_t width = 0, height = 0;
  uint16_t bits = 1, samples = 1, photometric = 0, planes = PLANARCONFIG_CONTIG, format = SAMPLEFORMAT_UINT,
           compression = 1;
  int orientation = 1;
  int colours() const { return photometric == PHOTOMETRIC_RGB ? 3 : 1; }
};

Header header_of(Reader& r) {
  Header h;
  TIFF* t = r.tiff;
  TIFFGetField(t, TIFFTAG_IMAGEWIDTH, &h.width);
  TIFFGetField(t, TIFFTAG_IMAGELENGTH, &h.height);
  check_picture_size(h.width, h.height, r.name);
  TIFFGetFieldDefaulted(t, TIFFTAG_BITSPERSAMPLE, &h.bits);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLESPERPIXEL, &h.samples);
  TIFFGetFieldDefaulted(t, TIFFTAG_PLANARCONFIG, &h.planes);
  TIFFGetFieldDefaulted(t, TIFFTAG_SAMPLEFORMAT, &h.format);
  TIFFGetFieldDefaulted(t, TIFFTAG_COMPRESSION, &h.compression);
  if (!TIFFGetField(t, TIFFTAG_PHOTOMETRIC, &h.photometric)) r.damaged();
  uint16_t orientation = 1;
  TIFFGetFieldDefaulted(t, TIFFTAG_ORIENTATION, &orientation);
  if (orientation >= 1 && orientation <= 8) h.orientation = orientation;
  if (h.photometric == PHOTOMETRIC_YCBCR && h.compression == COMPRESSION_JPEG) {
    TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    h.photometric = PHOTOMETRIC_RGB;
  }
  const bool known = h.photometric == PHOTOMETRIC_RGB || h.photometric == PHOTOMETRIC_PALETTE ||
                     h.photometric == PHOTOMETRIC_MINISBLACK || h.photometric == PHOTOMETRIC_MINISWHITE;
  if (!known) r.unsupported(str("a colour space other than gray, palette and RGB (", h.photometric, ")"));
  if (h.format != SAMPLEFORMAT_UINT && h.format != SAMPLEFORMAT_VOID)
    r.unsupported("numbers that are signed or not whole");
  const bool whole = h.bits == 8 || h.bits == 16, packed = h.bits == 1 || h.bits == 2 || h.bits == 4;
  if (!whole && !(packed && h.samples == 1)) r.unsupported(str(h.bits, " bits a channel"));
  if (h.samples < h.colours() || h.samples > 16) r.unsupported(str(h.samples, " channels"));
  return h;
}

// The samples of the colours, interleaved; further channels (alpha) are passed over.
std::vector<uint16_t> read_samples(Reader& r, const Header& h) {
  TIFF* t = r.tiff;
  const bool separate = h.planes == PLANARCONFIG_SEPARATE && h.samples > 1;
  const size_t stored = separate ? 1 : h.samples,
               colours = size_t(h.colours());  // stored: channels side by side in a row
  std::vector<uint16_t> samples(size_t(h.width) * h.height * colours);
  const auto put = [&](const uint8_t* row, size_t x, size_t y, size_t pixels, size_t plane) {
    for (size_t i = 0; i < pixels * stored; ++i) {
      const size_t channel = plane + i % stored;
      if (channel >= colours) continue;
      uint16_t& value = samples[(y * h.width + x + i / stored) * colours + channel];
      if (h.bits == 16) {
        std::memcpy(&value, row + 2 * i, 2);  // libtiff gives the machine's byte order
      } else {
        const size_t bit = i * h.bits;
        value = uint16_t(row[bit / 8] >> (8 - h.bits - bit % 8) & ((1 << h.bits) - 1));
      }
    }
  };
  const bool tiled = TIFFIsTiled(t);
  uint32_t tile_width = h.width, tile_height = 1;
  if (tiled) {
    TIFFGetField(t, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(t, TIFFTAG_TILELENGTH, &tile_height);
  }
  const tmsize_t size = tiled ? TIFFTileSize(t) : TIFFScanlineSize(t);
  const size_t row_bytes = (size_t(tile_width) * stored * h.bits + 7) / 8;
  if (tile_width == 0 || tile_height == 0 || size <= 0 || size > kLargestTile || size_t(size) / tile_height < row_bytes)
    r.damaged();
  std::vector<uint8_t> buffer(static_cast<size_t>(size));
  for (size_t plane = 0; plane < (separate ? colours : 1); ++plane)
    for (uint32_t y = 0; y < h.height; y += tile_height)
      for (uint32_t x = 0; x < h.width; x += tile_width) {
        const bool read = tiled ? TIFFReadTile(t, buffer.data(), x, y, 0, uint16_t(plane)) == size
                                : TIFFReadScanline(t, buffer.data(), y, uint16_t(plane)) == 1;
        if (!read) r.damaged();
        for (uint32_t row = 0; row < std::min(tile_height, h.height - y); ++row)
          put(buffer.data() + row * row_bytes, x, y + row, std::min(tile_width, h.width - x), plane);
      }
  return samples;
}

// What each sample shows, 8 bits: RGB triples for a palette's indices, else one value.
std::vector<uint8_t> shown_colours(Reader& r, const Header& h) {
  const size_t count = size_t(1) << h.bits;
  std::vector<uint8_t> shown;
  if (h.photometric == PHOTOMETRIC_PALETTE) {
    std::array<uint16_t*, 3> map{};
    if (!TIFFGetField(r.tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2])) r.damaged();
    for (size_t i = 0; i < count; ++i)
      for (const uint16_t* channel : map) shown.push_back(uint8_t(channel[i] >> 8));
    return shown;
  }
  const bool inverted = h.photometric == PHOTOMETRIC_MINISWHITE;
  for (size_t i = 0; i < count; ++i) {
    const auto value = uint8_t(h.bits == 16 ? i >> 8 : i * 255 / (count - 1));
    shown.push_back(inverted ? uint8_t(255 - value) : value);
  }
  return shown;
}

bool is_lossless(uint16_t compression) {
  constexpr std::array kLossless{COMPRESSION_NONE, COMPRESSION_LZW,      COMPRESSION_DEFLATE, COMPRESSION_ADOBE_DEFLATE,
                                 COMPRESSION_ZSTD, COMPRESSION_PACKBITS, COMPRESSION_LZMA};
  return std::find(kLossless.begin(), kLossless.end(), int(compression)) != kLossless.end();
}

}  // namespace

Image decode_tiff_rgb(std::span<const uint8_t> file, const std::string& name, int& orientation) {
  Reader r(file, name);
  const Header h = header_of(r);
  const auto samples = read_samples(r, h);
  const auto shown = shown_colours(r, h);
  orientation = h.orientation;
  Image image(int(h.width), int(h.height), 3);
  const bool palette = h.photometric == PHOTOMETRIC_PALETTE, rgb = h.colours() == 3;
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const size_t sample = samples[rgb ? i : i / 3];
    image.pixels[i] = shown[palette ? 3 * sample + i % 3 : sample];
  }
  return image;
}

LabelMap decode_tiff_values(std::span<const uint8_t> file, const std::string& name, const std::string& what,
                            int& orientation) {
  Reader r(file, name);
  const Header h = header_of(r);
  ASAP_CHECK(is_lossless(h.compression), name, ": expected ", what, ", found a TIFF whose compression (", h.compression,
             ") changes the values; save it as PNG");
  ASAP_CHECK(h.photometric != PHOTOMETRIC_MINISWHITE, name, ": expected ", what,
             ", found a TIFF in which 0 is white, so that its numbers may be meant inverted; save it as PNG");
  const auto samples = read_samples(r, h);
  orientation = h.orientation;
  return gray_values(
      int(h.width), int(h.height), h.colours(), [&](size_t i) { return samples[i]; }, name, what);
}

}  // namespace asap::train
