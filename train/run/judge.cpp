// Which numbers can be had, and computing them. Declared in judge.h.
#include "train/run/judge.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <numeric>
#include <sstream>

#include "asapnet/feature_distance.h"
#include "nn/network_weights.h"
#include "train/files/user_text.h"
#include "train/pictures/resize.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSegmentation[] = {"pixel_accuracy", "class_accuracy", "mean_iou"};
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

// With n - 1; NaN for a single picture and where a value is infinite.
double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (double v : values) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / (static_cast<double>(values.size()) - 1));
}

// The tensors of one network, by the beginning of its keys.
nn::StateDict read_network(const fs::path& path, const std::string& signature,
                           const std::vector<std::string>& beginnings) {
  nn::CheckpointFile file(path);
  const nn::StateDict weights = nn::NetworkWeights(file, signature).read(beginnings);
  nn::check_finite(weights, path.string());
  return weights;
}

asapnet::FeatureNet load_feature_net(const fs::path& path) {
  const bool inception = [&] {
    nn::CheckpointFile file(path);
    const auto& tensors = file.contents().tensors();
    return std::any_of(tensors.begin(), tensors.end(),
                       [](const nn::TensorInfo& t) { return t.name.find("Conv2d_1a_3x3.") != std::string::npos; });
  }();
  return {inception ? read_network(path, "Conv2d_1a_3x3.", {"Conv2d_", "Mixed_"})
                    : read_network(path, "features.", {"features."}),
          path.string()};
}

asapnet::Lpips load_lpips(const JudgeOptions& o) {
  return {read_network(o.lpips_backbone, "features.", {"features."}),
          read_network(o.lpips_heads, "lin0.", {"lin"}),
          {.backbone = o.lpips_backbone.string(), .heads = o.lpips_heads.string()}};
}

Tensor as_input(const Image& image) {
  Tensor x = Tensor::empty({1, 3, image.height, image.width});
  image_to_floats(image, x.data<float>());
  return x;
}

Tensor rows_of(const std::vector<double>& values, size_t rows) {
  return Tensor::from(values, {static_cast<int64_t>(rows), static_cast<int64_t>(values.size() / rows)});
}

std::string crc32_text(const fs::path& file) { return ", crc32 " + file_checksum(file); }

}  // namespace

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names{"psnr",  "ssim",         "ms-ssim", "lpips",
                                              "seams", "segmentation", "frechet", "kernel"};
  return names;
}

void check_metric(const std::string& name, const std::string& option) {
  const auto& names = metric_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  fail(option, ": expected some of ", comma_list(names), ", got '", name, "'");
}

namespace {

constexpr std::pair<const char*, bool> kDirections[] = {
    {"psnr", true},           {"ssim", true},           {"ms-ssim", true},  {"lpips", false},   {"seams", false},
    {"pixel_accuracy", true}, {"class_accuracy", true}, {"mean_iou", true}, {"frechet", false}, {"kernel", false}};

}  // namespace

