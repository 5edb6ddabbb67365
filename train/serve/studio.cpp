// Declared in studio.h.
#include "train/serve/studio.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "train/data/batch.h"
#include "train/data/label_colours.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"
#include "train/pictures/png.h"
#include "train/pictures/resize.h"
#include "train/serve/class_names.h"
#include "train/synth/synth.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kMostModels = 4, kMostExamples = 24, kSyntheticExamples = 8, kMostWaiting = 32;
constexpr int64_t kMostPixels = 1024 * 1024;  // of a picture, unless a model was trained on larger ones
constexpr int kMostClassesServed = 256;       // a label is a byte

std::string in_hex(const uint8_t* rgb) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
  return text;
}

void check_model(const StudioModel& model, const StudioModel& first) {
  const asapnet::Config &config = model.weights.options.model, &other = first.weights.options.model;
  ASAP_CHECK(!config.no_one_hot, model.name,
             ": this model takes RGB pictures (no_one_hot), and the page paints labels");
  ASAP_CHECK(config.label_channels() <= kMostClassesServed, model.name, ": this model has ", config.label_channels(),
             " classes, and the page paints up to ", kMostClassesServed);
  ASAP_CHECK(config.label_nc == other.label_nc && config.contain_dontcare_label == other.contain_dontcare_label,
             model.name, ": expected the classes of ", first.name, " (", other.label_nc,
             other.contain_dontcare_label ? " and 255" : "", "), since one drawing is for all models, found ",
             config.label_nc, config.contain_dontcare_label ? " and 255" : "");
}

// The label map with as many pixels as are allowed, in the same proportions.
LabelMap shrunk(const LabelMap& labels, int64_t most_pixels) {
  const double scale = std::sqrt(double(most_pixels) / (double(labels.width) * labels.height));
  const auto side = [&](int pixels) { return std::max(1, int(pixels * scale)); };
  return resize_nearest(labels, side(labels.width), side(labels.height));
}

}  // namespace

Studio::Studio(const std::vector<StudioModel>& models, const StudioOptions& options) : queue_(kMostWaiting) {
  ASAP_CHECK(!models.empty() && models.size() <= kMostModels, "serve: expected 1 to ", kMostModels, " models, got ",
             models.size());
  for (const StudioModel& model : models) check_model(model, models.front());
  const Options& first = models.front().weights.options;
  classes_ = int(first.model.label_nc);
  dontcare_ = first.model.contain_dontcare_label;
  coloured_files_ = !first.train.palette.empty();
  width_ = options.size.width ? options.size.width : first.model.crop_size;
  height_ = options.size.height ? options.size.height : first.model.height();
  ASAP_CHECK(!options.size.native, "--size: expected WIDTH or WIDTHxHEIGHT, since a drawing has no size of its own");
  check_picture_size(width_, height_, "--size");
  most_pixels_ = std::max(kMostPixels, width_ * height_);
  set_colours(first);
  if (!options.examples.empty()) {
    read_examples(options.examples);
  } else if (has_cmp_classes(first)) {
    make_examples();
  }
  describe(models, options);
  queue_.run("", [&] {
    for (const StudioModel& model : models) {
      makers_.push_back(std::make_unique<PictureMaker>(
          model.weights, PictureOptions{.size = {.native = true}, .precision = options.precision}));
      takes_instances_.push_back(model.weights.options.model.instance_channel());
    }
  });
}

// The colours of the training's samples, or of the pictures in colours that the labels were read from.
void Studio::set_colours(const Options& options) {
  palette_ = coloured_files_ ? LabelColours(options.train.palette, "palette").palette()
                             : label_palette(classes_ + (dontcare_ ? 1 : 0));
  palette_.resize(3 * size_t(classes_ + (dontcare_ ? 1 : 0)), 0);
  Json table = Json::object();
  for (size_t i = 0; i < palette_.size() / 3; ++i)
    table.emplace(in_hex(&palette_[3 * i]), i < size_t(classes_) ? i : 255);
  colour_table_ = coloured_files_ ? options.train.palette : table.dump();
  if (!dontcare_) return;
  const std::vector<uint8_t> colour(palette_.end() - 3, palette_.end());
  palette_.resize(3 * 256, 0);
  std::copy(colour.begin(), colour.end(), palette_.end() - 3);
}

void Studio::read_examples(const fs::path& path) {
  std::error_code ignored;
  PairList files = std::vector<Pair>{{.name = path.stem().string(), .label = path}};
  if (fs::is_directory(path, ignored))
    files = list_pairs({.layout = DatasetLayout::custom, .label_dir = path, .need_images = false});
  if (files.size() > kMostExamples) {
    warn(str("--labels ", path.string(), ": the page shows the first ", kMostExamples, " of ", files.size(),
             " label maps"));
    files.resize(kMostExamples);
  }
  for (const Pair file : files) {
    std::string note;
    examples_.push_back({terminal_safe(file.name), read_labels(read_file(file.label), file.label.string(), note)});
    if (!note.empty()) warn(file.label.string() + ": " + note);
  }
}

void Studio::make_examples() {
  const int side = int(std::clamp<int64_t>(std::min(width_, height_), 32, 256));
  for (size_t i = 0; i < kSyntheticExamples; ++i) {
    const LabelMap facade = make_synthetic_facade(side, 2021, int64_t(i)).label;
    examples_.push_back({str("facade ", i + 1), resize_nearest(facade, int(width_), int(height_))});
  }
}

