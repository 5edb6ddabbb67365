// Using trained weights: label maps to pictures (generate), pictures to codes (encode).
// Sits on picture_maker.h, checkpoint.h and architecture.h. Next: cli_generate.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/data/list_pairs.h"
#include "train/infer/picture_maker.h"

namespace asap::train {

// What the user asked for on top of what the weights say.
struct Wishes {
  std::function<void(Options&)> apply;                    // a preset, a --config file, flags
  std::function<std::string(const OptionField&)> origin;  // of a value, for errors: "--label-nc 20"
};

// `weights`: a run folder, a checkpoint folder, a file that names one (RUN/checkpoints/best), a .safetensors or a .pth file. The configuration is the run's
// config.json or the file's metadata, and the model's options are then as they were trained; or it is what names and
// shapes tell, with the wishes to limit the search. asap::Error: no such file or run, not a generator's weights, nothing
// that fits, a wish that contradicts the trained model.
WeightSource find_weights(const std::filesystem::path& weights, const Wishes& wishes);

// "512", "512x256" (width x height) or "native". asap::Error otherwise.
PictureSize parse_size(const std::string& text);

struct GenerateOptions {
  std::vector<std::filesystem::path> labels = {};     // files or folders; empty: the dataset of `options`
  std::filesystem::path instances = {};               // file or folder beside `labels`
  Affixes label_affixes = {}, instance_affixes = {};  // of the names in folders of both
  Half labels_half = Half::none;                      // `labels` are A|B pictures, of which this half is the input
  std::filesystem::path out = {};                     // a folder; for one label map also the picture's file, NAME.png
  PictureOptions pictures = {};                       // raw: also NAME.npy, float32 [3,H,W]
};

// Writes OUT/NAME.png for every label map and prints the milliseconds each took, from labels to pixels, without the
// preparation of a session (asapnet/session.h).
// asap::Error before anything is written: settings, files that are missing, an output that is one of the user's files.
// Label maps that cannot be used are left out; the rest is made, and then an asap::Error lists them with their reasons.
// Each rank makes its share (Ranks::share_of); the first one tells of all.
void generate(const WeightSource& source, const GenerateOptions& options, const Ranks& ranks = {});

// Writes NAME_mu.npy and NAME_logvar.npy, float32 [z_dim], for every picture (files or folders). Errors as generate's.
void encode(const WeightSource& source, const std::vector<std::filesystem::path>& images,
            const std::filesystem::path& out);

}  // namespace asap::train
