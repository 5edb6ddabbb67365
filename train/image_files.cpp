// Tells the formats apart, decodes each with libpng (PNG) or stb_image (JPEG, BMP) and words the errors. See image_files.h.
#include "train/image_files.h"

#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <memory>

#include "tensor/error.h"
#include "train/files.h"
#include "train/jpeg_check.h"
#include "train/png.h"

namespace asap::train {
namespace {

using Bytes = std::span<const uint8_t>;

enum class Format { png, jpeg, bmp, other };

bool starts_with(Bytes file, std::string_view magic) {
  return file.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), file.begin(), [](char a, uint8_t b) { return uint8_t(a) == b; });
}

Format format_of(Bytes file) {
  if (starts_with(file, "\x89PNG\r\n\x1a\n")) return Format::png;
  if (starts_with(file, "\xff\xd8\xff")) return Format::jpeg;
  if (starts_with(file, "BM")) return Format::bmp;
  return Format::other;
}

// What an unknown file seems to be, for the error sentence.
std::string describe(Bytes file) {
  if (starts_with(file, "GIF8")) return "a GIF";
  if (starts_with(file, "RIFF")) return "a WebP or another RIFF file";
  if (starts_with(file, std::string_view("II*\0", 4)) || starts_with(file, std::string_view("MM\0*", 4))) return "a TIFF";
  if (starts_with(file, "version https://git-lfs")) return "a Git LFS pointer (the real file was not fetched)";
  const auto head = file.first(std::min<size_t>(file.size(), 64));
  const bool text = std::all_of(head.begin(), head.end(),
                                [](uint8_t c) { return (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t'; });
  return text ? "text" : "unknown data";
}

// stb_image's reasons are two-word codes ("bad huffman"); they stand in brackets behind our sentence.
Image decode_stb(Bytes file, const std::string& name, const char* kind) {
  ASAP_CHECK(file.size() <= size_t(INT32_MAX), name, ": expected a file below 2 GiB, found ", file.size(), " bytes");
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(file.data(), int(file.size()), &width, &height, &channels))
    fail(name, ": this ", kind, " is damaged or of an unsupported kind (", stbi_failure_reason(), ")");
  check_picture_size(width, height, name);
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(file.data(), int(file.size()), &width, &height, &channels, 3), stbi_image_free);
  if (!pixels) fail(name, ": this ", kind, " is damaged (", stbi_failure_reason(), ")");
  Image image(width, height, 3);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.data());
  return image;
}

LabelMap decode_index_map(Bytes file, const std::string& name, int max_bits, const std::string& what) {
  switch (format_of(file)) {
    case Format::png: return decode_png_indices(file, name, max_bits, what);
    case Format::jpeg: fail(name, ": expected ", what, " as PNG, found a JPEG (its compression changes the values)");
    case Format::bmp: fail(name, ": expected ", what, " as PNG, found a BMP");
    default: fail(name, ": expected ", what, " as PNG, found ", describe(file));
  }
}

}  // namespace

void check_picture_size(int64_t width, int64_t height, const std::string& name) {
  ASAP_CHECK(width > 0 && height > 0, name, ": expected a picture, found one of ", width, "x", height, " pixels");
  ASAP_CHECK(width <= kMaxPixels / height, name, ": expected a picture of at most ", kMaxPixels, " pixels, found ", width, "x",
             height, " (if the file is not simply damaged, scale it down first)");
}

Image read_photo(const std::filesystem::path& path) { return decode_photo(read_file(path), path.string()); }

Image decode_photo(Bytes file, const std::string& name) {
  switch (format_of(file)) {
    case Format::png: return decode_png_rgb(file, name);
    case Format::bmp: return decode_stb(file, name, "BMP");
    case Format::jpeg: check_jpeg(file, name); return decode_stb(file, name, "JPEG");
    default: fail(name, ": expected a JPEG, PNG or BMP picture, found ", describe(file));
  }
}

LabelMap read_label_png(const std::filesystem::path& path) {
  return decode_index_map(read_file(path), path.string(), 8, "a label map");
}

LabelMap read_instance_png(const std::filesystem::path& path) {
  return decode_index_map(read_file(path), path.string(), 16, "an instance map");
}

void write_png(const std::filesystem::path& path, const Image& image) { write_file(path, encode_png(image, path.string())); }

void write_label_png(const std::filesystem::path& path, const LabelMap& labels, std::span<const uint8_t> palette) {
  write_file(path, encode_png_palette(labels, palette, path.string()));
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  ASAP_CHECK(image.channels == 1 || image.channels == 3, path.string(),
             ": expected a picture of 1 or 3 channels to write as JPEG, came ", image.channels);
  ASAP_CHECK(quality >= 1 && quality <= 100, path.string(), ": expected a JPEG quality of 1 to 100, came ", quality);
  ASAP_CHECK(image.width <= 65535 && image.height <= 65535, path.string(),
             ": expected at most 65535 pixels a side for JPEG, came ", size_text(image.width, image.height));
  std::vector<uint8_t> file;
  const auto append = [](void* out, void* data, int size) {
    const auto* bytes = static_cast<uint8_t*>(data);
    auto& to = *static_cast<std::vector<uint8_t>*>(out);
    to.insert(to.end(), bytes, bytes + size);
  };
  if (!stbi_write_jpg_to_func(append, &file, image.width, image.height, image.channels, image.pixels.data(), quality))
    fail(path.string(), ": JPEG encoding failed");
  write_file(path, file);
}

std::vector<uint8_t> png_to_memory(const Image& image) { return encode_png(image, "png_to_memory"); }

std::string base64(Bytes bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = uint32_t(bytes[i]) << 16;
    if (n > 1) group |= uint32_t(bytes[i + 1]) << 8;
    if (n > 2) group |= bytes[i + 2];
    for (size_t digit = 0; digit < 4; ++digit) text += digit <= n ? kDigits[group >> (18 - 6 * digit) & 63] : '=';
  }
  return text;
}

std::string png_data_uri(const Image& image) { return "data:image/png;base64," + base64(png_to_memory(image)); }

}  // namespace asap::train
