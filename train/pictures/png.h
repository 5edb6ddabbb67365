// PNG pictures through libpng, in memory: unlike most decoders it keeps palette INDICES, which is what a label map is.
// Errors here don't know a file name: callers pass `name` to start the sentence. Used by image_files.cpp and, for pictures
// that are sent rather than written, by serve/studio.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// Any PNG as 8-bit RGB: palettes expanded, alpha dropped, 16 bit cut to 8, gray tripled. `orientation` becomes that of the
// eXIf chunk, which is not applied (here and below).
Image decode_png_rgb(std::span<const uint8_t> file, const std::string& name, int& orientation);

// The numbers stored in a PNG, 1 to 16 bits: palette indices, gray values, or what R, G and B agree on; alpha is ignored.
// `what` ("a label map") completes the sentence of the error where they do not agree.
LabelMap decode_png_values(std::span<const uint8_t> file, const std::string& name, const std::string& what, int& orientation);

// The palette of a PNG as RGB triples; empty if it has none.
std::vector<uint8_t> png_palette(std::span<const uint8_t> file, const std::string& name);

// An 8-bit PNG file of a picture with 1 (gray) or 3 (RGB) channels. `compression` 0 to 9: 1 takes a third of 6's time.
std::vector<uint8_t> encode_png(const Image& image, const std::string& name, int compression = 6);

// values[i] must be an index into `palette` (RGB triples, at most 65536): an 8-bit palette PNG, or beyond 256 colours one of 16-bit
// gray values.
std::vector<uint8_t> encode_png_labels(const LabelMap& labels, std::span<const uint8_t> palette, const std::string& name);

}  // namespace asap::train
