// Judging pictures. Declared in evaluate.h.
#include "train/infer/evaluate.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "asapnet/feature_distance.h"
#include "asapnet/feature_net.h"
#include "nn/network_weights.h"
#include "train/data/list_pairs.h"
#include "train/data/match_files.h"
#include "train/files/output_guard.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/resolve.h"
#include "train/pictures/image_files.h"
#include "train/pictures/metrics.h"
#include "train/pictures/resize.h"
#include "train/run/checkpoint.h"
#include "train/run/progress.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

struct Judged {
  Image picture, reference;
};

struct Extent {
  int width = 0, height = 0;
  int side() const { return std::min(width, height); }
};

// What is to be judged, whichever way it comes.
struct Exhibition {
  std::vector<Pair> pairs;
  std::string source;                       // of the pictures, for the table's title
  int tile = 0;                             // 0: not known
  std::function<Extent(size_t)> look = {};  // reads and checks a pair without making the picture
  std::function<Judged(size_t)> show = {};
};

// One number for all pictures: a distance of features.
struct Distance {
  std::string name;
  double value;
};

// One number a picture.
struct Column {
  std::string name;
  int digits;
  std::function<double(const Image&, const Image&)> value;
  std::vector<double> values = {};
};

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

asapnet::FeatureNet load_feature_net(const fs::path& path) {
  nn::CheckpointFile file(path);
  const nn::StateDict weights = nn::NetworkWeights(file, "features.").read({"features."});
  nn::check_finite(weights, path.string());
  return {weights, path.string()};
}

// Whether a metric is computed. `obstacle`: "" or why it cannot be, with what would help: an error if the metric was asked for
// by name, else told if `tell`.
bool takes(const EvaluateOptions& options, const std::string& metric, const std::string& obstacle, bool tell = true) {
  const bool named = options.metrics.contains(metric);
  if (!named && !options.metrics.empty()) return false;
  ASAP_CHECK(obstacle.empty() || !named, metric, ": ", obstacle);
  if (!obstacle.empty() && tell) warn("without " + metric + ": " + obstacle);
  return obstacle.empty();
}

// Reads every pair once before the work begins; returns the number of the one with the smallest side, and its size.
std::pair<size_t, Extent> check_pairs(const Exhibition& show) {
  constexpr int kMost = std::numeric_limits<int>::max();
  std::pair<size_t, Extent> least{0, {kMost, kMost}};
  const auto look = [&](size_t i) {
    const Extent extent = show.look(i);
    if (extent.side() < least.second.side()) least = {i, extent};
  };
  const std::string complaint = work_through(show.pairs, "pairs of pictures", look, [](size_t) {});
  ASAP_CHECK(complaint.empty(), complaint);
  return least;
}

std::vector<Column> columns_for(const Exhibition& show, const EvaluateOptions& options) {
  const auto [smallest, extent] = check_pairs(show);
  const int tile = show.tile;
  const auto too_small = [&, i = smallest, e = extent](int needed) {
    return e.side() >= needed ? std::string()
                              : str(show.pairs[i].name, " is ", size_text(e.width, e.height), ", and ", needed,
                                    " pixels a side are needed; take larger pictures");
  };
  std::vector<Column> columns;
  if (takes(options, "psnr", "")) columns.push_back({"psnr", 2, psnr});
  if (takes(options, "ssim", too_small(kSsimSide))) columns.push_back({"ssim", 4, ssim});
  if (takes(options, "ms-ssim", too_small(kMsSsimSide))) columns.push_back({"ms-ssim", 4, ms_ssim});
  const std::string no_seams = tile == 0   ? "the side of the tiles is not known; give it with --tile N"
                               : tile == 1 ? "tiles of one pixel are all seam"
                                           : too_small(tile + 1);
  if (takes(options, "seams", no_seams, tile != 0)) {
    columns.push_back({"seams", 3, [tile](const Image& picture, const Image&) { return tile_seams(picture, tile); }});
    columns.push_back(
        {"seams_of_references", 3, [tile](const Image&, const Image& photo) { return tile_seams(photo, tile); }});
  }
  return columns;
}

