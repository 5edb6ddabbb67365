// Pictures for looking at: label maps in colour, and grids such as rows of label | generated | real.
// Sits on image.h; used by sample sheets, reports and the synthetic data.
#pragma once

#include <cstdint>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// `count` RGB triples (count 1..65536): up to 13 the CMP facade palette, beyond it well separated colours by bit shuffling,
// index 0 black.
std::vector<uint8_t> label_palette(int count);

// The label map as an RGB picture in label_palette(count); asap::Error if a value is not in 0..count-1.
Image colorize(const LabelMap& labels, int count);

// Rows of RGB or gray pictures side by side with `gap` white pixels between them. All rows have equally many pictures;
// smaller pictures stand at the top left of their cell. asap::Error if there is nothing to show.
Image compose_grid(const std::vector<std::vector<Image>>& rows, int gap = 2);

}  // namespace asap::train