void Studio::describe(const std::vector<StudioModel>& models, const StudioOptions& options) {
  const Options& first = models.front().weights.options;
  Json page{
      {"models", Json::array()}, {"classes", Json::array()}, {"sizes", Json::array()}, {"examples", Json::array()}};
  int64_t tile = 1;
  for (const StudioModel& model : models) {
    const asapnet::Config& config = model.weights.options.model;
    tile = std::max(tile, config.tile());
    page["models"].push_back({{"name", terminal_safe(model.name)},
                              {"width", config.crop_size},
                              {"height", config.height()},
                              {"tile", config.tile()}});
  }
  const std::vector<std::string> names =
      options.class_names.empty() ? class_names(first) : read_class_names(options.class_names, classes_);
  for (int i = 0; i < classes_; ++i)
    page["classes"].push_back({{"label", i}, {"name", names[size_t(i)]}, {"colour", in_hex(&palette_[3 * size_t(i)])}});
  if (dontcare_)
    page["classes"].push_back({{"label", 255}, {"name", "don't care"}, {"colour", in_hex(&palette_[3 * 255])}});
  page["ground"] = has_cmp_classes(first) ? 1 : 0;  // an empty drawing: the facades' class 0 is never met in training
  // The size of a new drawing, half and double of it and so on, in whole tiles.
  std::set<std::pair<int64_t, int64_t>> sizes{{width_, height_}};
  for (const double scale : {0.25, 0.5, 1.0, 2.0, 4.0}) {
    const auto side = [&](int64_t pixels) { return int64_t(double(pixels) * scale) / tile * tile; };
    const int64_t width = side(width_), height = side(height_);
    if (std::min(width, height) >= std::max<int64_t>(2 * tile, 64) && width * height <= most_pixels_)
      sizes.emplace(width, height);
  }
  for (const auto& [width, height] : sizes) page["sizes"].push_back({width, height});
  page["width"] = width_;
  page["height"] = height_;
  page["most_pixels"] = most_pixels_;
  for (const Example& example : examples_) page["examples"].push_back(example.name);
  description_ = page.dump();
}

void Studio::check(const LabelMap& labels) const {
  ASAP_CHECK(labels.width > 0 && labels.height > 0 && int64_t(labels.width) * labels.height <= most_pixels_,
             "expected a label map of 1 to ", most_pixels_, " pixels, got ", size_text(labels.width, labels.height));
  const auto wrong =
      std::find_if(labels.values.begin(), labels.values.end(), [this](int32_t v) { return !is_label(v); });
  if (wrong == labels.values.end()) return;
  const auto at = wrong - labels.values.begin();
  fail("expected labels 0 to ", classes_ - 1, dontcare_ ? " or 255" : "", ", found ", *wrong, " at column ",
       at % labels.width, ", row ", at / labels.width);
}

std::optional<Image> Studio::render(size_t model, const LabelMap& labels, const std::string& client) {
  ASAP_CHECK(model < models(), "expected a model 0 to ", models() - 1, ", got ", model);
  check(labels);
  Sample sample;
  sample.label = labels;
  if (takes_instances_[model]) sample.instance = labels;  // a region's edges are those of its class
  for (int32_t& label : sample.label.values)
    if (label >= classes_) label = classes_;  // 255
  Image picture;
  const auto work = [&] {
    PictureMaker& maker = *makers_[model];
    picture = picture_of(maker.make(maker.prepare(std::move(sample), "drawing"), 0));
  };
  const Turn turn = queue_.run(client.empty() ? client : str(client, " ", model), work);
  if (turn == Turn::full) throw Busy(str("too many pictures are asked for at once; ", kMostWaiting, " wait already"));
  if (turn == Turn::superseded) return {};
  return picture;
}

LabelMap Studio::read_labels(std::span<const uint8_t> file, const std::string& name, std::string& note) const {
  const std::lock_guard lock(reading_);
  LabelMap labels;
  if (!coloured_files_) {
    try {
      labels = decode_label_map(file, name);
    } catch (const Error&) {  // no numbers: colours, perhaps
    }
  }
  if (labels.empty()) {
    const Image picture = decode_photo(file, name);
    ColourCount count;
    labels = LabelColours(colour_table_, "palette").classes_of(picture, count);
    ASAP_CHECK(2 * count.unknown_pixels <= count.pixels, name,
               ": expected class numbers, or the colours of the classes; ", count.unknown_pixels, " of ", count.pixels,
               " pixels have other colours");
    if (count.unknown_pixels > 0)
      note += str(count.unknown_pixels, " of ", count.pixels,
                  " pixels had colours of no class and became the nearest one's. ");
  }
  if (int64_t(labels.width) * labels.height > most_pixels_) {
    const std::string was = size_text(labels.width, labels.height);
    labels = shrunk(labels, most_pixels_);
    note += str("The label map was ", was, " and is now ", size_text(labels.width, labels.height), ". ");
  }
  try {
    check(labels);
  } catch (const Error& error) {
    fail(name, ": ", error.what());
  }
  return labels;
}

std::vector<uint8_t> Studio::label_png(const LabelMap& labels) const {
  check(labels);
  return encode_png_labels(labels, palette_, "label map");
}

}  // namespace asap::train
