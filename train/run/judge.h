// Judge: numbers that compare pictures with the photos that they should have been and with the label maps they were made of.
// docs/evaluate.md says what each number is. What evaluate and a training's examinations share. Sits on pictures/metrics.h, ranks/ranks.h and
// on asapnet's feature_net.h, lpips.h and segmenter.h. Next: examiner.h, infer/evaluate.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "asapnet/feature_net.h"
#include "asapnet/lpips.h"
#include "asapnet/segmenter.h"
#include "train/pictures/metrics.h"
#include "train/ranks/ranks.h"

namespace asap::train {

// psnr, ssim, ms-ssim, lpips, seams, segmentation, frechet, kernel.
const std::vector<std::string>& metric_names();
// asap::Error, beginning with `option`, unless it is one of them.
void check_metric(const std::string& name, const std::string& option);

struct JudgeOptions {
  std::set<std::string> metrics = {};   // empty: all that can be had
  std::filesystem::path features = {};  // weights of the network for frechet and kernel (feature_net.h)
  std::filesystem::path lpips_backbone = {}, lpips_heads = {};  // lpips.h
  std::filesystem::path segmenter = {};                         // segmenter.h
  std::vector<std::filesystem::path> files() const { return {features, lpips_backbone, lpips_heads, segmenter}; }
};

// What is to be judged, as far as it decides which numbers can be had.
struct Exhibits {
  size_t count = 0;           // pictures
  std::string smallest = {};  // the name of the one with the smallest side
  int width = 0, height = 0;  // its size
  int tile = 0;               // side of the generator's tiles; 0: not known
  int64_t classes = 0;        // of the label maps; 0: there are none
  int side() const { return width < height ? width : height; }
};

struct Score {
  std::string name;      // psnr, seams_of_references, mean_iou, ...
  double value = 0;      // of all pictures; NaN where it does not exist
  double deviation = 0;  // of the pictures' values, with n - 1; NaN where these do not exist
  int digits = 4;        // behind the point, to show; 0: six that count
  std::string of = {};   // the network behind it: "SqueezeNet 1.1 features (512), crc32 0123abcd"
  bool per_picture = false;
};

// The values of each picture, for a number that is their mean.
struct ScoreColumn {
  std::string name;
  std::vector<double> values = {};
};

class Judge {
 public:
  // Loads the networks. asap::Error: a metric that was asked for by name and cannot be had, a file that is not what it should be, or
  // that no metric uses. What was not asked for by name is left out, and standard error says why where it is the pictures' doing.
  Judge(const JudgeOptions& options, const Exhibits& exhibits);
  ~Judge();
  Judge(const Judge&) = delete;
  Judge& operator=(const Judge&) = delete;

  // A picture, its photo of equal size and, where there are classes, its label map.
  void add(const Image& picture, const Image& reference, const LabelMap& labels);
  // Forgets the pictures. The same photos and label maps must come again, in this order: what depends on them alone is kept.
  void restart();
  // Where each rank has added its share of the pictures, in their order (Ranks::share_of): all ranks have all of them from here on.
  void collect(const Ranks& ranks);

  // Of the pictures so far. Equal bits for any number of threads that computes equal bits of the networks.
  std::vector<Score> scores() const;
  const std::vector<ScoreColumn>& columns() const { return columns_; }
  // Of the scores, which will be.
  std::vector<std::string> names() const;

 private:
  struct PictureMetric {
    std::string name;
    int digits;
    std::string of;
    std::function<double(const Image&, const Image&)> value;
  };
  bool takes(const std::string& metric, const std::string& obstacle, bool tell = true) const;
  void choose_picture_metrics();
  void choose_networks();
  void load_segmenter();
  std::vector<double> features_of(const Image& image) const;
  void classify(const Image& image, const LabelMap& labels, Confusion& confusion);

  const JudgeOptions options_;
  const Exhibits exhibits_;
  std::vector<PictureMetric> metrics_;
  std::vector<ScoreColumn> columns_;  // of metrics_
  bool frechet_ = false, kernel_ = false;
  std::optional<asapnet::FeatureNet> net_;
  std::optional<asapnet::Lpips> lpips_;
  std::unique_ptr<asapnet::Segmenter> segmenter_;
  std::string net_text_, segmenter_text_;
  size_t added_ = 0, references_ = 0;  // pictures; photos that are known
  std::vector<double> made_, real_;    // features, one picture a row
  std::optional<Confusion> made_classes_, real_classes_;
};

// A score's value as it is shown, "-" for what does not exist.
std::string shown(double value, int digits);
// Whether a larger value of the score NAME is the better one; nothing if there is no such score, or if neither is better (those of
// the references).
std::optional<bool> larger_is_better(const std::string& score);
// All scores that have a better, for messages.
std::string comparable_scores();

}  // namespace asap::train
