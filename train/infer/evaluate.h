// Numbers that judge pictures against photos: those that a generator makes of a data set's label maps, or two folders of
// pictures. Sits on picture_maker.h and run/judge.h. docs/evaluate.md says what each
// number is. Next: cli_evaluate.cpp.
#pragma once

#include <filesystem>

#include "train/infer/picture_maker.h"
#include "train/run/judge.h"

namespace asap::train {

struct EvaluateOptions {
  JudgeOptions judge = {};
  std::filesystem::path out = {};  // JSON; empty: none
};

// Makes the pictures of the data set as generate would save them, compares each with its photo, prints a table and writes the
// JSON file. The bits depend on the number of threads only as far as the made pictures' do.
// asap::Error before anything is computed: settings, files that are missing or cannot be used (all of them), a metric that
// was asked for by name and cannot be had, an output that is one of the user's files.
// Each rank judges its share (Ranks::share_of); the first one prints and writes what one alone would, to the bit.
void evaluate(const WeightSource& source, const PictureOptions& pictures, const EvaluateOptions& options, const Ranks& ranks = {});

// The same for two folders of pictures with equal names and sizes; seams need the tile's side, 0 if it is not known.
void evaluate_folders(const std::filesystem::path& pictures, const std::filesystem::path& references, int tile,
                      const EvaluateOptions& options, const Ranks& ranks = {});

}  // namespace asap::train
