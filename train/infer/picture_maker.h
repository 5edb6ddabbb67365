// Trained weights at work: pairs of files to pictures, one by one, and many files of which some cannot be used. What
// generate and evaluate share. Sits on asapnet/session.h and load_sample.h. Next: generate.cpp, evaluate.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "asapnet/session.h"
#include "train/data/load_sample.h"
#include "train/options/options.h"
#include "train/ranks/ranks.h"

namespace asap::train {

// Where weights come from, and the options they were trained with as far as is known.
struct WeightSource {
  std::filesystem::path generator, encoder;  // files; encoder empty if there is none
  Options options;
  std::vector<std::string> assumed;  // what neither file nor user said (architecture.h)
};

struct PictureSize {
  int64_t width = 0, height = 0;  // 0: the training size
  bool native = false;            // each label map's own
};

struct PictureOptions {
  PictureSize size = {};
  bool keep_preprocess = false;  // preprocess as options.train.preprocess_mode says, not to `size`
  bool raw = false;              // values, not pictures
  Precision precision = Precision::f32;
};

// A pair as the network takes it: in native size, extended to whole tiles.
struct NetworkSample {
  Sample sample;
  int width = 0, height = 0;  // of the picture
};

class PictureMaker {
 public:
  // Sets the number of threads and loads the generator. asap::Error: a size or a file of weights that will not do.
  PictureMaker(const WeightSource& source, const PictureOptions& options);

  // asap::Error naming the file that cannot be used.
  NetworkSample load(const Pair& pair) const;
  // A sample that is in memory already, with labels that are classes. `name` is for errors.
  NetworkSample prepare(Sample sample, const std::string& name) const;
  // u8 [1,H,W,C], or with `raw` f32 [1,C,H,W], good until the next call. `index` chooses the code of a model with
  // condition_on_z.
  Tensor make(NetworkSample loaded, size_t index);
  // What the last make() took, from labels to pixels, without the preparation of a session.
  double milliseconds() const { return milliseconds_; }

 private:
  asapnet::InferenceSession& session_of_size(int64_t height, int64_t width);

  const Options options_;
  const bool raw_;
  PreprocessOptions preprocess_;
  asapnet::SessionOptions form_;
  asapnet::Generator generator_;
  std::unique_ptr<asapnet::InferenceSession> session_;  // of the latest size
  double milliseconds_ = 0;
};

// make(i) and write(i) for every file of this rank's share. Files of which nothing can be made are left out; what write() meets, a full
// disk say, would meet the others too and ends the rank's work. Returns the sentence about both and all ranks, "" if there is nothing to
// say. SharedError: the ranks have different numbers of files.
std::string work_through(const Ranks& ranks, const PairList& files, const char* what,
                         const std::function<void(size_t)>& make, const std::function<void(size_t)>& write);

}  // namespace asap::train