void store_features(const asapnet::FeatureNet& net, const Image& image, Tensor& rows, size_t i) {
  constexpr int kSide = asapnet::FeatureNet::kSide;
  Tensor x = Tensor::empty({1, 3, kSide, kSide});
  image_to_floats(resize_bicubic(image, kSide, kSide), x.data<float>());
  const std::vector<float> features = net.forward(x).to_vector<float>();
  std::copy(features.begin(), features.end(), rows.data<double>() + i * features.size());
}

// `network`: "MobileNetV2 features (1280), crc32 0123abcd".
void print_table(const Exhibition& show, const std::vector<Column>& columns, const std::vector<Distance>& distances,
                 const std::string& network) {
  const auto line = [](const std::string& a, const std::string& b, const std::string& c) {
    std::cout << std::left << std::setw(20) << a << std::right << std::setw(12) << b << "  " << c << "\n";
  };
  const auto fixed = [](double value, int digits) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << value;
    return std::isnan(value) ? "-" : text.str();
  };
  std::cout << show.pairs.size() << " picture" << (show.pairs.size() == 1 ? "" : "s") << ": "
            << terminal_safe(show.source) << "\n";
  if (!columns.empty()) line("", "mean", "standard deviation");
  for (const Column& c : columns)
    line(c.name, fixed(mean_of(c.values), c.digits), fixed(deviation_of(c.values), c.digits));
  for (const Distance& d : distances) line(d.name, str(d.value), "of " + network);
}

void write_json(const fs::path& path, const Exhibition& show, const std::vector<Column>& columns,
                const std::vector<Distance>& distances, const std::string& network) {
  using Json = nlohmann::ordered_json;  // writes null for what is infinite or not a number
  Json all{{"source", show.source}, {"pictures", show.pairs.size()}};
  if (show.tile > 0) all["tile"] = show.tile;
  for (const Column& c : columns)
    all["metrics"][c.name] = {{"mean", mean_of(c.values)}, {"standard_deviation", deviation_of(c.values)}};
  for (const Distance& d : distances) all["metrics"][d.name] = {{"value", d.value}, {"of", network}};
  for (size_t i = 0; i < show.pairs.size(); ++i) {
    Json one{{"name", show.pairs[i].name}};
    for (const Column& c : columns) one[c.name] = c.values[i];
    all["per_picture"].push_back(one);
  }
  write_file(path, all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void check_output(const Exhibition& show, const fs::path& weights, const EvaluateOptions& options) {
  if (options.out.empty()) return;
  OutputGuard guard;
  for (const Pair& pair : show.pairs) {
    for (const fs::path& file : {pair.label, pair.instance, pair.image}) guard.protect(file, "one of the pictures");
  }
  for (const fs::path& file : {weights, options.features}) guard.protect(file, "a file of weights");
  guard.check(options.out);
  make_folder(fs::absolute(options.out).parent_path());
}

void judge(Exhibition& show, const EvaluateOptions& options) {
  const std::string no_features = options.features.empty()
                                      ? "features of a network are needed; give its weights with --features FILE"
                                  : show.pairs.size() < 2 ? "one picture has no covariance; at least two are needed"
                                                          : "";
  const bool tell = !options.features.empty();
  const bool frechet = takes(options, "frechet", no_features, tell);
  const bool kernel = takes(options, "kernel", no_features, tell);
  std::optional<asapnet::FeatureNet> net;
  if (frechet || kernel) net = load_feature_net(options.features);
  std::vector<Column> columns = columns_for(show, options);
  Tensor made, real;  // features, f64 [n,d]
  std::vector<Distance> distances;
  std::string network;
  const auto count = static_cast<int64_t>(show.pairs.size());
  if (net) {
    for (Tensor* t : {&made, &real}) *t = Tensor::empty({count, net->dimensions()}, DType::f64);
    network = str(net->name(), " features (", net->dimensions(), "), crc32 ", file_checksum(options.features));
    if (frechet && count <= net->dimensions())
      warn(str("frechet: ", count, " pictures for ", net->dimensions(), " features: the number is biased upwards, and ",
               "compares only with those of as many pictures; kernel is not biased"));
  }
  {
    CountBar bar(show.pairs.size());
    for (size_t i = 0; i < show.pairs.size(); ++i) {
      bar.update(i, show.pairs[i].name);
      const Judged pair = show.show(i);
      for (Column& c : columns) c.values.push_back(c.value(pair.picture, pair.reference));
      if (!net) continue;
      store_features(*net, pair.picture, made, i);
      store_features(*net, pair.reference, real, i);
    }
  }
  if (frechet) distances.push_back({"frechet", asapnet::frechet_distance(made, real)});
  if (kernel) distances.push_back({"kernel", asapnet::kernel_distance(made, real)});
  print_table(show, columns, distances, network);
  if (!options.out.empty()) write_json(options.out, show, columns, distances, network);
}

}  // namespace

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names{"psnr", "ssim", "ms-ssim", "seams", "frechet", "kernel"};
  return names;
}

