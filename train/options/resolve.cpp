// Derived options and the checks that no single option can make. Declared in resolve.h.
#include "train/options/resolve.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tensor/kernel_slot.h"
#include "tensor/precision.h"
#include "tensor/threads.h"
#include "train/data/label_colours.h"
#include "train/options/idle_options.h"

namespace asap::train {
namespace {

constexpr int64_t kLongestSide = 1 << 16;  // pixels; larger pictures are refused by the readers anyway

DatasetLayout dataset_layout(const TrainOptions& o) {
  const std::pair<const char*, DatasetLayout> layouts[] = {{"facades", DatasetLayout::facades},
                                                           {"cityscapes", DatasetLayout::cityscapes},
                                                           {"custom", DatasetLayout::custom},
                                                           {"aligned", DatasetLayout::aligned}};
  for (const auto& [name, layout] : layouts)
    if (o.dataset_mode == name) return layout;
  fail("config: dataset_mode is '", o.dataset_mode, "'; it must be facades, cityscapes, custom or aligned");
}

void at_least(const char* option, int64_t value, int64_t least) {
  ASAP_CHECK(value >= least, "config: ", option, " is ", value, "; it must be at least ", least);
}

void at_most(const char* option, int64_t value, int64_t most) {
  ASAP_CHECK(value <= most, "config: ", option, " is ", value, "; it must be at most ", most);
}

// In the user's terms, what validate() would say of something that follows from it.
void check_crop_size(const asapnet::Config& c) {
  const double least = 16 * c.aspect_ratio * static_cast<double>(c.learned_ds_factor);
  const bool possible = c.crop_size >= 1 && c.aspect_ratio > 0 && c.learned_ds_factor >= 2 && least <= kLongestSide;
  ASAP_CHECK(!possible || static_cast<double>(c.crop_size) >= least, "config: crop_size ", c.crop_size,
             " is too small; with learned_ds_factor ", c.learned_ds_factor, " it must be at least ", least,
             ", or learned_ds_factor smaller");
}

void check_training(const TrainOptions& o) {
  at_least("batchSize", o.batchSize, 1);
  at_least("niter", o.niter, 0);
  at_least("niter_decay", o.niter_decay, 0);
  at_least("niter + niter_decay", o.niter + o.niter_decay, 1);
  at_least("steps", o.steps, 0);
  at_least("D_steps_per_G", o.D_steps_per_G, 1);
  at_least("accumulate", o.accumulate, 1);
  at_least("warmup_steps", o.warmup_steps, 0);
  ASAP_CHECK(o.ema >= 0 && o.ema < 1, "config: ema is ", o.ema, "; it must be at least 0 and below 1");
  at_least("seed", o.seed, 0);
  at_least("nThreads", o.nThreads, 1);
  at_least("threads", o.threads, 1);
  at_least("samples", o.samples, 1);
  at_least("max_dataset_size", o.max_dataset_size, 0);
  ASAP_CHECK(o.lr > 0, "config: lr is ", o.lr, "; it must be above 0");
  ASAP_CHECK(o.adam_eps > 0, "config: adam_eps is ", o.adam_eps, "; it must be above 0");
  for (const auto& [option, beta] : {std::pair{"beta1", o.beta1}, {"beta2", o.beta2}}) {
    ASAP_CHECK(beta >= 0 && beta < 1, "config: ", option, " is ", beta, "; it must be at least 0 and below 1");
  }
  ASAP_CHECK(o.spectral_init == "pytorch" || o.spectral_init == "xavier", "config: spectral_init is '", o.spectral_init,
             "'; it must be pytorch or xavier");
  parse_precision(o.precision);
  ASAP_CHECK(o.reduce_dtype == "f32" || o.reduce_dtype == "bf16", "config: reduce_dtype is '", o.reduce_dtype,
             "'; it must be f32 or bf16");
  at_least("eval_count", o.eval_count, 0);
  ASAP_CHECK(o.keep_best.empty() || o.eval_every.count > 0, "config: keep_best is ", o.keep_best,
             ", but nothing is judged; give --eval-every too");
}

// A file becomes its table, so that a run needs the file no more.
void resolve_palette(Options& options) {
  std::string& palette = options.train.palette;
  if (palette.empty()) return;
  const asapnet::Config& model = options.model;
  ASAP_CHECK(!model.no_one_hot,
             "config: palette is about label maps, but with no_one_hot the input is a picture; leave one out");
  const LabelColours table = palette[0] == '{' ? LabelColours(palette, "config: palette") : LabelColours::read(palette);
  const bool ends_with_dontcare = model.contain_dontcare_label && table.classes() == 256;
  ASAP_CHECK(table.classes() <= model.label_nc || ends_with_dontcare, "config: the palette has the classes 0 to ",
             table.classes() - 1, ", but label_nc is ", model.label_nc, "; ", table.classes(), " would do");
  palette = table.to_json();
}

}  // namespace

void check_trainable(const Options& options) {
  const int64_t channels = options.model.output_nc;
  ASAP_CHECK(channels == 3, "output_nc is ", channels, "; photos have 3 channels, so it must be 3");
}

void resolve(Options& options) {
  TrainOptions& o = options.train;
  check_crop_size(options.model);
  options.model.validate();
  dataset_layout(o);
  input_half(o);
  reset_idle_values(options);
  if (o.preprocess_mode.empty()) o.preprocess_mode = o.dataset_mode == "cityscapes" ? "fixed" : "resize_and_crop";
  preprocess_from_name(o.preprocess_mode);
  if (o.load_size == 0) o.load_size = std::llround(static_cast<double>(options.model.crop_size) * 286 / 256);
  at_least("load_size", o.load_size, 1);
  ASAP_CHECK(o.preprocess_mode != "resize_and_crop" || o.load_size >= options.model.crop_size, "config: load_size is ",
             o.load_size, ", smaller than the crop of ", options.model.crop_size,
             " that is taken from it; use --load-size ", options.model.crop_size, " or more, or a smaller --crop-size");
  at_most("load_size", o.load_size, kLongestSide);
  at_most("label_nc", options.model.label_nc, kMostClasses);
  const auto betas = asapnet::OptimizerConfig::defaults(o.no_TTUR);
  if (o.beta1 == -1) o.beta1 = betas.beta1;
  if (o.beta2 == -1) o.beta2 = betas.beta2;
  if (o.threads == 0) o.threads = default_threads();
  for (std::string* path : {&o.dataroot, &o.label_dir, &o.image_dir, &o.instance_dir, &o.split_file, &o.init_g,
                            &o.init_d, &o.vgg, &o.eval_label_dir, &o.eval_image_dir, &o.eval_instance_dir, &o.features,
                            &o.lpips_backbone, &o.lpips_heads, &o.segmenter}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  resolve_palette(options);
  check_training(o);
}

Half input_half(const TrainOptions& o) {
  ASAP_CHECK(o.direction == "AtoB" || o.direction == "BtoA", "config: direction is '", o.direction,
             "'; it must be AtoB or BtoA");
  return o.direction == "AtoB" ? Half::left : Half::right;
}

DatasetOptions dataset_options(const Options& options) {
  const TrainOptions& o = options.train;
  const DatasetLayout layout = dataset_layout(o);
  const bool custom = layout == DatasetLayout::custom;
  const bool instances = options.model.instance_channel();
  ASAP_CHECK(!custom || !o.label_dir.empty(), "data: the custom dataset needs --label-dir (and --image-dir to train)");
  ASAP_CHECK(custom || !o.dataroot.empty(), "data: expected the folder of the ", o.dataset_mode,
             " dataset; give --data DIR");
  ASAP_CHECK(!instances || layout == DatasetLayout::cityscapes || !o.instance_dir.empty(),
             "data: the model takes an instance channel, but there are no instance maps; give --dataset custom with "
             "--instance-dir, or "
             "turn the channel off with --no-instance-edge --no-instance-dist");
  ASAP_CHECK(
      layout != DatasetLayout::aligned || options.model.no_one_hot || !o.palette.empty(),
      "data: the aligned dataset's input halves are pictures; give --no-one-hot to take their colours as they are, or "
      "--palette FILE to take them as classes");
  return {.layout = layout,
          .root = o.dataroot,
          .phase = o.phase,
          .split_file = o.split_file,
          .label_dir = o.label_dir,
          .image_dir = o.image_dir,
          .instance_dir = instances ? o.instance_dir : "",
          .label_affixes = {o.label_prefix, o.label_suffix},
          .image_affixes = {o.image_prefix, o.image_suffix},
          .instance_affixes = {o.instance_prefix, o.instance_suffix},
          .input_half = input_half(o),
          .use_instances = instances};
}

PreprocessOptions preprocess_options(const Options& options) {
  const asapnet::Config& c = options.model;
  const std::string& palette = options.train.palette;
  return {.mode = preprocess_from_name(options.train.preprocess_mode),
          .load_size = static_cast<int>(options.train.load_size),
          .crop_size = static_cast<int>(c.crop_size),
          .aspect_ratio = c.aspect_ratio,
          .label_nc = static_cast<int>(c.label_nc),
          .contain_dontcare_label = c.contain_dontcare_label,
          .no_one_hot = c.no_one_hot,
          .nearest_colour = options.train.nearest_colour,
          .colours = palette.empty() ? nullptr : std::make_shared<LabelColours>(palette, "config: palette")};
}

asapnet::OptimizerConfig optimizer_config(const TrainOptions& o) {
  return {.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .adam_eps = o.adam_eps, .no_TTUR = o.no_TTUR};
}

Device available_device(const std::string& name) {
  ASAP_CHECK(name == "cpu" || name == "cuda", "device: expected cpu or cuda, got '", name, "'");
  const Device device = name == "cpu" ? Device::cpu : Device::cuda;
  ensure_kernels_registered();
  ASAP_CHECK(is_available(device), "device: ", name, " is not available: ", unavailable_reason(device),
             " (--device cpu)");
  return device;
}

}  // namespace asap::train
