// Picture files, .npy, resizing against Pillow, and the float forms of pictures (train/image*.h, resize.h, npy.h).
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/crc32.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/data/random.h"
#include "train/files/npy.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/png.h"
#include "train/pictures/resize.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::error_of;
using asap::tests::ScratchFolder;
namespace fs = std::filesystem;

namespace {

Image noise_image(int width, int height, int channels, uint64_t seed) {
  Image image(width, height, channels);
  HashRandom random({seed});
  for (uint8_t& p : image.pixels) p = uint8_t(random.below(256));
  return image;
}

// Smooth enough for JPEG to come close to.
Image smooth_image(int width, int height) {
  Image image(width, height, 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < 3; ++c) image.at(x, y, c) = uint8_t(40 + (x * (c + 1) + y * 2) * 150 / (3 * width + 2 * height));
  return image;
}

void put_be32(uint8_t* at, uint32_t value) {
  for (int i = 0; i < 4; ++i) at[i] = uint8_t(value >> (24 - 8 * i));
}

// Overwrites the size in a PNG's header, checksum included.
std::vector<uint8_t> with_png_size(std::vector<uint8_t> file, uint32_t width, uint32_t height) {
  put_be32(&file[16], width);
  put_be32(&file[20], height);
  put_be32(&file[29], tests::crc32(&file[12], 17));
  return file;
}

const std::vector<uint8_t> kPalette = {0, 0, 0, 0, 0, 170, 0, 0, 255, 0, 85, 255, 200, 100, 50};

}  // namespace

TEST_CASE("PNG: RGB and gray pictures survive writing and reading") {
  ScratchFolder folder;
  const Image rgb = noise_image(37, 21, 3, 1);
  write_png(folder / "rgb.png", rgb);
  CHECK(read_photo(folder / "rgb.png") == rgb);

  const Image gray = noise_image(9, 5, 1, 2);
  write_png(folder / "gray.png", gray);
  const Image back = read_photo(folder / "gray.png");
  REQUIRE(back.channels == 3);
  const LabelMap values = read_label_png(folder / "gray.png");
  for (int y = 0; y < 5; ++y)
    for (int x = 0; x < 9; ++x) {
      for (int c = 0; c < 3; ++c) CHECK(back.at(x, y, c) == gray.at(x, y, 0));
      CHECK(values.at(x, y) == gray.at(x, y, 0));
    }
  CHECK_FALSE(fs::exists(folder / "rgb.png.tmp"));
}

TEST_CASE("label PNG: the palette index is read, not its colour") {
  ScratchFolder folder;
  LabelMap labels(6, 4);
  for (int i = 0; i < 24; ++i) labels.values[i] = i % 5;
  write_label_png(folder / "map.png", labels, kPalette);
  CHECK(read_label_png(folder / "map.png") == labels);
  CHECK(read_instance_png(folder / "map.png") == labels);
  const Image colours = read_photo(folder / "map.png");
  CHECK(colours.at(4, 0, 0) == 200);
  CHECK(colours.at(4, 0, 2) == 50);

  labels.at(2, 1) = 5;
  CHECK(contains(error_of([&] { write_label_png(folder / "map.png", labels, kPalette); }), "label values 0 to 4"));
}

TEST_CASE("label and instance PNG: 16-bit gray") {
  // 2x1 pixels, values 26001 and 7; deflated by hand as a stored block.
  const std::vector<uint8_t> raw = {0, 26001 >> 8, 26001 & 255, 0, 7};
  std::vector<uint8_t> file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  const auto chunk = [&](const char* type, std::vector<uint8_t> data) {
    const size_t start = file.size();
    file.resize(start + 8);
    put_be32(&file[start], uint32_t(data.size()));
    std::copy_n(type, 4, &file[start + 4]);
    file.insert(file.end(), data.begin(), data.end());
    const uint32_t crc = tests::crc32(&file[start + 4], data.size() + 4);
    file.resize(file.size() + 4);
    put_be32(&file[file.size() - 4], crc);
  };
  uint32_t a = 1, b = 0;  // Adler-32
  for (uint8_t v : raw) b = (b + (a = (a + v) % 65521)) % 65521;
  std::vector<uint8_t> zlib = {0x78, 0x01, 1, uint8_t(raw.size()), 0, uint8_t(~raw.size()), 0xff};
  zlib.insert(zlib.end(), raw.begin(), raw.end());
  zlib.resize(zlib.size() + 4);
  put_be32(&zlib[zlib.size() - 4], b << 16 | a);
  chunk("IHDR", {0, 0, 0, 2, 0, 0, 0, 1, 16, 0, 0, 0, 0});
  chunk("IDAT", zlib);
  chunk("IEND", {});

  ScratchFolder folder;
  write_file(folder / "i.png", file);
  const LabelMap map = read_instance_png(folder / "i.png");
  CHECK(map.values == std::vector<int32_t>{26001, 7});
  CHECK(read_label_png(folder / "i.png") == map);
}

