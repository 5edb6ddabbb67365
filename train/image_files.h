// Picture files: photos (JPEG, PNG, BMP) and label or instance maps (PNG) in, PNG and JPEG out.
// Every failure is one sentence that names the file, what was found and what would be right. Sits on files.h, png.h, stb.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "train/image.h"

namespace asap::train {

// Larger pictures are refused before anything is allocated for them: 100 million pixels, e.g. 10000x10000.
inline constexpr int64_t kMaxPixels = 100'000'000;

// asap::Error starting with `name` unless 0 < width*height <= kMaxPixels.
void check_picture_size(int64_t width, int64_t height, const std::string& name);

// What a file's extension (in any case) promises: a picture that this build reads, one of a known format that it does not
// (a GIF, an AVIF), or no picture. The contents are not looked at.
enum class PictureKind { none, readable, unreadable };
PictureKind picture_kind(const std::filesystem::path& path);
std::string picture_format(const std::filesystem::path& path);  // "JPEG", "AVIF", ...; "" for no picture

// A photo as RGB, whatever the file holds (gray is tripled, alpha dropped, 16 bit cut to 8).
Image read_photo(const std::filesystem::path& path);
Image decode_photo(std::span<const uint8_t> file, const std::string& name);  // the same from memory; `name` is for errors

// A label map: PNG, up to 8 bits, gray value or palette INDEX = class.
LabelMap read_label_png(const std::filesystem::path& path);

// An instance map: PNG, up to 16 bits, gray (or a palette index) = instance number.
LabelMap read_instance_png(const std::filesystem::path& path);

// Writers put the file beside its goal and rename it into place (files.h).
void write_png(const std::filesystem::path& path, const Image& image);                     // 1 or 3 channels
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 95);  // 1 or 3 channels, quality 1..100
void write_label_png(const std::filesystem::path& path, const LabelMap& labels,
                     std::span<const uint8_t> palette);  // palette of RGB triples; values are indices into it

// A PNG file in memory, and the "data:image/png;base64,..." text that embeds it in an HTML page.
std::vector<uint8_t> png_to_memory(const Image& image);
std::string base64(std::span<const uint8_t> bytes);
std::string png_data_uri(const Image& image);

}  // namespace asap::train
