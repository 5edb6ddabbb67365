// Configurations from names and shapes. Declared in architecture.h.
#include "train/run/architecture.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "asapnet/generator.h"
#include "train/files/user_text.h"
#include "train/options/config_json.h"

namespace asap::train {
namespace {

using asapnet::Config;

const std::string kStream = "lowres_stream.model.";

constexpr int64_t kMostHalvings = 8;  // tiles of 256

// What the tensors of a generator say directly.
struct GeneratorShape {
  int64_t input = 0, lr_width = 0, lr_max_width = 0, lr_depth = 0, strided = 0, phi = 0;
  bool padded = false;  // reflection or replication padding: modules of their own, which shift the numbers
};

bool starts_with_number(const std::string& text, int64_t& number, std::string& rest) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 6) return false;
  number = std::atoll(text.substr(0, digits).c_str());
  rest = text.substr(digits);
  return true;
}

GeneratorShape read_shape(const Tensors& weights, const std::string& source) {
  std::map<int64_t, std::vector<int64_t>> convs;  // by number
  std::set<int64_t> blocks;
  GeneratorShape shape;
  for (const nn::TensorInfo& tensor : weights) {
    const std::string& key = tensor.name;
    int64_t number = 0;
    std::string rest;
    if (!key.starts_with(kStream) || !starts_with_number(key.substr(kStream.size()), number, rest)) continue;
    const bool is_conv = tensor.sizes.size() == 4;
    if (rest == ".0.weight" && is_conv) convs[number] = tensor.sizes;
    if (rest.starts_with(".conv_block.")) blocks.insert(number);
    if (rest == ".weight" && is_conv) shape.phi = tensor.sizes[0];
  }
  ASAP_CHECK(
      convs.size() >= 2 && shape.phi > 0, source,
      ": expected the weights of an ASAPNet generator (keys lowres_stream.model.*), found other or too few keys");
  shape.padded = convs.begin()->first == 1;
  shape.input = convs.begin()->second[1];
  shape.lr_width = convs.begin()->second[0];
  shape.lr_max_width = convs.rbegin()->second[0];
  shape.lr_depth = static_cast<int64_t>(blocks.size());
  shape.strided = static_cast<int64_t>(convs.size()) - 1;
  const bool sound = shape.input > 0 && shape.lr_width > 0 && shape.lr_max_width > 0 && shape.strided <= kMostHalvings;
  ASAP_CHECK(sound, source, ": expected the weights of an ASAPNet generator, found convolutions of no such network");
  return shape;
}

// The three ways an input can be made up, the likelier first.
enum class InputKind { no_instance, instance_to_lowres, instance };

struct Widths {
  int64_t width = 64, depth = 5;
};

Config candidate(const GeneratorShape& shape, InputKind kind, int64_t label_nc, int64_t tile, Widths hr,
                 const std::function<void(Config&)>& overlay) {
  Config config;
  config.label_nc = label_nc;
  config.no_one_hot = shape.input == 3;
  config.no_instance_edge = kind == InputKind::no_instance;
  config.lr_instance = kind == InputKind::instance_to_lowres;
  config.lr_width = shape.lr_width;
  config.lr_max_width = shape.lr_max_width;
  config.lr_depth = shape.lr_depth;
  config.learned_ds_factor = int64_t{1} << shape.strided;
  config.hr_width = hr.width;
  config.hr_depth = hr.depth;
  config.reflection_pad = shape.padded;
  if (config.lr_instance && label_nc == 35) config.aspect_ratio = 2;  // cityscapes
  overlay(config);
  config.crop_size = static_cast<int64_t>(static_cast<double>(16 * tile) * config.aspect_ratio);
  overlay(config);
  if (config.replicate_pad) config.reflection_pad = false;
  return config;
}

