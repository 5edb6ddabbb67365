// Every option of the program that is not the model's own (asapnet/config.h), and the table that lists all options of
// both once: the JSON reader, the command line, the report and resume are driven by that table.
// Next: config_json.h (JSON <-> Options), resolve.h, cli/option_flags.h.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "asapnet/config.h"

namespace asap::train {

// How often something happens: every `count` steps or epochs; 0 is never. As text: "500" or "2e" (epochs).
struct Every {
  int64_t count = 0;
  bool epochs = false;
  // Whether it is time after `step` steps (counted from 1) of `per_epoch` to an epoch.
  bool due(int64_t step, int64_t per_epoch) const;
  bool operator==(const Every&) const = default;
};

struct TrainOptions {
  // Data.
  std::string dataset_mode = "facades";  // facades, cityscapes, custom, aligned
  std::string dataroot = {}, label_dir = {}, image_dir = {}, instance_dir = {}, split_file = {};
  std::string label_prefix = {}, label_suffix = {}, image_prefix = {},
              image_suffix = {};  // custom, before the extension
  std::string instance_prefix = {}, instance_suffix = {};
  std::string direction = "AtoB";  // aligned: which half of a picture becomes which
  std::string phase = "train";
  std::string palette = {};      // colours of the classes: a file (label_colours.h), once resolved its table as JSON
  bool nearest_colour = false;   // colours that are not in the palette are taken for the nearest one that is
  int64_t max_dataset_size = 0;  // 0: all
  std::string preprocess_mode = {};  // empty: resize_and_crop, for cityscapes fixed
  int64_t load_size = 0;             // 0: crop_size * 286 / 256
  bool serial_batches = false, no_flip = false;
  int64_t nThreads = 2;  // threads that load pictures

  // Optimisation (docs/asapnet.md, Training).
  int64_t batchSize = 1;
  int64_t niter = 200, niter_decay = 100;  // epochs
  int64_t steps = 0;                       // end after so many steps; 0: after the epochs
  double lr = 2e-4;
  double beta1 = -1, beta2 = -1;  // below 0: the published ones, (0, 0.9), or (0.5, 0.999) with no_TTUR
  double adam_eps = 1e-8;
  bool no_TTUR = false;
  int64_t D_steps_per_G = 1;
  int64_t seed = 0;
  std::string spectral_init = "pytorch";  // or xavier: the first weights of the spectral-norm convolutions
  int64_t accumulate = 1;                 // batches a step
  int64_t warmup_steps = 0;               // in which the rate rises
  std::string reduce_dtype = "f32";       // or bf16: gradients on their way between ranks
  double ema = 0;                         // decay of the average of the generator's weights; 0: none is kept

  // Files to start from.
  std::string init_g = {}, init_d = {}, vgg = {};

  // The run.
  int64_t threads = 0;  // of the kernels; 0: one a core
  std::string device = "cpu";
  std::string precision = "f32";  // tensor/precision.h
  Every save_every{1, true}, sample_every{1, true}, print_every{20, false};
  int64_t samples = 4;  // pictures in a sample grid
  bool keep_checkpoints = false;
  bool tensorboard = false;

  // Judging on pairs that are not trained on (run/examiner.h).
  Every eval_every{0, true};
  std::string eval_phase = "test";                                               // all layouts but custom
  std::string eval_label_dir = {}, eval_image_dir = {}, eval_instance_dir = {};  // custom
  int64_t eval_count = 0;                                                        // most pictures; 0: all
  std::string eval_metrics = {};  // names with commas between; empty: all that can be had
  std::string features = {}, lpips_backbone = {}, lpips_heads = {}, segmenter = {};  // files of judge.h's networks
  std::string keep_best = {};  // the score whose best checkpoint stays
};

struct Options {
  asapnet::Config model;
  TrainOptions train;
};

enum class OptionGroup {
  data,
  loading,
  input,
  generator,
  discriminator,
  encoder,
  losses,
  optimisation,
  start,
  run,
  judging
};
const char* title(OptionGroup group);

// One option: its published name, its flag, what it means and where its value lives.
struct OptionField {
  std::string key;   // "batchSize": the key in JSON files
  std::string flag;  // "--batch-size"
  OptionGroup group;
  std::string help;
  std::variant<bool*, int64_t*, double*, std::string*, asapnet::GanMode*, Every*> value;
  bool may_change_on_resume = false;
};

// All options, bound to `options`, in the order of help and JSON files.
std::vector<OptionField> option_fields(Options& options);

// "a whole number", "true or false", ...: what the field takes, for errors and help.
std::string expected_value(const OptionField& field);
// The value as text, as the command line would take it.
std::string to_text(const OptionField& field);
// Sets the value from a flag's text. asap::Error: "--batch-size: expected a whole number, got 'x'".
void set_from_text(const OptionField& field, const std::string& text);

// Flags in kebab-case: "batchSize" -> "--batch-size", "num_D" -> "--num-d".
std::string flag_of(const std::string& key);

// What --precision means, for help.
inline constexpr const char* kPrecisionHelp =
    "f32, or less exact and, where the processor has units for them, faster products: tf32 (10 bits of significand; "
    "GPU) or "
    "bf16 (7 bits; GPU, CPU with AMX or AVX512-BF16)";

}  // namespace asap::train
