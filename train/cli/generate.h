// Using trained weights: label maps to pictures (generate), pictures to codes (encode).
// Sits on batch.h, checkpoint.h and architecture.h. Next: cli_generate.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "asapnet/model.h"
#include "tensor/precision.h"
#include "train/data/list_pairs.h"
#include "train/options/options.h"

namespace asap::train {

// Where weights come from, and the options they were trained with as far as is known.
struct WeightSource {
  std::filesystem::path generator, encoder;  // files; encoder empty if there is none
  Options options;
  std::vector<std::string> assumed;  // what neither file nor user said (architecture.h)
};

// What the user asked for on top of what the weights say.
struct Wishes {
  std::function<void(Options&)> apply;                    // a preset, a --config file, flags
  std::function<std::string(const OptionField&)> origin;  // of a value, for errors: "--label-nc 20"
};

// `weights`: a run folder, a checkpoint folder, a .safetensors or a .pth file. The configuration is the run's
// config.json or the file's metadata, and the model's options are then as they were trained; or it is what names and
// shapes tell, with the wishes to limit the search. asap::Error: no such file or run, not a generator's weights, nothing
// that fits, a wish that contradicts the trained model.
WeightSource find_weights(const std::filesystem::path& weights, const Wishes& wishes);

struct PictureSize {
  int64_t width = 0, height = 0;  // 0: the training size
  bool native = false;            // each label map's own
};
// "512", "512x256" (width x height) or "native". asap::Error otherwise.
PictureSize parse_size(const std::string& text);

struct GenerateOptions {
  std::vector<std::filesystem::path> labels = {};     // files or folders; empty: the dataset of `options`
  std::filesystem::path instances = {};               // file or folder beside `labels`
  Affixes label_affixes = {}, instance_affixes = {};  // of the names in folders of both
  Half labels_half = Half::none;                      // `labels` are A|B pictures, of which this half is the input
  std::filesystem::path out = {};                     // a folder; for one label map also the picture's file, NAME.png
  PictureSize size = {};
  bool keep_preprocess = false;  // preprocess as options.train.preprocess_mode says, not to `size`
  bool raw = false;              // also NAME.npy, float32 [3,H,W]
  Precision precision = Precision::f32;
};

// Writes OUT/NAME.png for every label map and prints the milliseconds each took, from labels to pixels, without the
// preparation of a session (asapnet/session.h).
// asap::Error before anything is written: settings, files that are missing, an output that is one of the user's files.
// Label maps that cannot be used are left out; the rest is made, and then an asap::Error lists them with their reasons.
void generate(const WeightSource& source, const GenerateOptions& options);

// Writes NAME_mu.npy and NAME_logvar.npy, float32 [z_dim], for every picture (files or folders). Errors as generate's.
void encode(const WeightSource& source, const std::vector<std::filesystem::path>& images,
            const std::filesystem::path& out);

}  // namespace asap::train
