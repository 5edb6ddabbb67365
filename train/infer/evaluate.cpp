// Judging pictures. Declared in evaluate.h.
#include "train/infer/evaluate.h"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "train/data/batch.h"
#include "train/data/list_pairs.h"
#include "train/data/match_files.h"
#include "train/files/output_guard.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/resolve.h"
#include "train/pictures/image_files.h"
#include "train/run/progress.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

struct Judged {
  Image picture, reference;
  LabelMap labels = {};  // empty without classes
};

struct Extent {
  int width = 0, height = 0;
  int side() const { return std::min(width, height); }
};

// What is to be judged, whichever way it comes.
struct Exhibition {
  PairList pairs;
  std::string source;                       // of the pictures, for the table's title
  int tile = 0;                             // 0: not known
  int64_t classes = 0;                      // of the label maps; 0: there are none
  std::function<Extent(size_t)> look = {};  // reads and checks a pair without making the picture
  std::function<Judged(size_t)> show = {};
};

// Reads every pair once before the work begins.
Exhibits look_through(const Exhibition& show, const Ranks& ranks) {
  std::vector<double> sizes;
  const auto look = [&](size_t i) {
    const Extent extent = show.look(i);
    sizes.insert(sizes.end(), {static_cast<double>(extent.width), static_cast<double>(extent.height)});
  };
  const std::string complaint = work_through(ranks, show.pairs, "pairs of pictures", look, [](size_t) {});
  ASAP_CHECK(complaint.empty(), complaint);
  sizes = ranks.gather(sizes);
  constexpr int kMost = std::numeric_limits<int>::max();
  Exhibits all{.count = show.pairs.size(), .width = kMost, .height = kMost, .tile = show.tile, .classes = show.classes};
  for (size_t i = 0; i < show.pairs.size(); ++i) {
    const Extent extent{static_cast<int>(sizes[2 * i]), static_cast<int>(sizes[2 * i + 1])};
    if (extent.side() >= all.side()) continue;
    all.smallest = show.pairs[i].name;
    all.width = extent.width;
    all.height = extent.height;
  }
  return all;
}

void print_table(const Exhibition& show, const std::vector<Score>& scores) {
  const auto line = [](const std::string& a, const std::string& b, const std::string& c) {
    std::cout << std::left << std::setw(28) << a << std::right << std::setw(12) << b << "  " << c << "\n";
  };
  std::cout << show.pairs.size() << " picture" << (show.pairs.size() == 1 ? "" : "s") << ": "
            << terminal_safe(show.source) << "\n";
  if (!scores.empty() && scores.front().per_picture) line("", "mean", "standard deviation");
  for (const Score& s : scores) {
    const std::string deviation = s.per_picture ? shown(s.deviation, s.digits) : "";
    const std::string of = s.of.empty() ? "" : (deviation.empty() ? "of " : "  of ") + s.of;
    line(s.name, shown(s.value, s.digits), deviation + of);
  }
}

void write_json(const fs::path& path, const Exhibition& show, const std::vector<Score>& scores,
                const std::vector<ScoreColumn>& columns) {
  using Json = nlohmann::ordered_json;  // writes null for what is infinite or not a number
  Json all{{"source", show.source}, {"pictures", show.pairs.size()}};
  if (show.tile > 0) all["tile"] = show.tile;
  for (const Score& s : scores) {
    Json& one = all["metrics"][s.name] = {{s.per_picture ? "mean" : "value", s.value}};
    if (s.per_picture) one["standard_deviation"] = s.deviation;
    if (!s.of.empty()) one["of"] = s.of;
  }
  for (size_t i = 0; i < show.pairs.size(); ++i) {
    Json one{{"name", show.pairs[i].name}};
    for (const ScoreColumn& c : columns) one[c.name] = c.values[i];
    all["per_picture"].push_back(one);
  }
  write_file(path, all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void check_output(const Exhibition& show, const std::vector<fs::path>& weights, const EvaluateOptions& options) {
  if (options.out.empty()) return;
  OutputGuard guard;
  for (const Pair& pair : show.pairs) {
    for (const fs::path& file : {pair.label, pair.instance, pair.image}) guard.protect(file, "one of the pictures");
  }
  for (const auto& files : {weights, options.judge.files()})
    for (const fs::path& file : files) guard.protect(file, "a file of weights");
  guard.check(options.out);
  make_folder(fs::absolute(options.out).parent_path());
}

void judge_all(const Exhibition& show, const EvaluateOptions& options, const Ranks& ranks) {
  const Exhibits exhibits = look_through(show, ranks);
  std::optional<Judge> judge;
  ranks.together([&] {
    judge.emplace(options.judge, exhibits);
    const auto [first, last] = ranks.share_of(show.pairs.size());
    CountBar bar(last - first);
    for (size_t i = first; i < last; ++i) {
      bar.update(i - first, show.pairs[i].name);
      const Judged one = show.show(i);
      judge->add(one.picture, one.reference, one.labels);
    }
  });
  judge->collect(ranks);
  ranks.together([&] {
    if (!ranks.is_first()) return;
    const std::vector<Score> scores = judge->scores();
    print_table(show, scores);
    if (!options.out.empty()) write_json(options.out, show, scores, judge->columns());
  });
}

}  // namespace

void evaluate(const WeightSource& source, const PictureOptions& pictures, const EvaluateOptions& options, const Ranks& ranks) {
  const TrainOptions& o = source.options.train;
  ASAP_CHECK(!o.dataroot.empty() || !o.label_dir.empty(),
             "evaluate: expected label maps with their photos; give --dataset and --data");
  Exhibition show{.pairs = list_pairs(dataset_options(source.options)),
                  .source = source.generator.string(),
                  .tile = static_cast<int>(source.options.model.tile()),
                  .classes = source.options.model.no_one_hot ? 0 : source.options.model.label_nc};
  check_output(show, {source.generator, source.encoder}, options);
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
    Judged one{.picture = {}, .reference = std::move(loaded.sample.photo), .labels = loaded.sample.label};
    if (!one.labels.empty())
      one.labels = crop(one.labels, 0, 0, loaded.width, loaded.height);  // native sizes are extended to tiles
    one.picture = picture_of(maker.make(std::move(loaded), i));
    return one;
  };
  judge_all(show, options, ranks);
}

void evaluate_folders(const fs::path& pictures, const fs::path& references, int tile, const EvaluateOptions& options,
                      const Ranks& ranks) {
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
    const Pair pair = show.pairs[i];
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
  judge_all(show, options, ranks);
}

}  // namespace asap::train
