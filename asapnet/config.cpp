// Presets, derived sizes and checks. Declared in config.h.
#include "asapnet/config.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "asapnet/generator.h"
#include "nn/file_io.h"

namespace asap::asapnet {
namespace {

bool is_power_of_two(int64_t n) { return n > 0 && std::has_single_bit(static_cast<uint64_t>(n)); }

// Bounds far beyond what has been trained (published: 1024, 7 and 5), so that a damaged or hostile configuration is a
// sentence and not a machine out of memory.
constexpr int64_t kMostChannels = 8192, kMostLayers = 64, kMostClasses = 65536, kLargestSide = 65536;
constexpr int64_t kMostParameters = int64_t{1} << 30;  // 4 GiB; published: 82 million

void at_least(const char* option, int64_t value, int64_t least) {
  ASAP_CHECK(value >= least, "config: ", option, " is ", value, "; it must be at least ", least);
}

void between(const char* option, int64_t value, int64_t least, int64_t most) {
  at_least(option, value, least);
  ASAP_CHECK(value <= most, "config: ", option, " is ", value, "; it must be at most ", most);
}

// The largest part of a discriminator: what its convolutions take.
int64_t discriminator_parameters(const Config& config) {
  int64_t in = config.input_channels() + config.output_nc, out = config.ndf, count = 0;
  for (int64_t i = 0; i < config.n_layers_D; ++i) {
    count += 16 * in * out;
    in = out;
    out = std::min(2 * out, config.ndf_max);
  }
  return config.num_D * count;
}

void check_parameters(const char* network, int64_t count, const char* options) {
  ASAP_CHECK(count <= kMostParameters, "config: the ", network, " would have ", count, " parameters; at most ",
             kMostParameters, " are allowed (4 GiB); lower ", options);
}

}  // namespace

GanMode parse_gan_mode(const std::string& text) {
  for (GanMode mode : {GanMode::hinge, GanMode::ls, GanMode::original, GanMode::w}) {
    if (text == name(mode)) return mode;
  }
  fail("config: gan_mode is '", nn::printable(text), "'; it must be hinge, ls, original or w");
}

const char* name(GanMode mode) {
  constexpr const char* names[] = {"hinge", "ls", "original", "w"};
  return names[static_cast<int>(mode)];
}

int64_t Config::tile() const { return static_cast<int64_t>(static_cast<double>(crop_size) / (16 * aspect_ratio)); }
int64_t Config::fixed_downsampling() const { return tile() / learned_ds_factor; }

void Config::validate() const {
  between("label_nc", label_nc, 1, kMostClasses);
  between("output_nc", output_nc, 1, kMostChannels);
  between("crop_size", crop_size, 1, kLargestSide);
  between("lr_width", lr_width, 1, kMostChannels);
  between("lr_max_width", lr_max_width, 1, kMostChannels);
  between("lr_depth", lr_depth, 0, kMostLayers);
  between("hr_width", hr_width, 1, kMostChannels);
  between("hr_depth", hr_depth, 1, kMostLayers);
  between("ndf", ndf, 1, kMostChannels);
  between("ndf_max", ndf_max, 1, kMostChannels);
  between("n_layers_D", n_layers_D, 1, kMostLayers);
  between("num_D", num_D, 1, kMostLayers);
  between("ngf", ngf, 1, kMostChannels / 8);  // the encoder has up to 8 times as many channels
  between("z_dim", z_dim, 1, kMostChannels);
  ASAP_CHECK(!contain_dontcare_label || no_one_hot || label_nc <= 255, "config: label_nc is ", label_nc,
             "; with contain_dontcare_label it must be at most 255, or label 255 would be a class and \"don't care\"");
  ASAP_CHECK(std::isfinite(aspect_ratio) && aspect_ratio > 0, "config: aspect_ratio is ", aspect_ratio, "; it must be above 0");
  const double exact = static_cast<double>(crop_size) / (16 * aspect_ratio);
  ASAP_CHECK(exact == static_cast<double>(tile()) && is_power_of_two(tile()), "config: crop_size ", crop_size,
             " with aspect_ratio ", aspect_ratio, " gives tiles of ", exact,
             " pixels; the side must be a power of two, as with crop_size ", 128 * aspect_ratio, ", ",
             256 * aspect_ratio, ", ", 512 * aspect_ratio, " or ", 1024 * aspect_ratio);
  ASAP_CHECK(is_power_of_two(learned_ds_factor) && learned_ds_factor >= 2 && learned_ds_factor <= tile(),
             "config: learned_ds_factor is ", learned_ds_factor, "; with tiles of ", tile(),
             " pixels it must be a power of two from 2 to ", tile());
  ASAP_CHECK(!(reflection_pad && replicate_pad), "config: reflection_pad and replicate_pad exclude each other");
  ASAP_CHECK(!lr_instance || instance_channel(), "config: lr_instance needs an instance channel: turn no_instance_edge off");
  ASAP_CHECK(norm_G == "instanceaffine", "config: norm_G is '", nn::printable(norm_G), "'; it must be instanceaffine");
  ASAP_CHECK(norm_D == "spectralinstance" || norm_D == "instanceaffine", "config: norm_D is '", nn::printable(norm_D),
             "'; it must be spectralinstance or instanceaffine");
  ASAP_CHECK(!condition_on_z || use_vae, "config: condition_on_z needs use_vae");
  check_parameters("generator", generator_parameters(*this), "lr_max_width, lr_depth, hr_width or hr_depth");
  check_parameters("discriminator", discriminator_parameters(*this), "ndf, ndf_max, n_layers_D or num_D");
}

void Config::check_size(int64_t rows, int64_t cols, const std::string& what) const {
  const int64_t side = tile();
  if (rows > 0 && cols > 0 && rows % side == 0 && cols % side == 0) return;
  auto below = [&](int64_t n) { return std::max<int64_t>(n / side, 1) * side; };
  auto above = [&](int64_t n) { return (n / side + (n % side ? 1 : 0)) * side; };
  fail(what, ": the size is ", cols, "x", rows, " (width x height), but both must be multiples of the tile side ", side,
       "; ", below(cols), "x", below(rows), " or ", std::max(above(cols), side), "x", std::max(above(rows), side), " would do");
}

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names{"quick",       "facades256",    "facades512",
                                              "facades1024", "cityscapes256", "cityscapes512"};
  return names;
}

Config preset(const std::string& name) {
  Config config;
  if (name == "quick") {
    config.crop_size = 128;
    config.learned_ds_factor = 8;
    config.lr_width = 16;
    config.lr_max_width = 64;
    config.lr_depth = 3;
    config.hr_width = 32;
    config.ndf = 16;
    config.ndf_max = 64;
    config.n_layers_D = 3;
    config.reflection_pad = true;
  } else if (name == "facades256" || name == "facades512" || name == "facades1024") {
    config.crop_size = std::stoll(name.substr(7));
    config.reflection_pad = true;
  } else if (name == "cityscapes256" || name == "cityscapes512") {
    config.label_nc = 35;
    config.crop_size = 2 * std::stoll(name.substr(10));
    config.aspect_ratio = 2;
    config.no_instance_edge = false;
    config.lr_instance = true;
  } else {
    std::string known;
    for (const std::string& preset : preset_names()) known += " " + preset;
    fail("config: there is no preset '", name, "'; the presets are", known);
  }
  return config;
}

}  // namespace asap::asapnet
