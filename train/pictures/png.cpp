// libpng behind five functions. libpng reports errors by longjmp, which skips C++ destructors: so each function that
// calls setjmp holds only plain values, and everything with a destructor lives in its caller. See png.h.
#include "train/pictures/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>

#include "tensor/error.h"
#include "train/pictures/label_values.h"
#include "train/pictures/orientation.h"

namespace asap::train {
namespace {

void keep_message(png_structp png, png_const_charp message) {
  *static_cast<std::string*>(png_get_error_ptr(png)) = message;
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

struct Reader {
  std::span<const uint8_t> file;
  size_t position = 0;
  std::string message;
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit Reader(std::span<const uint8_t> bytes) : file(bytes) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message, keep_message, ignore_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) fail("libpng: cannot be started (", message, ")");
    png_set_read_fn(png, this, [](png_structp p, png_bytep out, size_t size) {
      auto* self = static_cast<Reader*>(png_get_io_ptr(p));
      if (size > self->file.size() - self->position) png_error(p, "the file ends too early");
      std::copy_n(self->file.data() + self->position, size, out);
      self->position += size;
    });
    // Nothing but pixels and orientation is wanted: texts and colour profiles, which a small file may inflate to gigabytes or
    // carry damaged, are passed over.
    static constexpr png_byte kUnwanted[] = "tEXt\0zTXt\0iTXt\0iCCP\0sPLT\0hIST";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kUnwanted, int(sizeof kUnwanted / 5));
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_picture_size gives the better sentence
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

bool read_header(Reader& r) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_read_info(r.png, r.info);
  return true;
}

// Sets the transforms that `rgb` needs, else those that unpack 1, 2 and 4 bit values; returns the bytes of a row, 0 on error.
size_t prepare(Reader& r, bool rgb) {
  if (setjmp(png_jmpbuf(r.png))) return 0;
  png_set_strip_alpha(r.png);
  if (rgb) {
    png_set_expand(r.png);
    png_set_strip_16(r.png);
    png_set_gray_to_rgb(r.png);
  } else {
    png_set_packing(r.png);
  }
  png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  return png_get_rowbytes(r.png, r.info);
}

bool read_rows(Reader& r, png_bytepp rows) {
  if (setjmp(png_jmpbuf(r.png))) return false;
  png_read_image(r.png, rows);
  png_read_end(r.png, r.info);  // an eXIf chunk may stand behind the pixels
  return true;
}

int orientation_of(Reader& r) {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  return png_get_eXIf_1(r.png, r.info, &size, &exif) ? exif_orientation({exif, size}) : 1;
}

struct Header {
  int width = 0, height = 0, channels = 0, bytes = 0;  // channels without alpha; bytes of a channel
};

Header header_of(Reader& r, const std::string& name) {
  if (!read_header(r)) fail(name, ": this PNG is damaged (", r.message, ")");
  const auto width = png_get_image_width(r.png, r.info), height = png_get_image_height(r.png, r.info);
  check_picture_size(width, height, name);
  const auto colour = png_get_color_type(r.png, r.info);
  const bool rgb = colour == PNG_COLOR_TYPE_RGB || colour == PNG_COLOR_TYPE_RGB_ALPHA;
  return {int(width), int(height), rgb ? 3 : 1, png_get_bit_depth(r.png, r.info) == 16 ? 2 : 1};
}

// All rows, `row_bytes` each.
std::vector<uint8_t> read_pixels(Reader& r, const Header& h, bool rgb, size_t row_bytes, const std::string& name) {
  const size_t found = prepare(r, rgb);
  if (found != row_bytes) fail(name, ": this PNG is damaged (", found ? "unexpected row size" : r.message, ")");
  std::vector<uint8_t> pixels(row_bytes * h.height);
  std::vector<png_bytep> rows(h.height);
  for (int y = 0; y < h.height; ++y) rows[y] = pixels.data() + row_bytes * y;
  if (!read_rows(r, rows.data())) fail(name, ": this PNG is damaged or cut off (", r.message, ")");
  return pixels;
}

struct Writer {
  std::vector<uint8_t> file;
  std::string message;
  png_structp png = nullptr;
  png_infop info = nullptr;

  Writer() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &message, keep_message, ignore_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) fail("libpng: cannot be started (", message, ")");
    png_set_write_fn(
        png, this,
        [](png_structp p, png_bytep data, size_t size) {
          auto& out = static_cast<Writer*>(png_get_io_ptr(p))->file;
          out.insert(out.end(), data, data + size);
        },
        nullptr);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() { png_destroy_write_struct(&png, &info); }
};

