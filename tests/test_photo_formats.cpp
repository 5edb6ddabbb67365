// Photos in every format, as other programs show them: pixels of Pillow's (tests/golden/make_pillow.py), orientation, and files
// that are damaged, of kinds that are not read, or made to take all memory or time (train/pictures/image_files.h).
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "tests/support/crc32.h"
#include "tests/support/golden.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/data/load_sample.h"
#include "train/data/random.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/orientation.h"
#include "train/pictures/png.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::error_of;
using asap::tests::ScratchFolder;
namespace fs = std::filesystem;

namespace {

using Bytes = std::vector<uint8_t>;

const fs::path kPictures = fs::path(ASAP_GOLDEN_DIR) / "pictures";

Bytes picture(const std::string& name) { return read_file(kPictures / name); }

Image ramp(int width, int height) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      image.at(x, y, 0) = uint8_t(255 * x / width);
      image.at(x, y, 1) = uint8_t(255 * y / height);
      image.at(x, y, 2) = 90;
    }
  return image;
}

Bytes jpeg_file(const Image& image) {
  ScratchFolder folder;
  write_jpeg(folder / "p.jpg", image, 95);
  return read_file(folder / "p.jpg");
}

// An EXIF block with one folder of two entries, the second of them the orientation.
Bytes exif_block(int orientation, bool big_endian) {
  Bytes block{'E', 'x', 'i', 'f', 0, 0};
  const auto put = [&](uint32_t value, int size) {
    for (int i = 0; i < size; ++i) block.push_back(uint8_t(value >> 8 * (big_endian ? size - 1 - i : i)));
  };
  put(big_endian ? 0x4d4d : 0x4949, 2);
  put(42, 2);
  put(8, 4);
  put(2, 2);  // entries: tag, type, count, value
  put(0x0100, 2), put(4, 2), put(1, 4), put(640, 4);
  put(0x0112, 2), put(3, 2), put(1, 4), put(uint32_t(orientation), 2), put(0, 2);
  put(0, 4);
  return block;
}

Bytes with_segment(const Bytes& jpeg, uint8_t marker, const Bytes& data) {
  Bytes file(jpeg.begin(), jpeg.begin() + 2);
  const size_t size = data.size() + 2;
  file.insert(file.end(), {0xff, marker, uint8_t(size >> 8), uint8_t(size)});
  file.insert(file.end(), data.begin(), data.end());
  file.insert(file.end(), jpeg.begin() + 2, jpeg.end());
  return file;
}

// A chunk in a PNG file, behind the header (33 bytes) or before the end (12 bytes).
Bytes with_chunk(Bytes png, const char* type, const Bytes& data, bool at_end) {
  Bytes chunk(8);
  for (int i = 0; i < 4; ++i) chunk[size_t(i)] = uint8_t(data.size() >> (24 - 8 * i));
  std::memcpy(&chunk[4], type, 4);
  chunk.insert(chunk.end(), data.begin(), data.end());
  const uint32_t crc = tests::crc32(&chunk[4], data.size() + 4);
  for (int i = 0; i < 4; ++i) chunk.push_back(uint8_t(crc >> (24 - 8 * i)));
  png.insert(at_end ? png.end() - 12 : png.begin() + 33, chunk.begin(), chunk.end());
  return png;
}

// The eight orientations by their definition (EXIF 4.6.4): where row 0 and column 0 of the stored picture are seen.
Image by_definition(const Image& stored, int orientation) {
  const int w = stored.width, h = stored.height;
  const bool swap = orientation >= 5;
  Image seen(swap ? h : w, swap ? w : h, stored.channels);
  for (int row = 0; row < h; ++row)
    for (int column = 0; column < w; ++column) {
      int x = column, y = row;
      switch (orientation) {
        case 2: x = w - 1 - column; break;                   // top, right
        case 3: x = w - 1 - column, y = h - 1 - row; break;  // bottom, right
        case 4: y = h - 1 - row; break;                      // bottom, left
        case 5: x = row, y = column; break;                  // left, top
        case 6: x = h - 1 - row, y = column; break;          // right, top
        case 7: x = h - 1 - row, y = w - 1 - column; break;  // right, bottom
        case 8: x = row, y = w - 1 - column; break;          // left, bottom
      }
      for (int c = 0; c < stored.channels; ++c) seen.at(x, y, c) = stored.at(column, row, c);
    }
  return seen;
}