std::string shown(double value, int digits) {
  if (std::isnan(value)) return "-";
  if (digits == 0) return str(value);
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

std::optional<bool> larger_is_better(const std::string& score) {
  for (const auto& [name, larger] : kDirections)
    if (score == name) return larger;
  return std::nullopt;
}

std::string comparable_scores() {
  std::vector<std::string> names;
  for (const auto& [name, larger] : kDirections) names.emplace_back(name);
  return comma_list(names);
}

Judge::Judge(const JudgeOptions& options, const Exhibits& exhibits) : options_(options), exhibits_(exhibits) {
  choose_networks();
  choose_picture_metrics();
  for (const PictureMetric& metric : metrics_) columns_.push_back({metric.name});
}

Judge::~Judge() = default;

// `obstacle`: "" or why it cannot be computed, with what would help: an error if the metric was asked for by name, else told if `tell`.
bool Judge::takes(const std::string& metric, const std::string& obstacle, bool tell) const {
  const bool named = options_.metrics.contains(metric);
  if (!named && !options_.metrics.empty()) return false;
  ASAP_CHECK(obstacle.empty() || !named, metric, ": ", obstacle);
  if (!obstacle.empty() && tell) warn("without " + metric + ": " + obstacle);
  return obstacle.empty();
}

void Judge::choose_picture_metrics() {
  const auto too_small = [this](int64_t needed) {
    return exhibits_.side() >= needed ? std::string()
                                      : str(exhibits_.smallest, " is ", size_text(exhibits_.width, exhibits_.height),
                                            ", and ", needed, " pixels a side are needed; take larger pictures");
  };
  if (takes("psnr", "")) metrics_.push_back({"psnr", 2, "", psnr});
  if (takes("ssim", too_small(kSsimSide))) metrics_.push_back({"ssim", 4, "", ssim});
  if (takes("ms-ssim", too_small(kMsSsimSide))) metrics_.push_back({"ms-ssim", 4, "", ms_ssim});
  if (lpips_ && takes("lpips", too_small(lpips_->least_side()))) {
    const std::string of =
        str(lpips_->name(), crc32_text(options_.lpips_backbone), ", heads", crc32_text(options_.lpips_heads).substr(1));
    metrics_.push_back({"lpips", 4, of,
                        [this](const Image& a, const Image& b) { return lpips_->distance(as_input(a), as_input(b)); }});
  }
  const int tile = exhibits_.tile;
  const std::string no_seams = tile == 0   ? "the side of the tiles is not known; give it with --tile N"
                               : tile == 1 ? "tiles of one pixel are all seam"
                                           : too_small(tile + 1);
  if (takes("seams", no_seams, tile != 0)) {
    metrics_.push_back(
        {"seams", 3, "", [tile](const Image& picture, const Image&) { return tile_seams(picture, tile); }});
    metrics_.push_back(
        {"seams_of_references", 3, "", [tile](const Image&, const Image& photo) { return tile_seams(photo, tile); }});
  }
}

void Judge::choose_networks() {
  const JudgeOptions& o = options_;
  const bool some_lpips = !o.lpips_backbone.empty() || !o.lpips_heads.empty();
  const std::string no_lpips = o.lpips_backbone.empty() || o.lpips_heads.empty()
                                   ? "a network and the heads that belong to it are needed; give both, with "
                                     "--lpips-backbone FILE and --lpips-heads FILE"
                                   : "";
  ASAP_CHECK(!some_lpips || no_lpips.empty(), "lpips: ", no_lpips);
  if (takes("lpips", no_lpips, false)) lpips_.emplace(load_lpips(o));
  const std::string no_segmenter = o.segmenter.empty()
                                       ? "a segmenter is needed; train one with asapnet segmenter, and give it "
                                         "with --segmenter FILE"
                                   : exhibits_.classes == 0 ? "there are no label maps to compare with"
                                                            : "";
  if (takes("segmentation", no_segmenter, !o.segmenter.empty())) load_segmenter();
  const std::string no_features = o.features.empty()
                                      ? "features of a network are needed; give its weights with --features FILE"
                                  : exhibits_.count < 2 ? "one picture has no covariance; at least two are needed"
                                                        : "";
  frechet_ = takes("frechet", no_features, !o.features.empty());
  kernel_ = takes("kernel", no_features, !o.features.empty());
  if (!frechet_ && !kernel_) return;
  net_.emplace(load_feature_net(o.features));
  net_text_ = str(net_->name(), " features (", net_->dimensions(), ")", crc32_text(o.features));
  if (frechet_ && static_cast<int64_t>(exhibits_.count) <= net_->dimensions())
    warn(str("frechet: ", exhibits_.count, " pictures for ", net_->dimensions(),
             " features: the number is biased upwards, and ",
             "compares only with those of as many pictures; kernel is not biased"));
}

void Judge::load_segmenter() {
  const fs::path& path = options_.segmenter;
  nn::CheckpointFile file(path);
  segmenter_ = asapnet::Segmenter::from_weights(nn::NetworkWeights(file, "down.").read(), path.string());
  ASAP_CHECK(segmenter_->classes() == exhibits_.classes, "segmentation: ", path.string(), " tells ",
             segmenter_->classes(), " classes apart, but the label maps have ", exhibits_.classes,
             "; train one for them with asapnet segmenter");
  const auto& metadata = file.contents().metadata();
  const auto size = metadata.find("size");
  const std::string here = size_text(exhibits_.width, exhibits_.height);
  if (size != metadata.end() && size->second != here)
    warn(str("segmentation: the segmenter learned from pictures of ", nn::printable(size->second), ", and these are ",
             here, "; it may know them less well"));
  segmenter_text_ = str("Segmenter (", segmenter_->classes(), " classes)", crc32_text(path));
  made_classes_.emplace(static_cast<int>(exhibits_.classes));
  real_classes_.emplace(static_cast<int>(exhibits_.classes));
}

std::vector<double> Judge::features_of(const Image& image) const {
  const int side = net_->side();
  return net_->forward(as_input(side == 0 ? image : resize_bicubic(image, side, side)))
      .to(DType::f64)
      .to_vector<double>();
}

void Judge::classify(const Image& image, const LabelMap& labels, Confusion& confusion) {
  const Tensor classes = segmenter_->classify(as_input(image));
  confusion.add(labels, {classes.data<int32_t>(), static_cast<size_t>(classes.numel())});
}

void Judge::add(const Image& picture, const Image& reference, const LabelMap& labels) {
  const bool new_reference = added_ == references_;
  for (size_t i = 0; i < metrics_.size(); ++i) columns_[i].values.push_back(metrics_[i].value(picture, reference));
  if (net_) {
    const auto append = [this](std::vector<double>& rows, const Image& image) {
      const std::vector<double> features = features_of(image);
      rows.insert(rows.end(), features.begin(), features.end());
    };
    append(made_, picture);
    if (new_reference) append(real_, reference);
  }
  if (segmenter_) {
    classify(picture, labels, *made_classes_);
    if (new_reference) classify(reference, labels, *real_classes_);
  }
  references_ = std::max(references_, ++added_);
}

void Judge::restart() {
  added_ = 0;
  made_.clear();
  for (ScoreColumn& column : columns_) column.values.clear();
  if (made_classes_) made_classes_.emplace(static_cast<int>(exhibits_.classes));
}

void Judge::collect(const Ranks& ranks) {
  const auto sum = [&](std::optional<Confusion>& confusion) {
    const std::vector<double> all = ranks.gather(confusion->counts());
    const size_t size = all.size() / static_cast<size_t>(ranks.size());
    confusion.emplace(static_cast<int>(exhibits_.classes));
    for (size_t at = 0; at < all.size(); at += size) confusion->add(std::span(all).subspan(at, size));
  };
  for (ScoreColumn& column : columns_) column.values = ranks.gather(column.values);
  made_ = ranks.gather(made_);
  if (segmenter_) sum(made_classes_);
  if (ranks.any(references_ < exhibits_.count)) {  // the first time
    real_ = ranks.gather(real_);
    if (segmenter_) sum(real_classes_);
  }
  const std::vector<double> counts = ranks.gather(std::vector<double>{static_cast<double>(added_)});
  references_ = added_ = static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), 0.0));
}