void evaluate(const WeightSource& source, const PictureOptions& pictures, const EvaluateOptions& options) {
  const TrainOptions& o = source.options.train;
  ASAP_CHECK(!o.dataroot.empty() || !o.label_dir.empty(),
             "evaluate: expected label maps with their photos; give --dataset and --data");
  Exhibition show{.pairs = list_pairs(dataset_options(source.options)),
                  .source = source.generator.string(),
                  .tile = static_cast<int>(source.options.model.tile())};
  check_output(show, source.generator, options);
  PictureMaker maker(source, pictures);
  show.look = [&](size_t i) {
    const NetworkSample loaded = maker.load(show.pairs[i]);
    const Image& photo = loaded.sample.photo;
    ASAP_CHECK(photo.width == loaded.width && photo.height == loaded.height, show.pairs[i].image.string(), ": is ",
               size_text(photo.width, photo.height), ", but its picture will be ",
               size_text(loaded.width, loaded.height), "; choose another --size or --preprocess");
    return Extent{loaded.width, loaded.height};
  };
  show.show = [&](size_t i) {
    NetworkSample loaded = maker.load(show.pairs[i]);
    Image photo = std::move(loaded.sample.photo);
    return Judged{picture_of(maker.make(std::move(loaded), i)), std::move(photo)};
  };
  judge(show, options);
}

void evaluate_folders(const fs::path& pictures, const fs::path& references, int tile, const EvaluateOptions& options) {
  constexpr const char *kPictures = "pictures (--pictures)", *kReferences = "references (--references)";
  check_folder(pictures, kPictures);
  check_folder(references, kReferences);
  check_two_folders(pictures, "--pictures", references, "--references");
  Exhibition show{.pairs = match_files(scan_side("picture", pictures, kPictures),
                                       scan_side("reference", references, kReferences), {}, warn),
                  .source = pictures.string(),
                  .tile = tile};
  check_output(show, {}, options);
  show.show = [&](size_t i) {
    const Pair& pair = show.pairs[i];
    Judged both{read_photo(pair.label), read_photo(pair.image)};
    ASAP_CHECK(both.picture.width == both.reference.width && both.picture.height == both.reference.height,
               pair.label.string(), " is ", size_text(both.picture.width, both.picture.height), ", but ",
               pair.image.string(), " is ", size_text(both.reference.width, both.reference.height),
               "; pictures and references must be of equal size");
    return both;
  };
  show.look = [&](size_t i) {
    const Judged both = show.show(i);
    return Extent{both.picture.width, both.picture.height};
  };
  judge(show, options);
}

}  // namespace asap::train