bool fits(const Config& config, const GeneratorShape& shape) {
  const int64_t tile = config.tile(), factor = int64_t{1} << shape.strided;
  return tile >= factor && std::has_single_bit(static_cast<uint64_t>(tile)) && config.learned_ds_factor == factor &&
         config.lr_width == shape.lr_width && config.lr_max_width == shape.lr_max_width &&
         config.lr_depth == shape.lr_depth && (config.reflection_pad || config.replicate_pad) == shape.padded &&
         config.input_channels() == shape.input && (!config.lr_instance || config.instance_channel()) &&
         config.highres_channels() > 0 && config.hr_width > 0 && config.hr_depth > 0 && config.output_nc > 0 &&
         asapnet::phi_channels(config) == shape.phi;
}

// All configurations of one kind of input that fit, without repetition.
std::vector<Config> search(const GeneratorShape& shape, InputKind kind, const std::vector<Widths>& widths,
                           const std::function<void(Config&)>& overlay) {
  std::vector<Config> found;
  std::set<std::string> seen;
  for (int64_t label_nc = shape.input; label_nc >= std::max<int64_t>(1, shape.input - 2) && found.empty(); --label_nc) {
    for (int64_t tile = int64_t{1} << shape.strided; tile <= 256; tile *= 2) {
      for (const Widths& hr : widths) {
        const Config config = candidate(shape, kind, label_nc, tile, hr, overlay);
        if (fits(config, shape) && seen.insert(config_to_json(config)).second) found.push_back(config);
      }
    }
  }
  return found;
}

// The published width and depth, then powers of two.
std::vector<std::vector<Widths>> width_stages() {
  std::vector<std::vector<Widths>> stages{{{}}, {}};
  for (int64_t depth = 2; depth <= 10; ++depth) {
    for (int64_t width = 4; width <= 512; width *= 2) stages[1].push_back({width, depth});
  }
  return stages;
}

// What fits, the likeliest kind of width and input alone.
std::vector<Config> likeliest(const GeneratorShape& shape, const std::function<void(Config&)>& overlay) {
  for (const auto& widths : width_stages()) {
    for (InputKind kind : {InputKind::no_instance, InputKind::instance_to_lowres, InputKind::instance}) {
      const std::vector<Config> found = search(shape, kind, widths, overlay);
      if (!found.empty()) return found;
    }
  }
  return {};
}

// True if the options given leave nothing of the high-res stream to be found.
bool gives_all(const std::function<void(Config&)>& overlay) {
  Config a, b;
  a.crop_size = 64, b.crop_size = 128;
  a.hr_width = a.hr_depth = 3, b.hr_width = b.hr_depth = 4;
  overlay(a), overlay(b);
  return a.tile() == b.tile() && a.hr_width == b.hr_width && a.hr_depth == b.hr_depth;
}

bool same_highres(const Config& a, const Config& b) {
  return a.tile() == b.tile() && a.hr_width == b.hr_width && a.hr_depth == b.hr_depth && a.output_nc == b.output_nc;
}

