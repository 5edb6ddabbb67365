// From a pair of files to a picture. Declared in picture_maker.h.
#include "train/infer/picture_maker.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <numeric>

#include "nn/init.h"
#include "tensor/threads.h"
#include "train/data/batch.h"
#include "train/data/native_size.h"
#include "train/options/resolve.h"
#include "train/run/checkpoint.h"
#include "train/run/examiner.h"

namespace asap::train {
namespace {

using Clock = std::chrono::steady_clock;

// `fixed` to the wanted size, unless the user chose a mode or the maps' own sizes.
PreprocessOptions preprocessing(const Options& trained, const PictureOptions& options) {
  PreprocessOptions p = preprocess_options(trained);
  if (options.keep_preprocess) return p;
  if (options.size.native) {
    p.mode = Preprocess::native;
    return p;
  }
  const asapnet::Config& config = trained.model;
  const int64_t width = options.size.width ? options.size.width : config.crop_size;
  const int64_t height = options.size.height ? options.size.height : config.height();
  ASAP_CHECK(width <= kMaxSide && height <= kMaxSide && width <= kMaxPixels / height, "--size: ", width, "x", height,
             " is too large; a picture has at most ", kMaxSide, " pixels a side and ", kMaxPixels, " in all");
  check_network_size(config, height, width, "--size");
  p.mode = Preprocess::fixed;
  p.crop_size = p.load_size = static_cast<int>(width);
  p.aspect_ratio = static_cast<double>(width) / static_cast<double>(height);
  return p;
}

// The top left part of what came out: u8 [1,H,W,C], or with `raw` f32 [1,C,H,W].
Tensor cut_to(const Tensor& result, int64_t height, int64_t width, bool raw) {
  const int rows = raw ? 2 : 1;
  return result.slice(rows, 0, height).slice(rows + 1, 0, width).contiguous();
}

asapnet::SessionOptions session_form(const Options& options, const PictureOptions& pictures) {
  return {.precision = pictures.precision,
          .device = available_device(options.train.device),
          .output = pictures.raw ? asapnet::SessionOutput::values : asapnet::SessionOutput::picture};
}

}  // namespace

PictureMaker::PictureMaker(const WeightSource& source, const PictureOptions& options)
    : options_(source.options),
      raw_(options.raw),
      preprocess_(preprocessing(options_, options)),
      form_(session_form(options_, options)),
      generator_((nn::init::Blank(), options_.model)) {
  set_num_threads(static_cast<int>(options_.train.threads));
  load_weights(source.generator, generator_, [&](const Tensor& w) { return asapnet::session_weight(w, form_); });
}

NetworkSample PictureMaker::load(const Pair& pair) const {
  return prepare(load_sample(pair, preprocess_, {}), pair.label.string());
}

NetworkSample PictureMaker::prepare(Sample sample, const std::string& name) const {
  NetworkSample prepared{.sample = std::move(sample)};
  prepared.width = prepared.sample.width();
  prepared.height = prepared.sample.height();
  if (preprocess_.mode == Preprocess::native) extend_to_tiles(options_.model, name, prepared.sample);
  check_network_size(options_.model, prepared.sample.height(), prepared.sample.width(), name);
  return prepared;
}

Tensor PictureMaker::make(NetworkSample loaded, size_t index) {
  Sample& sample = loaded.sample;
  sample.photo = {};  // of the picture's size, which need not be the network's
  const asapnet::Batch batch = make_batch({sample}, options_.model);
  const Tensor z = picture_code(options_, static_cast<int64_t>(index));
  asapnet::InferenceSession& session = session_of_size(sample.height(), sample.width());
  const auto begin = Clock::now();
  const Tensor& whole = session.run({.labels = batch.labels, .instance = batch.instance, .z = z});
  milliseconds_ = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return cut_to(whole, loaded.height, loaded.width, raw_);
}

// Sessions are of one size: made anew when a picture of another size comes, kept otherwise.
asapnet::InferenceSession& PictureMaker::session_of_size(int64_t height, int64_t width) {
  if (!session_ || form_.height != height || form_.width != width) {
    session_.reset();  // its memory first, to the system: blocks of one size seldom serve another
    release_cached_memory(form_.device);
    form_.height = height;
    form_.width = width;
    session_ = std::make_unique<asapnet::InferenceSession>(generator_, form_);
  }
  return *session_;
}

std::string work_through(const Ranks& ranks, const PairList& files, const char* what,
                         const std::function<void(size_t)>& make, const std::function<void(size_t)>& write) {
  ranks.check_alike(what, str(files.size(), " of them"), "all need the same files");
  std::string bad, end;  // what could not be used; what ended the work
  double tried = 0, unused = 0;
  const auto complain = [&](const std::string& reason) {
    bad += "\n  " + reason;
    ++unused;
  };
  const auto work = [&](size_t i) {
    const std::string file = files[i].label.string();
    ++tried;
    try {
      make(i);
    } catch (const OutOfMemory& error) {
      return complain(str(file, ": ", error.what(), "; smaller pictures need less"));
    } catch (const Error& error) {
      return complain(error.what());
    } catch (const std::bad_alloc&) {
      return complain(file + ": out of memory; smaller pictures need less");
    }
    try {
      write(i);
    } catch (const Error& error) {
      end = error.what();
    }
  };
  ranks.together([&] {
    const auto [first, last] = ranks.share_of(files.size());
    for (size_t i = first; i < last && end.empty(); ++i) work(i);
  });
  const auto total = [&](double mine) {
    const std::vector<double> all = ranks.gather(std::vector<double>{mine});
    return static_cast<size_t>(std::accumulate(all.begin(), all.end(), 0.0));
  };
  std::string text;
  for (const std::string& one : ranks.gather(end)) {
    if (text.empty()) text = one;
  }
  if (const size_t done = total(tried); done < files.size())
    text += str("; ", files.size() - done, " of ", files.size(), " ", what, " are left undone");
  const size_t all_unused = total(unused);
  if (all_unused == 0) return text;
  std::string reasons;
  for (const std::string& some : ranks.gather(bad)) reasons += some;
  if (files.size() == 1) return reasons.substr(reasons.find_first_not_of("\n "));
  return text + str(text.empty() ? "" : "; ", all_unused, " of ", files.size(), " ", what, " could not be used:", reasons);
}

}  // namespace asap::train
