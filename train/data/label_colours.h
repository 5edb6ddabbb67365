// Label maps in colours: a table says which class each colour is, and turns such pictures into class numbers.
// Sits on image_files.h; used by load_sample.cpp (--palette) and cli_labels.cpp (asapnet labels).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// What turning a picture into classes met.
struct ColourCount {
  std::map<uint32_t, int64_t> unknown;  // colours (0xrrggbb) that are not in the table, and their pixels
  int64_t pixels = 0, unknown_pixels = 0;
  int farthest = 0;  // the largest difference of a channel between an unknown colour and the nearest of the table
  void add(const ColourCount& other);
};

class LabelColours {
 public:
  // From text, a JSON array of colours in the order of their classes, or a JSON object:
  //   [[0, 0, 170], "#ff5500", ...]    {"wall": [0, 0, 170], "door": "#ff5500", ...}    {"#0000aa": 1, "#ff5500": 4, ...}
  // Numbers of classes are 0 to 65535; several colours may be one class. asap::Error starting with `name`: no such table, a colour
  // twice.
  LabelColours(const std::string& json, const std::string& name);
  // From a file: JSON as above, or a picture of the table: a PNG with a palette (its entries in order), or any picture without
  // loss, whose distinct colours, left to right and top to bottom, are the classes.
  static LabelColours read(const std::filesystem::path& file);

  // The table as JSON on one line; LabelColours(to_json(), ...) equals it.
  std::string to_json() const;
  // RGB triples by class, one for each class up to the highest, black where a class has no colour.
  std::vector<uint8_t> palette() const;
  int classes() const { return classes_; }  // the highest class + 1

  // The class of every pixel; unknown colours take the class of the nearest one (squared distance in RGB) and are counted.
  LabelMap classes_of(const Image& picture, ColourCount& count) const;
  // The same where every colour must be known. asap::Error starting with `name`, with the unknown colours and how often each
  // occurs.
  LabelMap classes_of(const Image& picture, const std::string& name) const;

 private:
  LabelColours() = default;
  void add(uint32_t colour, int label, const std::string& name);

  std::vector<std::pair<uint32_t, int>> entries_;  // colour, class; in the table's order
  std::unordered_map<uint32_t, int> classes_by_colour_;
  int classes_ = 0;
};

// Counts every colour of the picture as unknown.
void count_colours(const Image& picture, ColourCount& count);

// The counted colours as a table to be edited, JSON with a line for each, the most frequent as class 0.
std::string proposed_table(const ColourCount& count);

// "3 colours are not in the table: #12ab34 (5012 pixels), ...", the most frequent first.
std::string unknown_colours_text(const ColourCount& count);

}  // namespace asap::train
