// From a pair of files to a picture. Declared in picture_maker.h.
#include "train/infer/picture_maker.h"

#include <algorithm>
#include <chrono>
#include <new>

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

std::string work_through(const PairList& files, const char* what, const std::function<void(size_t)>& make,
                         const std::function<void(size_t)>& write) {
  std::vector<std::string> bad;
  std::string text;
  size_t tried = 0;
  while (tried < files.size() && text.empty()) {
    const size_t i = tried++;
    const std::string file = files[i].label.string();
    try {
      make(i);
    } catch (const OutOfMemory& error) {
      bad.push_back(str(file, ": ", error.what(), "; smaller pictures need less"));
      continue;
    } catch (const Error& error) {
      bad.emplace_back(error.what());
      continue;
    } catch (const std::bad_alloc&) {
      bad.push_back(file + ": out of memory; smaller pictures need less");
      continue;
    }
    try {
      write(i);
    } catch (const Error& error) {
      text = error.what();
    }
  }
  if (tried < files.size())
    text += str("; ", files.size() - tried, " of ", files.size(), " ", what, " are left undone");
  if (bad.empty()) return text;
  if (files.size() == 1) return bad.front();
  text += str(text.empty() ? "" : "; ", bad.size(), " of ", files.size(), " ", what, " could not be used:");
  for (const std::string& reason : bad) text += "\n  " + reason;
  return text;
}

}  // namespace asap::train