bool write_rows(Writer& w, int width, int height, int bits, int colour_type, png_const_colorp palette, int palette_size, png_bytepp rows) {
  if (setjmp(png_jmpbuf(w.png))) return false;
  png_set_IHDR(w.png, w.info, png_uint_32(width), png_uint_32(height), bits, colour_type, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (palette) png_set_PLTE(w.png, w.info, palette, palette_size);
  png_write_info(w.png, w.info);
  png_write_image(w.png, rows);
  png_write_end(w.png, w.info);
  return true;
}

}  // namespace

Image decode_png_rgb(std::span<const uint8_t> file, const std::string& name, int& orientation) {
  Reader r(file);
  const Header h = header_of(r, name);
  Image image;
  image.pixels = read_pixels(r, h, true, size_t(h.width) * 3, name);
  image.width = h.width;
  image.height = h.height;
  image.channels = 3;
  orientation = orientation_of(r);
  return image;
}

LabelMap decode_png_values(std::span<const uint8_t> file, const std::string& name, const std::string& what, int& orientation) {
  Reader r(file);
  const Header h = header_of(r, name);
  const auto pixels = read_pixels(r, h, false, size_t(h.width) * h.channels * h.bytes, name);
  orientation = orientation_of(r);
  if (h.bytes == 1) return gray_values(h.width, h.height, h.channels, [&](size_t i) { return pixels[i]; }, name, what);
  const auto wide = [&](size_t i) { return pixels[2 * i] << 8 | pixels[2 * i + 1]; };  // PNG is big-endian
  return gray_values(h.width, h.height, h.channels, wide, name, what);
}

std::vector<uint8_t> png_palette(std::span<const uint8_t> file, const std::string& name) {
  Reader r(file);
  header_of(r, name);
  png_colorp colours = nullptr;
  int count = 0;
  std::vector<uint8_t> palette;
  if (!png_get_PLTE(r.png, r.info, &colours, &count)) return palette;
  for (int i = 0; i < count; ++i) palette.insert(palette.end(), {colours[i].red, colours[i].green, colours[i].blue});
  return palette;
}

std::vector<uint8_t> encode_png(const Image& image, const std::string& name, int compression) {
  ASAP_CHECK(image.channels == 1 || image.channels == 3, name, ": expected a picture of 1 or 3 channels to write as PNG, got ",
             image.channels);
  Writer w;
  png_set_compression_level(w.png, compression);
  std::vector<png_bytep> rows(image.height);
  for (int y = 0; y < image.height; ++y) rows[y] = const_cast<png_bytep>(image.row(y));
  const int colour = image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  if (!write_rows(w, image.width, image.height, 8, colour, nullptr, 0, rows.data()))
    fail(name, ": PNG encoding failed (", w.message, ")");
  return std::move(w.file);
}

std::vector<uint8_t> encode_png_labels(const LabelMap& labels, std::span<const uint8_t> palette, const std::string& name) {
  const int colours = int(palette.size() / 3), bytes = colours <= 256 ? 1 : 2;
  ASAP_CHECK(palette.size() % 3 == 0 && colours >= 1 && colours <= kMostClasses, name, ": expected a palette of 1 to ",
             kMostClasses, " RGB triples, got ", palette.size(), " bytes");
  std::vector<uint8_t> samples(labels.values.size() * size_t(bytes));
  for (size_t i = 0; i < labels.values.size(); ++i) {
    const int32_t v = labels.values[i];
    ASAP_CHECK(v >= 0 && v < colours, name, ": expected label values 0 to ", colours - 1, " (one palette entry each), got ", v);
    if (bytes == 2) samples[2 * i] = uint8_t(v >> 8);  // PNG is big-endian
    samples[i * size_t(bytes) + size_t(bytes) - 1] = uint8_t(v);
  }
  std::vector<png_color> entries;
  for (int i = 0; bytes == 1 && i < colours; ++i) entries.push_back({palette[3 * i], palette[3 * i + 1], palette[3 * i + 2]});
  Writer w;
  std::vector<png_bytep> rows(labels.height);
  for (int y = 0; y < labels.height; ++y) rows[y] = samples.data() + size_t(y) * labels.width * bytes;
  const int colour = bytes == 1 ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY;
  if (!write_rows(w, labels.width, labels.height, 8 * bytes, colour, entries.empty() ? nullptr : entries.data(),
                  int(entries.size()), rows.data()))
    fail(name, ": PNG encoding failed (", w.message, ")");
  return std::move(w.file);
}

}  // namespace asap::train
