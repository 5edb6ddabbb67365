// Picture files: photos (JPEG, PNG, BMP, where the build has their libraries WebP and TIFF) and label or instance maps (the same
// without JPEG and WebP, which change values) in, PNG and JPEG out. Every failure is one sentence that names the file, what was
// found and what would be right. Sits on whole_files.h and one header a format (jpeg.h, png.h, bmp.h, webp.h, tiff.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// What a file's extension (in any case) promises: a picture that this build reads, one of a known format that it does not
// (a GIF, an AVIF), or no picture. The contents are not looked at.
enum class PictureKind { none, readable, unreadable };
PictureKind picture_kind(const std::filesystem::path& path);
std::string picture_format(const std::filesystem::path& path);  // "JPEG", "AVIF", ...; "" for no picture
std::string picture_format(std::span<const uint8_t> file);      // the same by the file's first bytes

// A photo as RGB, whatever the file holds (gray is tripled, alpha dropped, 16 bit cut to 8), turned upright by its EXIF
// orientation. `orientation`, where asked for, becomes the one that was applied, 1 (none) to 8 (orientation.h).
Image read_photo(const std::filesystem::path& path, int* orientation = nullptr);
// The same from memory; `name` is for errors, and tells by its extension what a file without a signature may be.
Image decode_photo(std::span<const uint8_t> file, const std::string& name, int* orientation = nullptr);

// A label map: one number a pixel, up to 16 bits: palette INDEX, gray value, or what R, G and B agree on. Alpha is ignored and
// the orientation applied. asap::Error for colours, and for formats that change values.
LabelMap read_label_png(const std::filesystem::path& path);
LabelMap decode_label_map(std::span<const uint8_t> file, const std::string& name, const std::string& what = "a label map");

// An instance map, likewise: instance numbers.
LabelMap read_instance_png(const std::filesystem::path& path);

// The palette of a PNG as RGB triples; empty for pictures without, or of another format.
std::vector<uint8_t> picture_palette(std::span<const uint8_t> file, const std::string& name);

// Writers put the file beside its goal and rename it into place (whole_files.h).
void write_png(const std::filesystem::path& path, const Image& image);                     // 1 or 3 channels
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 95);  // 1 or 3 channels, quality 1..100
void write_label_png(const std::filesystem::path& path, const LabelMap& labels,
                     std::span<const uint8_t> palette);  // RGB triples; values are indices into it; above 256: 16-bit gray

// The text that embeds a file in an HTML page.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace asap::train
