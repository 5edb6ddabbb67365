// Configurations from names and shapes. Declared in architecture.h.
#include "train/architecture.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "asapnet/lowres_stream.h"
#include "train/config_json.h"

namespace asap::train {
namespace {

using asapnet::Config;

const std::string kStream = "lowres_stream.model.";

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

GeneratorShape read_shape(const nn::StateDict& weights, const std::string& source) {
  std::map<int64_t, Shape> convs;  // by number
  std::set<int64_t> blocks;
  GeneratorShape shape;
  for (const auto& [key, tensor] : weights) {
    int64_t number = 0;
    std::string rest;
    if (!key.starts_with(kStream) || !starts_with_number(key.substr(kStream.size()), number, rest)) continue;
    if (rest == ".0.weight" && tensor.rank() == 4) convs[number] = tensor.shape();
    if (rest.starts_with(".conv_block.")) blocks.insert(number);
    if (rest == ".weight" && tensor.rank() == 4) shape.phi = tensor.size(0);
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
  return config.tile() > 0 && std::has_single_bit(static_cast<uint64_t>(config.tile())) &&
         config.input_channels() == shape.input && (!config.lr_instance || config.instance_channel()) &&
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

// The published width and depth, then powers of two, then everything: odd sizes fit by chance more often than by
// intent.
std::vector<std::vector<Widths>> width_stages() {
  std::vector<std::vector<Widths>> stages{{{}}, {}, {}};
  for (int64_t depth = 2; depth <= 10; ++depth) {
    for (int64_t width = 1; width <= 512; ++width) {
      stages[2].push_back({width, depth});
      if (width >= 4 && std::has_single_bit(static_cast<uint64_t>(width))) stages[1].push_back({width, depth});
    }
  }
  return stages;
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

NetworkKind network_kind(const nn::StateDict& weights) {
  const auto any = [&](const std::string& prefix) {
    return std::any_of(weights.begin(), weights.end(),
                       [&](const auto& entry) { return entry.first.starts_with(prefix); });
  };
  if (any("step") && weights.contains("step")) return NetworkKind::other;  // an optimiser's state has the same names
  if (any(kStream)) return NetworkKind::generator;
  if (any("discriminator_0.")) return NetworkKind::discriminator;
  if (any("fc_mu.")) return NetworkKind::encoder;
  return weights.contains("features.0.weight") && weights.contains("features.28.weight") ? NetworkKind::vgg
                                                                                         : NetworkKind::other;
}

const char* name(NetworkKind kind) {
  constexpr const char* names[] = {"generator", "discriminator", "encoder", "VGG-19", "unknown"};
  return names[static_cast<int>(kind)];
}

InferredConfig infer_generator(const nn::StateDict& weights, const std::string& source,
                               const std::function<void(Config&)>& overlay) {
  const GeneratorShape shape = read_shape(weights, source);
  for (const auto& widths : width_stages()) {
    for (InputKind kind : {InputKind::no_instance, InputKind::instance_to_lowres, InputKind::instance}) {
      const std::vector<Config> found = search(shape, kind, widths, overlay);
      ASAP_CHECK(found.size() <= 1, source, ": ", found.size(), " configurations fit its ", shape.input, " input and ",
                 shape.phi, " phi channels, for example hr_width ", found[0].hr_width, ", hr_depth ", found[0].hr_depth,
                 " and hr_width ", found[1].hr_width, ", hr_depth ", found[1].hr_depth,
                 "; give --hr-width, --hr-depth and --crop-size, or a --preset");
      if (found.size() == 1) return {found[0], assumptions(found[0], shape, overlay)};
    }
  }
  fail(source, ": no configuration with the options given fits its ", shape.input, " input and ", shape.phi,
       " phi channels; check --label-nc, --crop-size, --hr-width and --hr-depth, or give a --preset");
}

Config infer_discriminator(const nn::StateDict& weights) {
  Config config;
  std::set<std::string> scales, layers;
  config.ndf_max = 0;
  for (const auto& [key, tensor] : weights) {
    const size_t dot = key.find('.'), next = key.find('.', dot + 1);
    scales.insert(key.substr(0, dot));
    layers.insert(key.substr(dot + 1, next - dot - 1));
    if (tensor.rank() == 4) config.ndf_max = std::max(config.ndf_max, tensor.size(0));
  }
  config.num_D = static_cast<int64_t>(scales.size());
  config.n_layers_D = static_cast<int64_t>(layers.size()) - 1;
  config.norm_D = weights.contains("discriminator_0.model1.0.0.weight_orig") ? "spectralinstance" : "instanceaffine";
  const Tensor* first = weights.find("discriminator_0.model0.0.weight");
  ASAP_CHECK(first && first->rank() == 4,
             "discriminator: expected the key discriminator_0.model0.0.weight with 4 dimensions");
  config.ndf = first->size(0);
  config.label_nc = first->size(1) - config.output_nc;
  return config;
}

}  // namespace asap::train
