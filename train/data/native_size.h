// Pictures at the label map's own size: the network takes multiples of its tile, so the map is extended by its mirror
// image at the right and at the bottom, and what came out is cut back. Used by generate.
#pragma once

#include <cstdint>
#include <string>

#include "asapnet/config.h"
#include "train/data/load_sample.h"

namespace asap::train {

// Throws unless the network can take pictures of this size: multiples of the tile, and a grid of tiles that its
// padding and its normalisation work on. `what` begins the sentence.
void check_network_size(const asapnet::Config& config, int64_t height, int64_t width, const std::string& what);

// Extends label, RGB label and instance map by reflection (the border is not repeated) to the next size that
// the network takes. asap::Error naming `what` if that is too large for a picture.
void extend_to_tiles(const asapnet::Config& config, const std::string& what, Sample& sample);

}  // namespace asap::train