TEST_CASE("JPEG: writing and reading comes close; size and channels are kept") {
  ScratchFolder folder;
  const Image image = smooth_image(61, 47);
  write_jpeg(folder / "p.jpg", image, 95);
  const Image back = read_photo(folder / "p.jpg");
  REQUIRE(back.width == 61);
  REQUIRE(back.height == 47);
  REQUIRE(back.channels == 3);
  double worst = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) worst = std::max(worst, std::abs(double(image.pixels[i]) - back.pixels[i]));
  CHECK(worst <= 8);  // quality 95 on a ramp; a channel swap or a shifted row is off by tens
}

TEST_CASE("reading: every bad file gives one sentence with its name") {
  ScratchFolder folder;
  const auto write_text = [&](const char* name, const std::string& text) {
    write_file(folder / name, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return folder / name;
  };
  const auto photo_error = [](const fs::path& path) {
    const std::string text = error_of([&] { read_photo(path); });
    CHECK(contains(text, path.string()));
    return text;
  };
  CHECK(contains(photo_error(folder / "none.png"), "No such file"));
  CHECK(contains(photo_error(folder.path()), "found a folder"));
  CHECK(contains(photo_error(write_text("empty.png", "")), "empty file"));
  CHECK(contains(photo_error(write_text("a.png", "GIF89a.......")), "found a GIF"));
  CHECK(contains(photo_error(write_text("b.png", "hello, I am text\n")), "found text"));
  CHECK(contains(photo_error(write_text("c.jpg", "version https://git-lfs.github.com/spec/v1\n")), "Git LFS pointer"));

  write_png(folder / "rgb.png", smooth_image(8, 8));
  write_jpeg(folder / "rgb.jpg", smooth_image(8, 8));
  CHECK(contains(error_of([&] { read_label_png(folder / "rgb.png"); }), "expected a label map, that is one number a pixel"));
  CHECK(contains(error_of([&] { read_label_png(folder / "rgb.png"); }), "found colours, the first, #"));
  CHECK(contains(error_of([&] { read_label_png(folder / "rgb.jpg"); }), "found a JPEG"));
  CHECK(contains(error_of([&] { read_instance_png(folder / "rgb.png"); }), "expected an instance map"));
}

TEST_CASE("reading: absurd sizes are refused before allocation") {
  ScratchFolder folder;
  const auto png = encode_png(smooth_image(8, 8), "PNG");
  write_file(folder / "huge.png", with_png_size(png, 60000, 60000));
  write_file(folder / "wide.png", with_png_size(png, 0x7fffffff, 0x7fffffff));
  write_file(folder / "flat.png", with_png_size(png, 0, 8));
  CHECK(contains(error_of([&] { read_photo(folder / "huge.png"); }), "found 60000x60000"));
  CHECK(contains(error_of([&] { read_label_png(folder / "wide.png"); }), "found 2147483647x2147483647"));
  CHECK(contains(error_of([&] { read_photo(folder / "flat.png"); }), "damaged"));

  write_jpeg(folder / "p.jpg", smooth_image(8, 8));
  auto jpeg = read_file(folder / "p.jpg");
  const uint8_t frame[] = {0xff, 0xc0};
  auto at = std::search(jpeg.begin(), jpeg.end(), std::begin(frame), std::end(frame));
  REQUIRE(at != jpeg.end());
  std::fill_n(at + 5, 4, uint8_t(0xff));  // 65535x65535
  write_file(folder / "p.jpg", jpeg);
  CHECK(contains(error_of([&] { read_photo(folder / "p.jpg"); }), "found 65535x65535"));
}

TEST_CASE("reading: a file cut off anywhere is an error, never a picture with a gray rest") {
  ScratchFolder folder;
  write_jpeg(folder / "p.jpg", smooth_image(64, 64));
  for (const auto& whole : {encode_png(smooth_image(64, 64), "PNG"), read_file(folder / "p.jpg")}) {
    for (size_t size = 8; size < whole.size(); size += 1 + whole.size() / 97) {
      const std::string text = error_of([&] { decode_photo(std::span(whole).first(size), "part"); });
      CHECK_MESSAGE((contains(text, "cut") || contains(text, "ends too early")), size, " of ", whole.size(), ": ", text);
    }
    CHECK(error_of([&] { decode_photo(std::span(whole).first(whole.size() - 1), "part"); }) != "");
  }
}

TEST_CASE("reading: flipped bytes give an error or a picture of the same size, and never a crash") {
  ScratchFolder folder;
  write_jpeg(folder / "p.jpg", smooth_image(40, 40));
  HashRandom random({7});
  int errors = 0, pictures = 0;
  for (const auto& whole : {encode_png(smooth_image(40, 40), "PNG"), read_file(folder / "p.jpg")})
    for (int i = 0; i < 300; ++i) {
      auto bytes = whole;
      for (int k = 0; k < 3; ++k) bytes[size_t(random.below(int64_t(bytes.size())))] = uint8_t(random.below(256));
      write_file(folder / "flipped", bytes);
      try {
        const Image image = read_photo(folder / "flipped");
        CHECK(image.pixels.size() == size_t(image.width) * image.height * 3);
        ++pictures;
      } catch (const Error&) {
        ++errors;
      }
    }
  CHECK(errors > 100);
  CHECK(pictures > 0);
}

TEST_CASE("writing: a missing folder or a full disk is reported, the old file stays and nothing is left behind") {
  ScratchFolder folder;
  const Image small = smooth_image(4, 4), large = noise_image(300, 300, 3, 5);
  const std::string missing = error_of([&] { write_png(folder / "no/such/folder/p.png", small); });
  CHECK(contains(missing, "cannot be written (No such file or directory)"));

  write_png(folder / "p.png", small);
  // A file size limit makes write() fail part way, as a full disk does.
  struct rlimit old_limit {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{10000, old_limit.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &tight) == 0);
  const std::string full = error_of([&] { write_png(folder / "p.png", large); });
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, old_handler);
  CHECK(contains(full, "p.png: cannot be written (File too large)"));
  CHECK(read_photo(folder / "p.png") == small);
  CHECK_FALSE(fs::exists(folder / "p.png.tmp"));
}

