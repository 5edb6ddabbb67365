// One pair of files to one sample of the training size. Declared in load_sample.h.
#include "train/data/load_sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tensor/error.h"
#include "train/data/label_colours.h"
#include "train/data/random.h"
#include "train/pictures/image_files.h"
#include "train/pictures/orientation.h"
#include "train/pictures/resize.h"

namespace asap::train {
namespace {

constexpr std::array kModeNames = {"resize_and_crop",          "crop",  "scale_width", "scale_width_and_crop", "scale_shortside",
                                   "scale_shortside_and_crop", "fixed", "none"};

struct Size {
  int width = 0, height = 0;
  bool operator==(const Size&) const = default;
};

std::string text(Size s) { return size_text(s.width, s.height); }

// round(width / aspect_ratio)
int height_for(int width, const PreprocessOptions& options) { return int(std::lround(width / options.aspect_ratio)); }

int nearest_multiple_of_32(int n) { return std::max(32, int(std::lround(n / 32.0)) * 32); }

// The size a picture is resized to, before any crop. 64-bit products: sides and load_size are up to 1e8.
Size resized(Size from, const PreprocessOptions& options) {
  const int load = options.load_size;
  const auto scaled = [&](int side, int by) { return int(std::clamp<int64_t>(int64_t(load) * side / by, 1, INT32_MAX)); };
  switch (options.mode) {
    case Preprocess::resize_and_crop: return {load, height_for(load, options)};
    case Preprocess::native:
    case Preprocess::crop: return from;
    case Preprocess::scale_width:
    case Preprocess::scale_width_and_crop: return {load, scaled(from.height, from.width)};
    case Preprocess::scale_shortside:
    case Preprocess::scale_shortside_and_crop:
      if (from.width <= from.height) return {load, scaled(from.height, from.width)};
      return {scaled(from.width, from.height), load};
    case Preprocess::fixed: return {options.crop_size, height_for(options.crop_size, options)};
    case Preprocess::none: return {nearest_multiple_of_32(from.width), nearest_multiple_of_32(from.height)};
  }
  fail("load_sample: unknown preprocess mode");
}

bool crops(Preprocess mode) {
  return mode == Preprocess::resize_and_crop || mode == Preprocess::crop || mode == Preprocess::scale_width_and_crop ||
         mode == Preprocess::scale_shortside_and_crop;
}

// Modes that keep the aspect need label and photo of one size; the square ones bring any two together.
bool needs_equal_sizes(Preprocess mode) { return mode != Preprocess::resize_and_crop && mode != Preprocess::fixed; }

// What happens to every picture of a sample alike.
struct Geometry {
  Size resize;
  Size window;  // the crop
  int x = 0, y = 0;
  bool flip = false;
};

// Which --load-size or --crop-size would do for a picture of this size.
std::string fitting_sizes(Size from, Size window, const PreprocessOptions& options) {
  const auto least = [](int crop_side, int other_crop, int other, int side) {  // scaled to `side`, the other side follows
    return std::max<int64_t>(crop_side, (int64_t(other_crop) * side + other - 1) / other);
  };
  const bool by_width = options.mode == Preprocess::scale_width_and_crop || from.width <= from.height;
  const int64_t load = options.mode == Preprocess::resize_and_crop ? options.crop_size
                       : by_width ? least(window.width, window.height, from.height, from.width)
                                  : least(window.height, window.width, from.width, from.height);
  const Size loaded = resized(from, options);
  int crop_size = options.crop_size;  // tiles are powers of two
  while (crop_size > 1 && (crop_size > loaded.width || height_for(crop_size, options) > loaded.height)) crop_size /= 2;
  const std::string load_size = options.mode == Preprocess::crop ? "" : str("--load-size ", load, " or more, or ");
  return str(load_size, "--crop-size ", crop_size, " would fit");
}

Geometry plan(Size from, const PreprocessOptions& options, const SampleRandom& random, const std::string& file) {
  Geometry g;
  g.resize = g.window = resized(from, options);
  check_picture_size(g.resize.width, g.resize.height, file + ", resized (" + preprocess_name(options.mode) + ")");
  if (crops(options.mode)) {
    g.window = {options.crop_size, height_for(options.crop_size, options)};
    ASAP_CHECK(g.window.width <= g.resize.width && g.window.height <= g.resize.height, file, ": with preprocess mode ",
               preprocess_name(options.mode), " this picture of ", text(from), " becomes ", text(g.resize),
               ", too small for the crop of ", text(g.window), "; ", fitting_sizes(from, g.window, options));
    const auto position = [](double u, int room) { return std::clamp(int(u * (room + 1)), 0, room); };
    g.x = position(random.crop_u, g.resize.width - g.window.width);
    g.y = position(random.crop_v, g.resize.height - g.window.height);
  }
  g.flip = random.flip;
  return g;
}

template <class Picture>
Picture finish(Picture resized_picture, const Geometry& g) {
  if (!(g.window == g.resize)) resized_picture = crop(resized_picture, g.x, g.y, g.window.width, g.window.height);
  if (g.flip) flip_horizontally(resized_picture);
  return resized_picture;
}

Image apply(const Image& image, const Geometry& g) { return finish(resize_bicubic(image, g.resize.width, g.resize.height), g); }
LabelMap apply(const LabelMap& map, const Geometry& g) { return finish(resize_nearest(map, g.resize.width, g.resize.height), g); }

// 255 -> label_nc where allowed; everything else outside the classes is an error.
void check_labels(LabelMap& labels, const PreprocessOptions& options, const std::string& file) {
  for (size_t i = 0; i < labels.values.size(); ++i) {
    int32_t& v = labels.values[i];
    if (v >= 0 && v < options.label_nc) continue;
    if (v == 255 && options.contain_dontcare_label) {
      v = options.label_nc;
      continue;
    }
    fail(file, ": expected labels 0 to ", options.label_nc - 1, " (label_nc = ", options.label_nc, "), found ", v, " at column ",
         i % labels.width, ", row ", i / labels.width,
         v == 255 ? "; if 255 means 'don't care' here, set contain_dontcare_label" : "");
  }
}

// A photo that was turned upright beside a label map that was drawn on it lying on its side: no mode could bring them together.
void check_turned(const Pair& pair, int orientation, Size photo, Size label) {
  const int64_t ours = int64_t(photo.width) * label.height, theirs = int64_t(label.width) * photo.height;
  const bool alike = std::abs(ours - theirs) <= std::max(ours, theirs) / 50;  // sides rounded after scaling
  ASAP_CHECK(!lies_on_its_side(orientation) || alike, pair.image.string(), ": this photo was turned by its EXIF orientation (",
             orientation, ") and is ", text(photo), " upright, but its label ", pair.label.string(), " is ", text(label),
             "; draw the label on the upright photo, or remove the orientation from the photo if it is wrong");
}

LabelMap classes_of_colours(const PreprocessOptions& options, const Image& coloured, const std::string& file) {
  ColourCount ignored;
  return options.nearest_colour ? options.colours->classes_of(coloured, ignored) : options.colours->classes_of(coloured, file);
}

// One half of an A|B picture.
Image half_of(const Image& whole, Half half, const std::string& file) {
  ASAP_CHECK(whole.width % 2 == 0, file, ": expected a picture A|B of two halves, found an odd width: ",
             size_text(whole.width, whole.height));
  return crop(whole, half == Half::left ? 0 : whole.width / 2, 0, whole.width / 2, whole.height);
}

void check_options(const PreprocessOptions& o) {
  ASAP_CHECK(o.load_size > 0 && o.crop_size > 0, "load_sample: expected load_size and crop_size above 0, got ", o.load_size,
             " and ", o.crop_size);
  ASAP_CHECK(
      std::isfinite(o.aspect_ratio) && o.aspect_ratio > 0 && height_for(o.crop_size, o) > 0 && height_for(o.load_size, o) > 0,
      "load_sample: expected an aspect_ratio (width / height) above 0 that leaves a height, got ", o.aspect_ratio);
  ASAP_CHECK(o.no_one_hot || (o.label_nc >= 1 && o.label_nc <= kMostClasses), "load_sample: expected label_nc from 1 to ",
             kMostClasses, ", got ", o.label_nc);
  ASAP_CHECK(o.no_one_hot || !o.contain_dontcare_label || o.label_nc <= 255, "load_sample: expected label_nc up to 255 where "
             "255 means 'don't care' (contain_dontcare_label), got ", o.label_nc);
}

}  // namespace

const char* preprocess_name(Preprocess mode) {
  return mode == Preprocess::native ? "native" : kModeNames[size_t(mode)];
}

Preprocess preprocess_from_name(const std::string& name) {
  std::string names;
  for (size_t i = 0; i < kModeNames.size(); ++i) {
    if (name == kModeNames[i]) return Preprocess(i);
    names += (i ? ", " : "") + std::string(kModeNames[i]);
  }
  fail("preprocess: expected one of ", names, ", got '", name, "'");
}

SampleRandom sample_random(uint64_t seed, int64_t epoch, int64_t index, bool allow_flip) {
  HashRandom random({seed, uint64_t(epoch), uint64_t(index), /*purpose*/ 1});
  SampleRandom r;
  r.crop_u = random.uniform();
  r.crop_v = random.uniform();
  r.flip = random.chance(0.5) && allow_flip;
  return r;
}

std::vector<int64_t> sample_order(int64_t count, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  HashRandom random({seed, uint64_t(epoch), /*purpose*/ 2});
  for (int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

Sample load_sample(const Pair& pair, const PreprocessOptions& options, const SampleRandom& random) {
  check_options(options);
  const std::string file = pair.label.string();
  Sample sample;
  sample.name = pair.name;
  // An A|B picture is read once.
  const Image whole = pair.label_half == Half::none ? Image() : read_photo(pair.label);
  const auto picture = [&](const std::filesystem::path& path, Half half, int* orientation = nullptr) {
    return half == Half::none ? read_photo(path, orientation) : half_of(whole, half, file);
  };
  const Half photo_half = pair.label_half == Half::left    ? Half::right
                          : pair.label_half == Half::right ? Half::left
                                                           : Half::none;
  if (options.no_one_hot) {
    sample.label_rgb = picture(pair.label, pair.label_half);
  } else {
    sample.label = options.colours ? classes_of_colours(options, picture(pair.label, pair.label_half), file)
                                   : read_label_png(pair.label);
    check_labels(sample.label, options, file);
  }
  const Size from{sample.width(), sample.height()};
  const Geometry g = plan(from, options, random, file);
  if (options.no_one_hot)
    sample.label_rgb = apply(sample.label_rgb, g);
  else
    sample.label = apply(sample.label, g);

  if (!pair.instance.empty()) {
    const LabelMap instance = read_instance_png(pair.instance);
    ASAP_CHECK(instance.width == from.width && instance.height == from.height, pair.instance.string(),
               ": expected an instance map of ", text(from), " like its label ", file, ", found ",
               size_text(instance.width, instance.height));
    sample.instance = apply(instance, g);
  }
  if (!pair.image.empty()) {
    int orientation = 1;
    const Image photo = picture(pair.image, photo_half, &orientation);
    check_turned(pair, orientation, {photo.width, photo.height}, from);
    ASAP_CHECK(!needs_equal_sizes(options.mode) || (photo.width == from.width && photo.height == from.height),
               pair.image.string(), ": expected a photo of ", text(from), " like its label ", file, ", found ",
               size_text(photo.width, photo.height), " (preprocess mode ", preprocess_name(options.mode),
               " needs equal sizes; resize_and_crop and fixed don't)");
    sample.photo = apply(photo, g);
  }
  return sample;
}

}  // namespace asap::train