std::vector<std::string> Judge::names() const {
  std::vector<std::string> names;
  for (const PictureMetric& metric : metrics_) names.push_back(metric.name);
  if (segmenter_) {
    for (const char* tail : {"", "_of_references"})
      for (const char* name : kSegmentation) names.push_back(str(name, tail));
  }
  if (frechet_) names.emplace_back("frechet");
  if (kernel_) names.emplace_back("kernel");
  return names;
}

std::vector<Score> Judge::scores() const {
  ASAP_CHECK(added_ == exhibits_.count && references_ == added_, "judge: expected ", exhibits_.count, " pictures, got ",
             added_);
  std::vector<Score> scores;
  for (size_t i = 0; i < metrics_.size(); ++i) {
    const std::vector<double>& values = columns_[i].values;
    scores.push_back(
        {metrics_[i].name, mean_of(values), deviation_of(values), metrics_[i].digits, metrics_[i].of, true});
  }
  const auto add = [&](const std::string& name, double value, const std::string& of, int digits) {
    scores.push_back({.name = name, .value = value, .deviation = kNone, .digits = digits, .of = of});
  };
  if (segmenter_) {
    for (const auto& [classes, tail] : {std::pair{&*made_classes_, ""}, {&*real_classes_, "_of_references"}}) {
      const double values[] = {classes->pixel_accuracy(), classes->class_accuracy(), classes->mean_iou()};
      for (size_t i = 0; i < std::size(values); ++i) add(str(kSegmentation[i], tail), values[i], segmenter_text_, 4);
    }
  }
  if (!net_) return scores;
  const Tensor made = rows_of(made_, added_), real = rows_of(real_, added_);
  if (frechet_) add("frechet", asapnet::frechet_distance(made, real), net_text_, 0);
  if (kernel_) add("kernel", asapnet::kernel_distance(made, real), net_text_, 0);
  return scores;
}

}  // namespace asap::train