// "crop_size 128 / output_nc 1 does not fit (its tile is 4: crop_size 64, output_nc 3); for larger pictures use --size",
// where `own` is what the file says and `asked` the same with the user's options. Empty if none of them differ.
std::string misfit(const Config& own, const Config& asked) {
  std::vector<std::string> given, right;
  const bool other_tile = own.tile() != asked.tile();
  if (other_tile) {
    const std::string aspect = asked.aspect_ratio == 1 ? "" : str(" with aspect_ratio ", asked.aspect_ratio);
    given.push_back(str("crop_size ", asked.crop_size, aspect));
    const auto width = static_cast<int64_t>(static_cast<double>(16 * own.tile()) * asked.aspect_ratio);
    right.push_back(str("its tile is ", own.tile(), ": crop_size ", width, aspect));
  }
  const auto compare = [&](const char* option, int64_t Config::*field) {
    if (own.*field == asked.*field) return;
    given.push_back(str(option, " ", asked.*field));
    right.push_back(str(option, " ", own.*field));
  };
  compare("output_nc", &Config::output_nc);
  compare("hr_width", &Config::hr_width);
  compare("hr_depth", &Config::hr_depth);
  compare("learned_ds_factor", &Config::learned_ds_factor);
  compare("lr_width", &Config::lr_width);
  compare("lr_max_width", &Config::lr_max_width);
  compare("lr_depth", &Config::lr_depth);
  const bool own_pad = own.reflection_pad || own.replicate_pad, asked_pad = asked.reflection_pad || asked.replicate_pad;
  if (own_pad != asked_pad) {
    given.push_back(asked.replicate_pad ? "replicate_pad" : asked_pad ? "reflection_pad" : "no padding");
    right.push_back(own_pad ? "reflection_pad or replicate_pad" : "no padding");
  }
  if (own.input_channels() != asked.input_channels()) {
    const std::string input = asked.no_one_hot ? "no_one_hot" : str("label_nc ", asked.label_nc);
    given.push_back(input + (asked.contain_dontcare_label && !asked.no_one_hot ? " with contain_dontcare_label" : "") +
                    (asked.instance_channel() ? " with an instance channel" : ""));
    right.push_back(str(own.input_channels(), " input channels"));
  }
  if (given.empty()) return "";
  const auto joined = [](const std::vector<std::string>& parts, const char* between) {
    std::string text;
    for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
    return text;
  };
  return joined(given, " / ") + (other_tile ? " does not fit (" : " does not fit (it has ") + joined(right, ", ") +
         ")" + (other_tile ? "; for larger pictures use --size" : "");
}

std::vector<std::string> assumptions(const Config& config, const GeneratorShape& shape,
                                     const std::function<void(Config&)>& overlay) {
  // What the user gave survives in both of two opposite starting points; the rest was assumed.
  Config off, on;
  on.reflection_pad = on.replicate_pad = true;
  off.aspect_ratio = 1, on.aspect_ratio = 2;
  off.label_nc = 1, on.label_nc = 2;
  overlay(off), overlay(on);
  std::vector<std::string> assumed;
  if (shape.padded && off.replicate_pad != on.replicate_pad && off.reflection_pad != on.reflection_pad) {
    assumed.push_back("reflection padding (--replicate-pad for the other kind, which has equal keys)");
  }
  if (off.aspect_ratio != on.aspect_ratio)
    assumed.push_back(str("pictures of ", config.crop_size, "x", config.height(), " (--aspect-ratio)"));
  if (off.label_nc != on.label_nc) {
    const std::string input =
        config.no_one_hot ? std::string("an RGB picture") : str(config.label_nc, " label classes");
    assumed.push_back(str("input of ", input,
                          config.instance_channel() ? " and instance edges" : ", no instance channel",
                          " (--label-nc, --no-instance-edge=false, --contain-dontcare-label)"));
  }
  return assumed;
}

}  // namespace

const char* name(NetworkKind kind) {
  constexpr const char* names[] = {"generator", "discriminator", "encoder", "VGG-19"};
  return names[static_cast<int>(kind)];
}

const char* signature(NetworkKind kind) {
  constexpr const char* signatures[] = {"lowres_stream.model.", "discriminator_0.", "fc_mu.", "features.28.weight"};
  return signatures[static_cast<int>(kind)];
}

std::vector<NetworkKind> network_kinds(const nn::CheckpointFile& file) {
  std::vector<NetworkKind> kinds;
  for (NetworkKind kind :
       {NetworkKind::generator, NetworkKind::discriminator, NetworkKind::encoder, NetworkKind::vgg}) {
    if (nn::holds_network(file, signature(kind))) kinds.push_back(kind);
  }
  return kinds;
}

void say_notes(const nn::CheckpointFile& file, const nn::NetworkWeights& weights) {
  for (const std::string& note : weights.notes()) warn(file.path().string() + ": " + note);
}

