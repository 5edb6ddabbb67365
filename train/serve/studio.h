// What the page paints with: the models, the classes with their names and colours, drawings to begin with, and the
// pictures that the models make of label maps, for many clients. Knows nothing of HTTP. Sits on picture_maker.h and
// work_queue.h. Next: server.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/infer/picture_maker.h"
#include "train/serve/work_queue.h"

namespace asap::train {

struct StudioModel {
  std::string name;  // as the user knows it, such as the run's folder
  WeightSource weights;
};

struct StudioOptions {
  PictureSize size = {};  // of a new drawing; 0: the first model's training size
  Precision precision = Precision::f32;
  std::filesystem::path examples = {};  // a label map or a folder of them; empty: synthetic facades, to facades' models
  std::filesystem::path class_names = {};  // read_class_names
};

// Too much is asked for at once.
class Busy : public Error {
 public:
  using Error::Error;
};

// Label maps here hold what their files do: a class, or 255 for "don't care" with models that know it. Of a model
// with instance maps, the instances are the connected regions of one class.
class Studio {
 public:
  // asap::Error: no model, models of different classes, one that takes no labels, files that cannot be used.
  Studio(const std::vector<StudioModel>& models, const StudioOptions& options);

  // Models, classes, sizes and examples as JSON (docs/serve.md).
  const std::string& description() const { return description_; }
  size_t models() const { return makers_.size(); }
  int64_t most_pixels() const { return most_pixels_; }

  struct Example {
    std::string name;
    LabelMap labels;
  };
  const std::vector<Example>& examples() const { return examples_; }

  // The picture of model `model`, or nothing if the same client asked again for the same model before its turn came;
  // an empty client always gets its picture. asap::Error: no such model, a size or a label that will not do; Busy.
  std::optional<Image> render(size_t model, const LabelMap& labels, const std::string& client);

  // A label map from a file's bytes: class numbers as asapnet generate reads them, or a picture in the classes'
  // colours. What the user should know is appended to `note`: colours taken for the nearest one, a size brought down
  // to what is served.
  LabelMap read_labels(std::span<const uint8_t> file, const std::string& name, std::string& note) const;
  // The label map as a PNG, which read_labels and asapnet generate take: a palette of the classes' colours.
  // asap::Error: as render().
  std::vector<uint8_t> label_png(const LabelMap& labels) const;
  // asap::Error unless every value is a label and the size is one that is served.
  void check(const LabelMap& labels) const;

 private:
  bool is_label(int32_t value) const { return (value >= 0 && value < classes_) || (dontcare_ && value == 255); }
  void set_colours(const Options& options);
  void read_examples(const std::filesystem::path& path);
  void make_examples();
  void describe(const std::vector<StudioModel>& models, const StudioOptions& options);

  int classes_ = 0;
  bool dontcare_ = false;
  bool coloured_files_ = false;  // trained with --palette: label maps are pictures in its colours
  int64_t width_ = 0, height_ = 0, most_pixels_ = 0;
  std::vector<uint8_t> palette_;  // RGB triples by label, up to 255 with "don't care"
  std::string colour_table_;      // label_colours.h
  std::vector<Example> examples_;
  std::string description_;
  std::vector<std::unique_ptr<PictureMaker>> makers_;
  std::vector<bool> takes_instances_;
  mutable std::mutex reading_;  // a small file may be a large picture: one at a time in memory
  WorkQueue queue_;             // last: makers_ are used, and the kernels' threads counted, on its thread alone
};

}  // namespace asap::train
