// What the network sees of an instance map: its edges, or the distance to them (one extra input channel).
// Sits on image.h. docs/asapnet.md, Labels and instance maps.
#pragma once

#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// [height][width]: 1 where a pixel differs from any of its 4 neighbours inside the picture, else 0.
std::vector<float> instance_edges(const LabelMap& instances);

// [height][width]: Euclidean distance in pixels to the nearest edge pixel (0 on edges); exact. Where a picture has no edge at
// all, every pixel gets its diagonal sqrt(width^2 + height^2), a bound no distance can exceed.
std::vector<float> instance_distance(const LabelMap& instances);

}  // namespace asap::train
