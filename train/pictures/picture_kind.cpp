// What kind of picture a file's extension promises. Declared in image_files.h.
#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "train/pictures/image_files.h"

namespace asap::train {
namespace {

struct Extension {
  std::string_view extension, format;
  PictureKind kind;
};

constexpr auto kRead = PictureKind::readable, kKnown = PictureKind::unreadable;
constexpr std::array kExtensions = std::to_array<Extension>({
    {".png", "PNG", kRead},
    {".jpg", "JPEG", kRead},
    {".jpeg", "JPEG", kRead},
    {".jpe", "JPEG", kRead},
    {".jfif", "JPEG", kRead},
    {".bmp", "BMP", kRead},
    {".dib", "BMP", kRead},
    {".webp", "WebP", ASAP_WEBP ? kRead : kKnown},
    {".tif", "TIFF", ASAP_TIFF ? kRead : kKnown},
    {".tiff", "TIFF", ASAP_TIFF ? kRead : kKnown},
    {".gif", "GIF", kKnown},
    {".tga", "TGA", kKnown},
    {".pbm", "PBM", kKnown},
    {".pgm", "PGM", kKnown},
    {".ppm", "PPM", kKnown},
    {".pnm", "PNM", kKnown},
    {".pam", "PAM", kKnown},
    {".pfm", "PFM", kKnown},
    {".heic", "HEIC", kKnown},
    {".heif", "HEIF", kKnown},
    {".avif", "AVIF", kKnown},
    {".jxl", "JPEG XL", kKnown},
    {".jp2", "JPEG 2000", kKnown},
    {".j2k", "JPEG 2000", kKnown},
    {".jpx", "JPEG 2000", kKnown},
    {".jpf", "JPEG 2000", kKnown},
    {".psd", "Photoshop", kKnown},
    {".xcf", "GIMP", kKnown},
    {".exr", "OpenEXR", kKnown},
    {".hdr", "Radiance HDR", kKnown},
    {".dds", "DDS", kKnown},
    {".ico", "ICO", kKnown},
    {".pcx", "PCX", kKnown},
    {".svg", "SVG", kKnown},
    {".dng", "camera raw", kKnown},
    {".cr2", "camera raw", kKnown},
    {".cr3", "camera raw", kKnown},
    {".nef", "camera raw", kKnown},
    {".arw", "camera raw", kKnown},
    {".orf", "camera raw", kKnown},
    {".raf", "camera raw", kKnown},
    {".rw2", "camera raw", kKnown},
});

const Extension* find(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  const auto found = std::find_if(kExtensions.begin(), kExtensions.end(),
                                  [&](const Extension& e) { return e.extension == extension; });
  return found == kExtensions.end() ? nullptr : &*found;
}

}  // namespace

PictureKind picture_kind(const std::filesystem::path& path) {
  const Extension* found = find(path);
  return found ? found->kind : PictureKind::none;
}

std::string picture_format(const std::filesystem::path& path) {
  const Extension* found = find(path);
  return found ? std::string(found->format) : "";
}

}  // namespace asap::train
