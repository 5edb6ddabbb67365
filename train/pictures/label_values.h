// From the samples of a decoded picture to the numbers that a label or instance map means. Used by the decoders.
#pragma once

#include <cstdio>
#include <string>

#include "tensor/error.h"
#include "train/pictures/image.h"

namespace asap::train {

// "#a1b2c3", for messages; two digits a channel, or four where one is above 255.
inline std::string colour_text(int r, int g, int b) {
  const bool wide = (r | g | b) > 255;
  char text[16];
  std::snprintf(text, sizeof text, wide ? "#%04x%04x%04x" : "#%02x%02x%02x", unsigned(r), unsigned(g), unsigned(b));
  return text;
}

// One number a pixel from 1 channel, or from 3 that agree at every pixel; sample(i) is the i-th of the interleaved samples.
// asap::Error naming the first pixel whose channels differ, and the ways out for a label map.
template <class Sample>
LabelMap gray_values(int width, int height, int channels, Sample&& sample, const std::string& name,
                     const std::string& what) {
  LabelMap map(width, height);
  for (size_t i = 0; i < map.values.size(); ++i) {
    const size_t at = i * size_t(channels);
    const int value = sample(at);
    map.values[i] = value;
    if (channels == 1 || (sample(at + 1) == value && sample(at + 2) == value)) continue;
    fail(name, ": expected ", what, ", that is one number a pixel (a palette or gray PNG), found colours, the first, ",
         colour_text(value, sample(at + 1), sample(at + 2)), ", at column ", i % size_t(width), ", row ",
         i / size_t(width),
         "; for label maps in colours give the colour of each class with --palette FILE, or turn them into class "
         "numbers "
         "with asapnet labels --from-colours FILE; --no-one-hot takes pictures as they are");
  }
  return map;
}

}  // namespace asap::train