size_t find(const Bytes& file, const Bytes& part, size_t from = 0) {
  return size_t(std::search(file.begin() + std::ptrdiff_t(from), file.end(), part.begin(), part.end()) - file.begin());
}

// The peak of memory, in MiB, of a child that does `work`, above that of one that does nothing.
[[maybe_unused]] int64_t peak_mib(const std::function<void()>& work) {
  const auto peak = [](const std::function<void()>& job) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      job();
      _exit(0);
    }
    int status = 0;
    rusage usage{};
    REQUIRE(wait4(child, &status, 0, &usage) == child);
    REQUIRE(status == 0);
    return usage.ru_maxrss / 1024;
  };
  return peak(work) - peak([] {});
}

}  // namespace

TEST_CASE("photos equal Pillow's, bit for bit: JPEG of every kind, WebP and TIFF") {
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(kPictures)) {
    const fs::path file = entry.path(), shown = fs::path(file).replace_extension(".png");
    if (file == shown || !fs::exists(shown) || file.stem() == "colours" || file.stem().string().starts_with("label_"))
      continue;
    if (picture_kind(file) == PictureKind::unreadable) {  // a build without the library
      CHECK(contains(error_of([&] { read_photo(file); }), "this build reads no " + picture_format(file)));
      continue;
    }
    CAPTURE(file.string());
    const Image ours = read_photo(file), theirs = read_photo(shown);
    CHECK(ours.width == theirs.width);
    CHECK(ours == theirs);
    ++compared;
  }
  CHECK(compared >= 11);
  tests::ran();
}

TEST_CASE(
    "case 10-arithmetic-jpeg: is read, or refused by its name; lossless, hierarchical and 12-bit ones are named") {
  const std::string arithmetic = error_of([] { read_photo(kPictures / "arithmetic.jpg"); });
  CHECK((arithmetic.empty() ||
         contains(arithmetic, "this JPEG is arithmetic-coded, which is not supported; save it as baseline")));
  Bytes jpeg = picture("jpeg_444.jpg");
  const size_t frame = find(jpeg, {0xff, 0xc0});
  REQUIRE(frame < jpeg.size());
  const auto with_frame = [&](uint8_t marker, uint8_t bits) {
    jpeg[frame + 1] = marker;
    jpeg[frame + 4] = bits;
    return error_of([&] { decode_photo(jpeg, "p.jpg"); });
  };
  CHECK(with_frame(0xc3, 8) ==
        "p.jpg: this JPEG is lossless, which is not supported; save it as baseline or progressive");
  CHECK(contains(with_frame(0xc5, 8), "is hierarchical, which"));
  CHECK(contains(with_frame(0xcb, 8), "is lossless and arithmetic-coded, which"));
  CHECK(contains(with_frame(0xc1, 12), "has 12 bits a channel, which is not supported; save it with 8"));
  tests::ran();
}

TEST_CASE("a JPEG cut in its data but closed by an end marker is refused, wherever it is cut") {
  for (const char* name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_restarts.jpg", "jpeg_gray.jpg"}) {
    const Bytes whole = picture(name);
    const size_t data = find(whole, {0xff, 0xda});
    for (size_t size = data + 20; size < whole.size() - 4; ++size) {
      Bytes file(whole.begin(), whole.begin() + std::ptrdiff_t(size));
      if (file.back() == 0xff) file.pop_back();
      file.insert(file.end(), {0xff, 0xd9});
      const std::string text = error_of([&] { decode_photo(file, "p.jpg"); });
      CHECK_MESSAGE(contains(text, "p.jpg: this JPEG is "), name, " ", size, " of ", whole.size(), ": ", text);
    }
    // What cameras leave behind the picture, and before its end, does no harm.
    Bytes longer = whole;
    longer.insert(longer.end(), {1, 2, 3});
    CHECK(decode_photo(longer, "p.jpg") == decode_photo(whole, "p.jpg"));
    longer = whole;
    longer.insert(longer.end() - 2, {0, 0, 0});
    CHECK(decode_photo(longer, "p.jpg") == decode_photo(whole, "p.jpg"));
  }
  tests::ran();
}

TEST_CASE("a progressive JPEG of thousands of scans is refused early") {
  const Bytes whole = picture("jpeg_progressive.jpg");
  size_t last = 0;
  for (size_t at = 0; (at = find(whole, {0xff, 0xda}, at)) < whole.size(); ++at) last = at;
  Bytes file(whole.begin(), whole.end() - 2);
  for (int i = 0; i < 3000; ++i) file.insert(file.end(), whole.begin() + std::ptrdiff_t(last), whole.end() - 2);
  file.insert(file.end(), {0xff, 0xd9});
  CHECK(error_of([&] { decode_photo(file, "p.jpg"); }) ==
        "p.jpg: this JPEG has more than 200 scans, which no encoder makes; save it anew");
  tests::ran();
}