InferredConfig infer_generator(const Tensors& weights, const std::string& source,
                               const std::function<void(Config&)>& overlay) {
  const GeneratorShape shape = read_shape(weights, source);
  const std::vector<Config> found = likeliest(shape, overlay), own = likeliest(shape, [](Config&) {});
  ASAP_CHECK(found.size() <= 1, source, ": ", found.size(), " configurations fit its ", shape.input, " input and ",
             shape.phi, " phi channels, for example hr_width ", found[0].hr_width, ", hr_depth ", found[0].hr_depth,
             " and hr_width ", found[1].hr_width, ", hr_depth ", found[1].hr_depth,
             "; give --hr-width, --hr-depth and --crop-size, or a --preset");
  // A fit that contradicts what the file says without the options is one by chance, unless nothing was left to it.
  const bool trusted = own.size() != 1 || (found.size() == 1 && (same_highres(found[0], own[0]) || gives_all(overlay)));
  if (found.size() == 1 && trusted) return {found[0], assumptions(found[0], shape, overlay)};
  if (own.size() == 1) {
    Config asked = own[0];
    overlay(asked);
    const std::string text = misfit(own[0], asked);
    ASAP_CHECK(text.empty(), source, ": ", text);
  }
  fail(source, ": no configuration ", own.size() == 1 ? "with the options given" : "of a usual width", " fits its ",
       shape.input, " input and ", shape.phi, " phi channels (lr_width ", shape.lr_width, ", lr_max_width ",
       shape.lr_max_width, ", lr_depth ", shape.lr_depth, ", learned_ds_factor ", int64_t{1} << shape.strided,
       "); give --hr-width, --hr-depth, --crop-size and --label-nc as it was trained, or a --preset");
}

void check_size_of_generator(const nn::CheckpointFile& file, const Tensors& weights, const Config& config) {
  constexpr int64_t kPatience = 4;  // of a file that nearly fits, the list of keys says more
  config.validate();
  int64_t held = 0;
  for (const nn::TensorInfo& tensor : weights) {
    held += std::min(nn::element_count(tensor.sizes), static_cast<int64_t>(file.bytes()));
  }
  const int64_t needed = asapnet::generator_parameters(config);
  ASAP_CHECK(needed / kPatience <= std::min(held, kPatience * static_cast<int64_t>(file.bytes())), file.path().string(),
             ": a generator as configured has ", needed, " parameters, the file holds ", held, " numbers");
}

Config infer_discriminator(const Tensors& weights, std::string& note) {
  Config config;
  std::set<std::string> scales, layers;
  const std::vector<int64_t>* first = nullptr;
  bool spectral = false, affine = false;
  config.ndf_max = 0;
  for (const nn::TensorInfo& tensor : weights) {
    const std::string& key = tensor.name;
    const size_t dot = key.find('.'), next = key.find('.', dot + 1);
    scales.insert(key.substr(0, dot));
    layers.insert(key.substr(dot + 1, next - dot - 1));
    spectral = spectral || key.ends_with(".weight_orig");
    affine = affine || key.ends_with(".0.1.weight");
    if (tensor.sizes.size() != 4) continue;
    config.ndf_max = std::max(config.ndf_max, tensor.sizes[0]);
    if (key == "discriminator_0.model0.0.weight") first = &tensor.sizes;
  }
  config.num_D = static_cast<int64_t>(scales.size());
  config.n_layers_D = static_cast<int64_t>(layers.size()) - 1;
  config.norm_D = spectral || !affine ? "spectralinstance" : "instanceaffine";
  if (!spectral && !affine) note = "spectral norm was removed from these weights; training cannot go on from them";
  ASAP_CHECK(first, "discriminator: expected the key discriminator_0.model0.0.weight with 4 dimensions");
  config.ndf = (*first)[0];
  config.label_nc = (*first)[1] - config.output_nc;
  return config;
}

}  // namespace asap::train
