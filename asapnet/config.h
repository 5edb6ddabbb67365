// Everything that decides what the model is and how its losses are weighed, under the published options' names
// (docs/asapnet.md, Configuration), with the presets. Pure data: reading it from files and flags is train/'s.
// Next: generator.h, discriminator.h, losses.h, model.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/shape.h"

namespace asap::asapnet {

enum class GanMode { hinge, ls, original, w };
GanMode parse_gan_mode(const std::string& text);  // throws naming the four modes
const char* name(GanMode mode);

struct Config {
  // Input.
  int64_t label_nc = 13;                // label classes
  bool contain_dontcare_label = false;  // label 255 becomes class label_nc
  bool no_instance_edge = true;         // no channel of instance edges
  bool no_instance_dist = true;         // no channel of distances to them; edges win if both are wanted
  bool no_one_hot = false;              // the input is an RGB picture in [-1,1] instead of labels
  int64_t output_nc = 3;
  int64_t crop_size = 512;    // training width
  double aspect_ratio = 1.0;  // width / height

  // Generator.
  int64_t learned_ds_factor = 16;  // S2
  int64_t lr_width = 64, lr_max_width = 1024, lr_depth = 7;
  int64_t hr_width = 64, hr_depth = 5;
  bool lr_instance = false;  // the last input channel goes to the low-res stream only
  bool reflection_pad = false, replicate_pad = false;
  std::string norm_G = "instanceaffine";  // the only one the published generator trains with

  // Discriminator.
  int64_t ndf = 64, ndf_max = 512, n_layers_D = 4, num_D = 2;
  std::string norm_D = "spectralinstance";  // or instanceaffine

  // Variational encoder.
  bool use_vae = false;
  int64_t ngf = 64, z_dim = 256;
  bool condition_on_z = false;  // extension: the generator uses z, which the published one ignores

  // Losses.
  GanMode gan_mode = GanMode::hinge;
  bool no_ganFeat_loss = false, no_vgg_loss = false;
  bool vgg_normalise = false;  // ImageNet normalisation of the VGG's input; the published code has none
  double lambda_feat = 10, lambda_vgg = 10, lambda_kld = 0.05;
  double lambda_L1 = 0, lambda_MSE = 0;  // published weights when used: 100 and 10
  double lambda_phi = 0;                 // weight decay on phi: published 1e-8

  // Derived sizes.
  int64_t height() const { return static_cast<int64_t>(static_cast<double>(crop_size) / aspect_ratio + 0.5); }
  int64_t tile() const;                     // S: side of a tile
  int64_t fixed_downsampling() const;       // S1 = S / S2
  int64_t label_channels() const { return no_one_hot ? 3 : label_nc + (contain_dontcare_label ? 1 : 0); }
  bool instance_channel() const { return !no_instance_edge || !no_instance_dist; }
  int64_t input_channels() const { return label_channels() + (instance_channel() ? 1 : 0); }
  int64_t highres_channels() const { return input_channels() - (lr_instance ? 1 : 0); }

  // Throws one sentence naming the option, its value and what would do.
  void validate() const;
  // Throws unless height and width are multiples of the tile; names the nearest sizes that are.
  void check_size(int64_t height, int64_t width, const std::string& what) const;
};

// facades256, facades512, facades1024, cityscapes256, cityscapes512 (named by height), and quick: a small facades
// model at 128x128 that trains within minutes on two cores.
Config preset(const std::string& name);  // throws naming the presets
const std::vector<std::string>& preset_names();

}  // namespace asap::asapnet
