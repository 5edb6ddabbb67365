// PNG pictures through libpng, in memory: unlike most decoders it keeps palette INDICES, which is what a label map is.
// Errors here don't know a file name: callers pass `name` to start the sentence. Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/image.h"

namespace asap::train {

// What the header says. colour: "gray", "palette", "RGB", "gray with alpha", "RGB with alpha".
struct PngHeader {
  int width = 0, height = 0, bits = 0;
  std::string colour;
};

// Any PNG as 8-bit RGB: palettes expanded, alpha dropped, 16 bit cut to 8, gray tripled.
Image decode_png_rgb(std::span<const uint8_t> file, const std::string& name);

// A palette or gray PNG as the raw numbers stored in it (palette index or gray value), 1 to `max_bits` bits.
// `what` ("a label map") completes the sentence of the error when the PNG is of another kind.
LabelMap decode_png_indices(std::span<const uint8_t> file, const std::string& name, int max_bits, const std::string& what);

// An 8-bit PNG file of a picture with 1 (gray) or 3 (RGB) channels.
std::vector<uint8_t> encode_png(const Image& image, const std::string& name);

// An 8-bit palette PNG: values[i] must be an index into `palette` (RGB triples, at most 256).
std::vector<uint8_t> encode_png_palette(const LabelMap& labels, std::span<const uint8_t> palette, const std::string& name);

}  // namespace asap::train