TEST_CASE(
    "case 09-exif-orientation: photos are turned upright, all eight ways, in JPEG and PNG; damaged EXIF is passed "
    "over") {
  const Image stored = ramp(24, 16);
  const Bytes jpeg = jpeg_file(stored), png = encode_png(stored, "PNG");
  const Image decoded = decode_photo(jpeg, "p");
  for (int orientation = 1; orientation <= 8; ++orientation)
    for (const bool big_endian : {false, true}) {
      CAPTURE(orientation);
      const Bytes exif = exif_block(orientation, big_endian);
      int applied = 0;
      CHECK(decode_photo(with_segment(jpeg, 0xe1, exif), "p", &applied) == by_definition(decoded, orientation));
      CHECK(applied == orientation);
      for (const bool at_end : {false, true}) {
        const Bytes chunk(exif.begin() + 6, exif.end());
        CHECK(decode_photo(with_chunk(png, "eXIf", chunk, at_end), "p") == by_definition(stored, orientation));
      }
    }
  LabelMap map(3, 2);
  map.values = {0, 1, 2, 3, 4, 5};
  CHECK(turned_upright(map, 6).values == std::vector<int32_t>{3, 0, 4, 1, 5, 2});

  const Bytes exif = exif_block(6, false);
  CHECK(exif_orientation(exif) == 6);
  for (const int value : {0, 9, 600}) CHECK(exif_orientation(exif_block(value, true)) == 1);
  for (size_t size = 0; size + 8 < exif.size(); ++size) CHECK(exif_orientation(std::span(exif).first(size)) == 1);
  HashRandom random({3});
  for (int i = 0; i < 20000; ++i) {  // nothing but 1 to 8 comes out, and the sanitized builds see no foreign byte read
    Bytes damaged = exif;
    for (int k = 0; k < 3; ++k) damaged[size_t(random.below(int64_t(damaged.size())))] = uint8_t(random.below(256));
    const int orientation = exif_orientation(damaged);
    REQUIRE((orientation >= 1 && orientation <= 8));
  }
  Bytes bad = exif;
  bad[10] = 0xff, bad[11] = 0xff;  // the folder lies beyond the end
  CHECK(decode_photo(with_segment(jpeg, 0xe1, bad), "p") == decoded);
  tests::ran();
}

TEST_CASE("case 09-exif-orientation: a label drawn on the photo as it lies is refused, naming both, in every mode") {
  ScratchFolder folder;
  const Pair pair{"a", folder / "maps_a.png", folder / "photo_a.jpg", {}};
  write_file(pair.image, with_segment(jpeg_file(ramp(64, 32)), 0xe1, exif_block(6, false)));
  const Bytes colours(39, 0);
  for (const Preprocess mode : {Preprocess::resize_and_crop, Preprocess::fixed, Preprocess::none}) {
    const PreprocessOptions options{.mode = mode, .load_size = 32, .crop_size = 32};
    write_label_png(pair.label, LabelMap(64, 32, 1), colours);
    const std::string text = error_of([&] { load_sample(pair, options, {}); });
    CHECK(contains(text, "photo_a.jpg: this photo was turned by its EXIF orientation (6) and is 32x64 upright"));
    CHECK(contains(text, "maps_a.png is 64x32"));
    write_label_png(pair.label, LabelMap(32, 64, 1), colours);
    CHECK(error_of([&] { load_sample(pair, options, {}); }) == "");
  }
  // A picture as label is turned too.
  Pair pictures = pair;
  pictures.label = folder / "sketch.jpg";
  write_file(pictures.label, with_segment(jpeg_file(ramp(64, 32)), 0xe1, exif_block(8, true)));
  const Sample sample = load_sample(pictures, {.mode = Preprocess::none, .no_one_hot = true}, {});
  CHECK(sample.width() == 32);
  CHECK(sample.height() == 64);
  tests::ran();
}

