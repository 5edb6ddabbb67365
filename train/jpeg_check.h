// Checks a JPEG file's structure before the decoder (stb_image) sees it: that decoder fills what a cut-off file lacks with gray
// without a word, and trusts Huffman tables that a damaged file may carry. Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace asap::train {

// asap::Error starting with `name` unless the marker segments lead from start to end of image and every scan finds the Huffman
// and quantisation tables it refers to, with sound sizes. Source: ITU-T T.81, annex B.
void check_jpeg(std::span<const uint8_t> file, const std::string& name);

}  // namespace asap::train
