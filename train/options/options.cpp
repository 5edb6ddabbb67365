// The table of all options, and conversions from and to text. Declared in options.h; next: resolve.cpp.
#include "train/options/options.h"

#include <cctype>
#include <charconv>
#include <cmath>

#include "tensor/error.h"

namespace asap::train {
namespace {

using Value = decltype(OptionField::value);

// Collects the fields; one line an option below.
struct Table {
  std::vector<OptionField> fields;
  OptionGroup group{};
  // `flag` is needed only where it is not the key in kebab-case.
  OptionField& add(const char* key, Value value, const char* help, const char* flag = nullptr) {
    fields.push_back({key, flag ? flag : flag_of(key), group, help, value});
    return fields.back();
  }
  void add_resumable(const char* key, Value value, const char* help, const char* flag = nullptr) {
    add(key, value, help, flag).may_change_on_resume = true;
  }
};

void add_data(Table& t, TrainOptions& o) {
  t.group = OptionGroup::data;
  t.add("dataset_mode", &o.dataset_mode, "layout of the data: facades, cityscapes, custom or aligned", "--dataset");
  t.add_resumable(
      "dataroot", &o.dataroot,
      "folder of the data (facades: the CMP base folder, or PHASE_label and PHASE_img; aligned: A|B pictures in "
      "PHASE)",
      "--data");
  t.add("phase", &o.phase, "split: the prefix of the folders, or train/test of the published facades split");
  t.add_resumable("label_dir", &o.label_dir, "custom: folder of label maps");
  t.add_resumable("image_dir", &o.image_dir, "custom: folder of photos, paired by file name");
  t.add_resumable("instance_dir", &o.instance_dir, "custom: folder of instance maps");
  t.add_resumable("label_prefix", &o.label_prefix, "custom: what names of label maps have before the common name");
  t.add_resumable("label_suffix", &o.label_suffix,
                  "custom: what they have behind it, before the extension (_seg: a_seg.png pairs with a.jpg)");
  t.add_resumable("image_prefix", &o.image_prefix, "custom: likewise for photos");
  t.add_resumable("image_suffix", &o.image_suffix, "custom: likewise for photos");
  t.add_resumable("instance_prefix", &o.instance_prefix, "custom: likewise for instance maps");
  t.add_resumable("instance_suffix", &o.instance_suffix, "custom: likewise for instance maps");
  t.add("direction", &o.direction, "aligned: AtoB makes the right half of a picture from its left half, BtoA the left");
  t.add_resumable("split_file", &o.split_file,
                  "facades: file with one picture name a line, instead of the published split");
  t.add("palette", &o.palette,
        "label maps are pictures in colours, and this file says which class each colour is: JSON ([[r,g,b], ...] by "
        "class, or {\"#rrggbb\": class, ...}), or a PNG of the colours");
  t.add("nearest_colour", &o.nearest_colour,
        "colours that are not in the palette are taken for the nearest one that is (blends at edges, JPEG)");
  t.add("preprocess_mode", &o.preprocess_mode,
        "resize_and_crop, crop, scale_width[_and_crop], scale_shortside[_and_crop], fixed or none; empty: "
        "resize_and_crop, "
        "for cityscapes fixed",
        "--preprocess");
  t.add("load_size", &o.load_size, "size before the random crop; 0: crop_size * 286 / 256");
  t.group = OptionGroup::loading;
  t.add("max_dataset_size", &o.max_dataset_size, "use only the first so many pictures; 0: all");
  t.add("serial_batches", &o.serial_batches, "take the pictures in order instead of shuffling");
  t.add("no_flip", &o.no_flip, "never mirror the pictures");
  t.add_resumable("nThreads", &o.nThreads, "threads that load pictures", "--workers");
}

void add_input(Table& t, asapnet::Config& c) {
  t.group = OptionGroup::input;
  t.add("label_nc", &c.label_nc, "label classes");
  t.add("contain_dontcare_label", &c.contain_dontcare_label, "label 255 is one more class");
  t.add("no_instance_edge", &c.no_instance_edge, "no input channel of instance edges");
  t.add("no_instance_dist", &c.no_instance_dist, "no input channel of distances to instance edges");
  t.add("no_one_hot", &c.no_one_hot, "the input is an RGB picture, not a label map");
  t.add("output_nc", &c.output_nc, "channels of the generated picture");
  t.add("crop_size", &c.crop_size, "width of the training pictures");
  t.add("aspect_ratio", &c.aspect_ratio, "width / height of the training pictures");
}

void add_generator(Table& t, asapnet::Config& c) {
  t.group = OptionGroup::generator;
  t.add("learned_ds_factor", &c.learned_ds_factor,
        "downsampling by strided convolutions; the rest up to the tile side is a fixed filter");
  t.add("lr_width", &c.lr_width, "low-res stream: channels of the first convolutions");
  t.add("lr_max_width", &c.lr_max_width, "low-res stream: channels at the grid's size");
  t.add("lr_depth", &c.lr_depth, "low-res stream: convolutions at the grid's size");
  t.add("hr_width", &c.hr_width, "pixelwise network: channels");
  t.add("hr_depth", &c.hr_depth, "pixelwise network: layers");
  t.add("lr_instance", &c.lr_instance, "the instance channel goes to the low-res stream only");
  t.add("reflection_pad", &c.reflection_pad, "low-res stream: pad by reflection instead of zeros");
  t.add("replicate_pad", &c.replicate_pad, "low-res stream: pad by repeating the border instead of zeros");
  t.add("norm_G", &c.norm_G, "normalisation of the generator: instanceaffine");
}

void add_discriminator(Table& t, asapnet::Config& c) {
  t.group = OptionGroup::discriminator;
  t.add("ndf", &c.ndf, "filters of the first convolution");
  t.add("ndf_max", &c.ndf_max, "most filters of a convolution");
  t.add("n_layers_D", &c.n_layers_D, "layers before the last one");
  t.add("num_D", &c.num_D, "discriminators, each on the input halved once more");
  t.add("norm_D", &c.norm_D, "spectralinstance or instanceaffine");
}

void add_encoder(Table& t, asapnet::Config& c) {
  t.group = OptionGroup::encoder;
  t.add("use_vae", &c.use_vae, "train a variational encoder too");
  t.add("ngf", &c.ngf, "encoder: filters of the first convolution");
  t.add("z_dim", &c.z_dim, "encoder: length of the code");
  t.add("condition_on_z", &c.condition_on_z, "extension: the generator uses the code (the published one ignores it)");
}

void add_losses(Table& t, asapnet::Config& c) {
  t.group = OptionGroup::losses;
  t.add("gan_mode", &c.gan_mode, "hinge, ls, original or w");
  t.add("lambda_feat", &c.lambda_feat, "weight of feature matching");
  t.add("lambda_vgg", &c.lambda_vgg, "weight of the perceptual loss");
  t.add("lambda_kld", &c.lambda_kld, "weight of the encoder's KL divergence");
  t.add("lambda_L1", &c.lambda_L1, "weight of the L1 loss (published when used: 100)");
  t.add("lambda_MSE", &c.lambda_MSE, "weight of the squared error (published when used: 10)");
  t.add("lambda_phi", &c.lambda_phi, "weight decay on the pixelwise networks' weights (published when used: 1e-8)");
  t.add("no_ganFeat_loss", &c.no_ganFeat_loss, "without feature matching", "--no-ganfeat-loss");
  t.add("no_vgg_loss", &c.no_vgg_loss, "without the perceptual loss");
  t.add("vgg_normalise", &c.vgg_normalise, "give the VGG ImageNet-normalised pictures (the published code does not)");
}

void add_optimisation(Table& t, TrainOptions& o) {
  t.group = OptionGroup::optimisation;
  t.add("batchSize", &o.batchSize, "pictures a step, those of all ranks together; with --accumulate, a batch");
  t.add_resumable("niter", &o.niter, "epochs at the full learning rate");
  t.add_resumable("niter_decay", &o.niter_decay, "further epochs, the rate falling to zero");
  t.add_resumable("steps", &o.steps, "end after so many steps (of --accumulate batches); 0: after the epochs");
  t.add("lr", &o.lr, "learning rate; with TTUR the generator's is half and the discriminator's twice that");
  t.add("no_TTUR", &o.no_TTUR, "the same learning rate for both networks");
  t.add("beta1", &o.beta1, "Adam; -1: 0, with no_TTUR 0.5");
  t.add("beta2", &o.beta2, "Adam; -1: 0.9, with no_TTUR 0.999");
  t.add("adam_eps", &o.adam_eps, "Adam's epsilon");
  t.add("D_steps_per_G", &o.D_steps_per_G, "discriminator steps for one of the generator");
  t.add("spectral_init", &o.spectral_init,
        "first weights of the spectral-norm convolutions: pytorch (as published) or xavier");
  t.add("accumulate", &o.accumulate,
        "batches a step, their gradients averaged: the step of a batch so many times as large, in the memory of one");
  t.add("warmup_steps", &o.warmup_steps, "steps in which the learning rate rises evenly from 0");
  t.add("reduce_dtype", &o.reduce_dtype,
        "f32, or bf16: how gradients travel between ranks; bf16 is half of the bytes, rounded to 8 bits");
  t.add("ema", &o.ema,
        "decay of an exponential moving average of the generator's weights (0.999), which samples, generate and evaluate "
        "then use; 0: none is kept");
  t.add("seed", &o.seed, "of weights, order, crops and noise");
}

void add_start(Table& t, TrainOptions& o) {
  t.group = OptionGroup::start;
  t.add("init_g", &o.init_g, "generator weights to start from (.pth or .safetensors)");
  t.add("init_d", &o.init_d, "discriminator weights to start from");
  t.add_resumable("vgg", &o.vgg, "VGG-19 weights for the perceptual loss (torchvision's file, .pth or .safetensors)");
}

void add_run(Table& t, TrainOptions& o) {
  t.group = OptionGroup::run;
  t.add_resumable("save_every", &o.save_every, "checkpoint every so many steps, or epochs: 500 or 2e");
  t.add_resumable("sample_every", &o.sample_every, "sample grid every so many steps or epochs");
  t.add_resumable("print_every", &o.print_every,
                  "line of losses every so many steps or epochs (where there is no terminal for a bar)");
  t.add_resumable("samples", &o.samples, "pictures in a sample grid");
  t.add_resumable("keep_checkpoints", &o.keep_checkpoints, "keep every checkpoint, not the latest alone");
  t.add_resumable("tensorboard", &o.tensorboard, "event files for TensorBoard too (tensorboard --logdir with the folder of the runs)");
  t.add_resumable("threads", &o.threads, "threads that compute; 0: one a core");
  t.add_resumable("device", &o.device, "cpu or cuda");
  t.add_resumable("precision", &o.precision, kPrecisionHelp);
}

void add_judging(Table& t, TrainOptions& o) {
  t.group = OptionGroup::judging;
  t.add_resumable("eval_every", &o.eval_every,
                  "judge the weights on held-out pairs every so many steps or epochs, and at the end; 0: never");
  t.add_resumable("eval_phase", &o.eval_phase, "their split, as --phase");
  t.add_resumable("eval_label_dir", &o.eval_label_dir, "custom: folder of their label maps");
  t.add_resumable("eval_image_dir", &o.eval_image_dir, "custom: folder of their photos");
  t.add_resumable("eval_instance_dir", &o.eval_instance_dir, "custom: folder of their instance maps");
  t.add_resumable("eval_count", &o.eval_count, "most pairs, spread over all; 0: all");
  t.add_resumable("eval_metrics", &o.eval_metrics,
                  "which numbers, as --metrics of asapnet evaluate; empty: all that can be had");
  t.add_resumable("features", &o.features, "weights of the network whose features frechet and kernel compare");
  t.add_resumable("lpips_backbone", &o.lpips_backbone, "weights of the network that lpips compares by");
  t.add_resumable("lpips_heads", &o.lpips_heads, "weights of its layers in lpips");
  t.add_resumable("segmenter", &o.segmenter, "network that tells the classes for segmentation (asapnet segmenter)");
  t.add_resumable("keep_best", &o.keep_best,
                  "keep the checkpoint with the best value of this number, named in checkpoints/best");
}

template <class T>
T parse_number(const OptionField& field, const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  ASAP_CHECK(error == std::errc() && stop == end && std::isfinite(static_cast<double>(value)), field.flag,
             ": expected ", expected_value(field), ", got '", text, "'");
  return value;
}

bool parse_bool(const OptionField& field, const std::string& text) {
  if (text == "true" || text == "1" || text == "on" || text == "yes") return true;
  if (text == "false" || text == "0" || text == "off" || text == "no") return false;
  fail(field.flag, ": expected true or false, got '", text, "'");
}

Every parse_every(const OptionField& field, const std::string& text) {
  const bool epochs = !text.empty() && text.back() == 'e';
  int64_t count = -1;
  const char* end = text.data() + text.size() - (epochs ? 1 : 0);
  const auto [stop, error] = std::from_chars(text.data(), end, count);
  ASAP_CHECK(error == std::errc() && stop == end && count >= 0, field.flag, ": expected ", expected_value(field),
             ", got '", text, "'");
  return {count, epochs};
}

// The shortest digits that read back to the same number.
std::string number_text(double value) {
  char buffer[64];
  const double size = std::abs(value);
  const auto format =
      size == 0 || (size >= 1e-5 && size < 1e9) ? std::chars_format::fixed : std::chars_format::scientific;
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr);
}

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

bool Every::due(int64_t step, int64_t per_epoch) const {
  return count > 0 && step % (epochs ? count * per_epoch : count) == 0;
}

const char* title(OptionGroup group) {
  constexpr const char* titles[] = {"Data",
                                    "Loading",
                                    "Model: input",
                                    "Model: generator",
                                    "Model: discriminator",
                                    "Model: variational encoder",
                                    "Losses",
                                    "Training",
                                    "Weights to start from",
                                    "The run",
                                    "Judging"};
  return titles[static_cast<int>(group)];
}

std::string flag_of(const std::string& key) {
  std::string flag = "--";
  for (size_t i = 0; i < key.size(); ++i) {
    const auto c = static_cast<unsigned char>(key[i]);
    const bool new_word = std::isupper(c) && i > 0 && std::islower(static_cast<unsigned char>(key[i - 1]));
    if (new_word) flag += '-';
    flag += c == '_' ? '-' : static_cast<char>(std::tolower(c));
  }
  return flag;
}

std::vector<OptionField> option_fields(Options& options) {
  Table table;
  add_data(table, options.train);
  add_input(table, options.model);
  add_generator(table, options.model);
  add_discriminator(table, options.model);
  add_encoder(table, options.model);
  add_losses(table, options.model);
  add_optimisation(table, options.train);
  add_start(table, options.train);
  add_run(table, options.train);
  add_judging(table, options.train);
  return std::move(table.fields);
}

std::string expected_value(const OptionField& field) {
  return std::visit(Overloaded{[](bool*) { return "true or false"; }, [](int64_t*) { return "a whole number"; },
                               [](double*) { return "a number"; }, [](std::string*) { return "text"; },
                               [](asapnet::GanMode*) { return "hinge, ls, original or w"; },
                               [](Every*) { return "a number of steps, or of epochs as in 2e"; }},
                    field.value);
}

std::string to_text(const OptionField& field) {
  return std::visit(
      Overloaded{[](bool* v) { return std::string(*v ? "true" : "false"); },
                 [](int64_t* v) { return std::to_string(*v); }, [](double* v) { return number_text(*v); },
                 [](std::string* v) { return *v; }, [](asapnet::GanMode* v) { return std::string(asapnet::name(*v)); },
                 [](Every* v) { return std::to_string(v->count) + (v->epochs ? "e" : ""); }},
      field.value);
}

void set_from_text(const OptionField& field, const std::string& text) {
  std::visit(Overloaded{[&](bool* v) { *v = parse_bool(field, text); },
                        [&](int64_t* v) { *v = parse_number<int64_t>(field, text); },
                        [&](double* v) { *v = parse_number<double>(field, text); }, [&](std::string* v) { *v = text; },
                        [&](asapnet::GanMode* v) { *v = asapnet::parse_gan_mode(text); },
                        [&](Every* v) { *v = parse_every(field, text); }},
             field.value);
}

}  // namespace asap::train