TEST_CASE("formats that are not read are refused by their name") {
  const auto error = [](const std::string& name) { return error_of([&] { read_photo(kPictures / name); }); };
  CHECK(contains(error("foreign.gif"), "foreign.gif: expected a picture (JPEG, PNG"));
  CHECK(contains(error("foreign.gif"), "found a GIF, which is not read; save it as PNG"));
  CHECK(contains(error("foreign.avif"), "found an AVIF, which"));
  CHECK(contains(error("foreign.tga"), "found a TGA, which"));  // known by its extension alone
  CHECK(contains(error("foreign.ppm"), "found a PPM, which"));
  if (picture_kind("a.webp") == PictureKind::readable)
    CHECK(contains(error("animation.webp"), "this WebP is an animation"));
  if (picture_kind("a.tif") == PictureKind::readable)
    CHECK(contains(error("cmyk.tif"), "a colour space other than gray, palette and RGB"));

  CHECK(picture_kind("x/A.JPG") == PictureKind::readable);
  CHECK(picture_kind("a.jfif") == PictureKind::readable);
  CHECK(picture_kind("a.jpe") == PictureKind::readable);
  CHECK(picture_kind("a.GIF") == PictureKind::unreadable);
  CHECK(picture_kind("a.txt") == PictureKind::none);
  CHECK(picture_kind("png") == PictureKind::none);
  CHECK(picture_format("a.Heic") == "HEIC");
  CHECK(picture_format("a.webp") == "WebP");
  CHECK(picture_format("a.txt") == "");
  tests::ran();
}

TEST_CASE("WebP, TIFF and BMP files that are cut off anywhere are refused") {
  for (const char* name :
       {"webp_lossy.webp", "webp_lossless_6.webp", "tiff_lzw.tif", "tiff_jpeg.tif", "label_rgb.bmp"}) {
    if (picture_kind(name) != PictureKind::readable) continue;
    const Bytes whole = picture(name);
    CHECK(decode_photo(whole, name).channels == 3);
    // The last bytes may be padding or EXIF; TIFF's folder stands at its end.
    for (size_t size = 12; size < whole.size() * 9 / 10; size += 1 + whole.size() / 150)
      CHECK_MESSAGE(error_of([&] { decode_photo(std::span(whole).first(size), name); }) != "", name, " ", size);
  }
  const Bytes bmp = picture("label_rgb.bmp");
  CHECK(contains(error_of([&] { decode_photo(std::span(bmp).first(bmp.size() - 3), "a.bmp"); }),
                 "a.bmp: this BMP is cut off"));
  Bytes compressed = bmp;
  compressed[30] = 1;
  CHECK(contains(error_of([&] { decode_photo(compressed, "a.bmp"); }), "compressed, which is not supported"));
  tests::ran();
}

TEST_CASE("small files that claim to be huge: sides are limited and memory stays in proportion to the pixels") {
  CHECK(error_of([] { check_picture_size(65535, 1525, "a"); }) == "");
  CHECK(contains(error_of([] { check_picture_size(100'000'000, 1, "a.png"); }), "65535 a side, found 100000000x1"));
  CHECK(contains(error_of([] { check_picture_size(1, 65536, "a.png"); }), "found 1x65536"));
  const Bytes long_png = encode_png(Image(65536, 1, 1), "PNG");
  CHECK(contains(error_of([&] { decode_photo(long_png, "p.png"); }), "found 65536x1"));

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose shadows are memory too
  // 30 million pixels in 30 KB: 86 MiB of pixels, and little beside them.
  Bytes large = encode_png(Image(6000, 5000, 1), "PNG");
  CHECK(large.size() < 100'000);
  const int64_t decoding = peak_mib([&] { decode_photo(large, "p"); });
  CAPTURE(decoding);
  CHECK(decoding < 120);
  CHECK(decoding > 80);  // the measurement works
  // 50 texts of 7 MB each, in 340 KB.
  const std::string text(7'000'000, 'x');
  Bytes compressed(compressBound(uLong(text.size()))), texts = encode_png(Image(8, 8, 1), "PNG");
  uLongf size = uLongf(compressed.size());
  REQUIRE(compress(compressed.data(), &size, reinterpret_cast<const Bytef*>(text.data()), uLong(text.size())) == Z_OK);
  compressed.resize(size);
  compressed.insert(compressed.begin(), {'a', 0, 0});
  for (int i = 0; i < 50; ++i) texts = with_chunk(texts, "zTXt", compressed, false);
  const int64_t with_texts = peak_mib([&] { decode_photo(texts, "p"); });
  CAPTURE(with_texts);
  CHECK(with_texts < 20);
  const int64_t refusing = peak_mib([&] { error_of([&] { decode_photo(long_png, "p.png"); }); });
  CHECK(refusing < 20);
#endif
  tests::ran();
}
