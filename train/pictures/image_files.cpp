// Tells the formats apart, has each decoded, turns the result upright and words the errors. See image_files.h.
#include "train/pictures/image_files.h"

#include <algorithm>
#include <string_view>

#include "tensor/error.h"
#include "train/files/whole_files.h"
#include "train/pictures/bmp.h"
#include "train/pictures/jpeg.h"
#include "train/pictures/orientation.h"
#include "train/pictures/png.h"
#include "train/pictures/tiff.h"
#include "train/pictures/webp.h"

namespace asap::train {
namespace {

using Bytes = std::span<const uint8_t>;

// What the build has libraries for (train/CMakeLists.txt).
constexpr bool kReadsWebp = ASAP_WEBP, kReadsTiff = ASAP_TIFF;

bool starts_with(Bytes file, std::string_view magic, size_t at = 0) {
  return file.size() >= at + magic.size() &&
         std::equal(magic.begin(), magic.end(), file.begin() + at, [](char a, uint8_t b) { return uint8_t(a) == b; });
}

std::string article(const std::string& format) {
  return (std::string_view("AEIOU").find(format[0]) != std::string_view::npos ? "an " : "a ") + format;
}

// What a file that is no readable picture seems to be, for the error sentence.
std::string describe(Bytes file, const std::string& name) {
  if (starts_with(file, "version https://git-lfs")) return "a Git LFS pointer (the real file was not fetched)";
  std::string format = picture_format(file);
  if (format.empty() && picture_kind(name) == PictureKind::unreadable) format = picture_format(std::filesystem::path(name));
  if (!format.empty()) return article(format) + ", which is not read; save it as PNG";
  const auto head = file.first(std::min<size_t>(file.size(), 64));
  const bool text = std::all_of(head.begin(), head.end(),
                                [](uint8_t c) { return (c >= 32 && c < 127) || c == '\n' || c == '\r' || c == '\t'; });
  return text ? "text" : "unknown data";
}

[[noreturn]] void refuse_unbuilt(const std::string& name, const std::string& format, const char* package) {
  fail(name, ": this build reads no ", format, "; save the picture as PNG, or build again with ", package, " installed");
}

std::string readable_formats() {
  return std::string("JPEG, PNG") + (kReadsWebp ? ", WebP" : "") + (kReadsTiff ? ", TIFF" : "") + " or BMP";
}

}  // namespace

std::string picture_format(Bytes file) {
  if (starts_with(file, "\x89PNG\r\n\x1a\n")) return "PNG";
  if (starts_with(file, "\xff\xd8\xff")) return "JPEG";
  if (starts_with(file, "BM")) return "BMP";
  if (starts_with(file, "RIFF") && starts_with(file, "WEBP", 8)) return "WebP";
  for (const std::string_view magic : {"II*\0", "MM\0*", "II+\0", "MM\0+"})
    if (starts_with(file, std::string_view(magic.data(), 4))) return "TIFF";
  if (starts_with(file, "GIF8")) return "GIF";
  if (starts_with(file, "ftyp", 4)) {
    for (const std::string_view brand : {"avif", "avis"})
      if (starts_with(file, brand, 8)) return "AVIF";
    for (const std::string_view brand : {"heic", "heix", "heim", "heis", "hevc", "mif1", "msf1"})
      if (starts_with(file, brand, 8)) return "HEIC";
  }
  if (starts_with(file, "\xff\x0a") || starts_with(file, "JXL ", 4)) return "JPEG XL";
  if (starts_with(file, "jP  ", 4) || starts_with(file, "\xff\x4f\xff\x51")) return "JPEG 2000";
  if (file.size() > 2 && file[0] == 'P' && file[1] >= '1' && file[1] <= '7' && file[2] <= ' ') return "PPM";
  if (starts_with(file, "8BPS")) return "Photoshop";
  if (starts_with(file, "\x76\x2f\x31\x01")) return "OpenEXR";
  if (starts_with(file, "#?RADIANCE")) return "Radiance HDR";
  if (starts_with(file, "gimp xcf")) return "GIMP";
  return "";
}

Image read_photo(const std::filesystem::path& path, int* orientation) {
  return decode_photo(read_file(path), path.string(), orientation);
}

Image decode_photo(Bytes file, const std::string& name, int* orientation) {
  const std::string format = picture_format(file);
  int turned = 1;
  const auto decode = [&]() -> Image {
    if (format == "JPEG") return decode_jpeg(file, name, turned);
    if (format == "PNG") return decode_png_rgb(file, name, turned);
    if (format == "BMP") return decode_bmp_rgb(file, name);
    if (format == "WebP") {
      if constexpr (kReadsWebp) return decode_webp(file, name, turned);
      refuse_unbuilt(name, format, "libwebp-dev");
    }
    if (format == "TIFF") {
      if constexpr (kReadsTiff) return decode_tiff_rgb(file, name, turned);
      refuse_unbuilt(name, format, "libtiff-dev");
    }
    fail(name, ": expected a picture (", readable_formats(), "), found ", describe(file, name));
  };
  Image picture = decode();
  if (orientation) *orientation = turned;
  return turned_upright(std::move(picture), turned);
}

LabelMap decode_label_map(Bytes file, const std::string& name, const std::string& what) {
  const std::string format = picture_format(file);
  int turned = 1;
  const auto decode = [&]() -> LabelMap {
    if (format == "PNG") return decode_png_values(file, name, what, turned);
    if (format == "BMP") return decode_bmp_values(file, name, what);
    if (format == "TIFF") {
      if constexpr (kReadsTiff) return decode_tiff_values(file, name, what, turned);
      refuse_unbuilt(name, format, "libtiff-dev");
    }
    if (format == "JPEG" || format == "WebP")
      fail(name, ": expected ", what, " as PNG, found ", article(format),
           ", whose compression changes the values; a label map in colours can be saved with asapnet labels --from-colours FILE "
           "--nearest");
    fail(name, ": expected ", what, " as PNG, found ", describe(file, name));
  };
  return turned_upright(decode(), turned);
}

LabelMap read_label_png(const std::filesystem::path& path) { return decode_label_map(read_file(path), path.string()); }

LabelMap read_instance_png(const std::filesystem::path& path) {
  return decode_label_map(read_file(path), path.string(), "an instance map");
}

std::vector<uint8_t> picture_palette(Bytes file, const std::string& name) {
  return picture_format(file) == "PNG" ? png_palette(file, name) : std::vector<uint8_t>();
}

void write_png(const std::filesystem::path& path, const Image& image) { write_file(path, encode_png(image, path.string())); }

void write_label_png(const std::filesystem::path& path, const LabelMap& labels, std::span<const uint8_t> palette) {
  write_file(path, encode_png_labels(labels, palette, path.string()));
}

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  write_file(path, encode_jpeg(image, quality, path.string()));
}

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

}  // namespace asap::train