TEST_CASE("base64 follows RFC 4648, section 10") {
  const auto encode = [](const std::string& text) {
    return base64({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  };
  CHECK(encode("") == "");
  CHECK(encode("f") == "Zg==");
  CHECK(encode("fo") == "Zm8=");
  CHECK(encode("foo") == "Zm9v");
  CHECK(encode("foobar") == "Zm9vYmFy");
  const uint8_t high[] = {0xff, 0xfe, 0xfb};
  CHECK(base64(high) == "//77");
}

TEST_CASE("npy: header and numbers") {
  ScratchFolder folder;
  const std::vector<float> values = {1, -2.5f, 3, 4, 5, 6};
  const std::vector<int64_t> shape = {2, 3};
  write_npy(folder / "a.npy", values, shape);
  const auto bytes = read_file(folder / "a.npy");
  REQUIRE(bytes.size() == 64 * 2 + 24);
  CHECK(std::memcmp(bytes.data(), "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
  CHECK(std::string(bytes.begin() + 10, bytes.begin() + 128)
            .starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, ), }  "));
  CHECK(bytes[127] == '\n');
  CHECK(std::memcmp(bytes.data() + 128, values.data(), 24) == 0);
  const std::vector<int64_t> wrong = {2, 2};
  CHECK(contains(error_of([&] { write_npy(folder / "b.npy", values, wrong); }), "holds 4 numbers, but got 6"));
}

TEST_CASE("resizing equals Pillow, bit for bit") {
  const fs::path golden = ASAP_GOLDEN_DIR;
  const Image source = read_photo(golden / "pillow_source.png");
  int bicubic = 0, nearest = 0;
  for (const auto& entry : fs::directory_iterator(golden)) {
    const std::string stem = entry.path().stem().string();
    int w = 0, h = 0;
    if (std::sscanf(stem.c_str(), "pillow_bicubic_%dx%d", &w, &h) == 2) {
      CHECK_MESSAGE(resize_bicubic(source, w, h) == read_photo(entry.path()), stem);
      ++bicubic;
    } else if (std::sscanf(stem.c_str(), "pillow_nearest_%dx%d", &w, &h) == 2) {
      const Image expected = read_photo(entry.path());
      LabelMap labels(source.width, source.height);
      for (size_t i = 0; i < labels.values.size(); ++i) labels.values[i] = source.pixels[3 * i];
      const LabelMap resized = resize_nearest(labels, w, h);
      for (size_t i = 0; i < resized.values.size(); ++i) REQUIRE(resized.values[i] == expected.pixels[3 * i]);
      ++nearest;
    }
  }
  CHECK(bicubic == 7);
  CHECK(nearest == 5);

  // Source columns of 1086 -> 1093, a size with rounding ties.
  const Image row = read_photo(golden / "pillow_nearest_row_1086_to_1093.png");
  LabelMap columns(1086, 1);
  for (int x = 0; x < 1086; ++x) columns.at(x, 0) = x;
  const LabelMap resized = resize_nearest(columns, 1093, 1);
  for (int x = 0; x < 1093; ++x) REQUIRE(resized.at(x, 0) == row.at(x, 0, 0) * 256 + row.at(x, 0, 1));
}

TEST_CASE("resizing: channels go their own ways, sizes are checked") {
  const Image rgb = noise_image(19, 11, 3, 8);
  const Image whole = resize_bicubic(rgb, 27, 6);
  for (int c = 0; c < 3; ++c) {
    Image plane(19, 11, 1);
    for (size_t i = 0; i < plane.pixels.size(); ++i) plane.pixels[i] = rgb.pixels[3 * i + c];
    const Image resized = resize_bicubic(plane, 27, 6);
    for (size_t i = 0; i < resized.pixels.size(); ++i) REQUIRE(resized.pixels[i] == whole.pixels[3 * i + c]);
  }
  CHECK(resize_bicubic(rgb, 19, 11) == rgb);
  CHECK(contains(error_of([&] { resize_bicubic(rgb, 0, 5); }), "got 0x5 for a picture of 19x11"));
}

TEST_CASE("float forms: photo to [-1, 1] and back") {
  const Image image = noise_image(13, 7, 3, 9);
  std::vector<float> chw(13 * 7 * 3);
  image_to_floats(image, chw.data());
  CHECK(chw[size_t(2 * 7 + 3) * 13 + 5] == (image.at(5, 3, 2) / 255.0f - 0.5f) / 0.5f);
  CHECK(*std::min_element(chw.begin(), chw.end()) >= -1.0f);
  CHECK(*std::max_element(chw.begin(), chw.end()) <= 1.0f);

  const float values[] = {-1.5f, -1.0f, 0.0f, 0.999f, 1.0f, 7.0f, std::numeric_limits<float>::quiet_NaN(), -0.5f};
  const Image back = image_from_floats(values, 1, 1, 8);
  CHECK(back.pixels == std::vector<uint8_t>{0, 0, 127, 254, 255, 255, 0, 63});
}

TEST_CASE("cropping and mirroring") {
  Image image(4, 3, 3);
  LabelMap labels(4, 3);
  for (int i = 0; i < 36; ++i) image.pixels[i] = uint8_t(i);
  for (int i = 0; i < 12; ++i) labels.values[i] = i;
  CHECK(crop(labels, 1, 1, 2, 2).values == std::vector<int32_t>{5, 6, 9, 10});
  CHECK(crop(image, 3, 2, 1, 1).pixels == std::vector<uint8_t>{33, 34, 35});
  CHECK(contains(error_of([&] { crop(labels, 3, 0, 2, 1); }), "got 2x1 at (3, 0)"));
  flip_horizontally(labels);
  CHECK(crop(labels, 0, 0, 4, 1).values == std::vector<int32_t>{3, 2, 1, 0});
  flip_horizontally(image);
  CHECK(crop(image, 0, 0, 2, 1).pixels == std::vector<uint8_t>{9, 10, 11, 6, 7, 8});
}
