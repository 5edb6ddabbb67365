// Reading colour tables, and looking colours up. See label_colours.h.
#include "train/data/label_colours.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/error.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/label_values.h"

namespace asap::train {
namespace {

using Json = nlohmann::ordered_json;

uint32_t packed(const uint8_t* rgb) { return uint32_t(rgb[0]) << 16 | uint32_t(rgb[1]) << 8 | rgb[2]; }
int channel(uint32_t colour, int c) { return int(colour >> (16 - 8 * c) & 255); }
std::string text(uint32_t colour) { return colour_text(channel(colour, 0), channel(colour, 1), channel(colour, 2)); }

// "#rrggbb"; false for other text.
bool parse_hex(const std::string& hex, uint32_t& colour) {
  if (hex.size() != 7 || hex[0] != '#') return false;
  const auto [stop, error] = std::from_chars(hex.data() + 1, hex.data() + 7, colour, 16);
  return error == std::errc() && stop == hex.data() + 7;
}

uint32_t parse_colour(const Json& value, const std::string& where) {
  uint32_t colour = 0;
  if (value.is_string() && parse_hex(value.get<std::string>(), colour)) return colour;
  const auto is_channel = [](const Json& v) { return v.is_number_integer() && v >= 0 && v <= 255; };
  ASAP_CHECK(value.is_array() && value.size() == 3 && std::all_of(value.begin(), value.end(), is_channel), where,
             ": expected a colour, [r, g, b] with whole numbers from 0 to 255 or \"#rrggbb\", found ", value.dump());
  for (const Json& v : value) colour = colour << 8 | v.get<uint32_t>();
  return colour;
}

int parse_class(const Json& value, const std::string& where) {
  ASAP_CHECK(value.is_number_integer() && value >= 0 && value < kMostClasses, where, ": expected a class, 0 to ",
             kMostClasses - 1, ", found ", value.dump());
  return value.get<int>();
}

// Pixels and colour, the most frequent first.
std::vector<std::pair<int64_t, uint32_t>> by_frequency(const ColourCount& count) {
  std::vector<std::pair<int64_t, uint32_t>> colours;
  for (const auto& [colour, pixels] : count.unknown) colours.emplace_back(pixels, colour);
  std::stable_sort(colours.begin(), colours.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  return colours;
}

int64_t distance(uint32_t a, uint32_t b) {
  int64_t sum = 0;
  for (int c = 0; c < 3; ++c) sum += int64_t(channel(a, c) - channel(b, c)) * (channel(a, c) - channel(b, c));
  return sum;
}

}  // namespace

void ColourCount::add(const ColourCount& other) {
  for (const auto& [colour, count] : other.unknown) unknown[colour] += count;
  pixels += other.pixels;
  unknown_pixels += other.unknown_pixels;
  farthest = std::max(farthest, other.farthest);
}

void LabelColours::add(uint32_t colour, int label, const std::string& name) {
  const auto [known, is_new] = classes_by_colour_.emplace(colour, label);
  ASAP_CHECK(is_new, name, ": expected every colour once, found ", text(colour), " for the classes ", known->second,
             " and ", label);
  entries_.emplace_back(colour, label);
  classes_ = std::max(classes_, label + 1);
}

LabelColours::LabelColours(const std::string& json, const std::string& name) {
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 2; };
  const Json table = Json::parse(json, shallow, false);
  ASAP_CHECK(
      table.is_structured() && !table.empty() && table.size() <= size_t(kMostClasses), name,
      ": expected a colour table, that is [[r, g, b], ...] in the order of the classes, {\"name\": [r, g, b], ...} or "
      "{\"#rrggbb\": class, ...}, found ",
      table.is_discarded()    ? "no JSON"
      : table.is_structured() ? str(table.size(), " entries")
                              : table.type_name());
  for (const auto& [key, value] : table.items()) {
    const std::string where = name + (table.is_array() ? ", entry " : ", ") + key;
    uint32_t colour = 0;
    if (table.is_object() && parse_hex(key, colour) && value.is_number()) {
      add(colour, parse_class(value, where), name);
    } else {
      add(parse_colour(value, where), int(entries_.size()), name);
    }
  }
}

LabelColours LabelColours::read(const std::filesystem::path& file) {
  const std::vector<uint8_t> bytes = read_file(file);
  const std::string name = file.string(), format = picture_format(bytes);
  if (format.empty()) return {{bytes.begin(), bytes.end()}, name};
  ASAP_CHECK(format != "JPEG" && format != "WebP", name,
             ": expected a colour table as JSON or as a PNG picture of it, found a ", format,
             " (its compression changes the colours)");
  LabelColours table;
  const std::vector<uint8_t> palette = picture_palette(bytes, name);
  const std::vector<uint8_t> colours = palette.empty() ? decode_photo(bytes, name).pixels : palette;
  for (size_t i = 0; i < colours.size(); i += 3) {
    const uint32_t colour = packed(&colours[i]);
    if (table.classes_by_colour_.contains(colour)) continue;  // also where a palette is filled up with black
    table.add(colour, palette.empty() ? table.classes_ : int(i / 3), name);
    ASAP_CHECK(table.classes_ <= kMostClasses, name, ": expected a picture of a colour table, found more than ",
               kMostClasses, " colours");
  }
  return table;
}

std::string LabelColours::to_json() const {
  Json table = Json::object();
  for (const auto& [colour, label] : entries_) table[text(colour)] = label;
  return table.dump();
}

std::vector<uint8_t> LabelColours::palette() const {
  std::vector<uint8_t> palette(3 * size_t(classes_), 0);
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry)  // the first colour of a class stands
    for (int c = 0; c < 3; ++c) palette[3 * size_t(entry->second) + size_t(c)] = uint8_t(channel(entry->first, c));
  return palette;
}

LabelMap LabelColours::classes_of(const Image& picture, ColourCount& count) const {
  LabelMap map(picture.width, picture.height);
  std::unordered_map<uint32_t, int> nearest;  // classes of the unknown colours met
  for (size_t i = 0; i < map.values.size(); ++i) {
    const uint32_t colour = packed(&picture.pixels[3 * i]);
    const auto known = classes_by_colour_.find(colour);
    if (known != classes_by_colour_.end()) {
      map.values[i] = known->second;
      continue;
    }
    ++count.unknown[colour];
    ++count.unknown_pixels;
    const auto [place, is_new] = nearest.emplace(colour, 0);
    if (is_new) {
      const auto best = std::min_element(entries_.begin(), entries_.end(), [&](const auto& a, const auto& b) {
        return distance(a.first, colour) < distance(b.first, colour);
      });
      place->second = best->second;
      for (int c = 0; c < 3; ++c)
        count.farthest = std::max(count.farthest, std::abs(channel(best->first, c) - channel(colour, c)));
    }
    map.values[i] = place->second;
  }
  count.pixels += int64_t(map.values.size());
  return map;
}

LabelMap LabelColours::classes_of(const Image& picture, const std::string& name) const {
  ColourCount count;
  LabelMap map = classes_of(picture, count);
  ASAP_CHECK(count.unknown.empty(), name, ": ", unknown_colours_text(count));
  return map;
}

void count_colours(const Image& picture, ColourCount& count) {
  for (size_t i = 0; i < picture.pixels.size(); i += 3) ++count.unknown[packed(&picture.pixels[i])];
  count.pixels += int64_t(picture.pixels.size() / 3);
  count.unknown_pixels = count.pixels;
}

std::string proposed_table(const ColourCount& count) {
  Json table = Json::object();
  for (const auto& [pixels, colour] : by_frequency(count)) table[text(colour)] = table.size();
  return table.dump(2);
}

std::string unknown_colours_text(const ColourCount& count) {
  constexpr size_t kShown = 8;
  const auto frequent = by_frequency(count);
  std::string list;
  for (size_t i = 0; i < std::min(kShown, frequent.size()); ++i)
    list += str(i ? ", " : "", text(frequent[i].second), " (", frequent[i].first,
                frequent[i].first == 1 ? " pixel)" : " pixels)");
  if (frequent.size() > kShown) list += str(" and ", frequent.size() - kShown, " more");
  const bool one = frequent.size() == 1;
  return str(frequent.size(), one ? " colour is" : " colours are", " not in the table: ", list, ", ",
             count.unknown_pixels, " of ", count.pixels, " pixels; add ", one ? "it" : "them",
             " to the table, or, where ", one ? "it is" : "they are",
             " blends at edges or traces of JPEG, take the nearest colour (--nearest-colour, or asapnet labels --nearest)");
}

}  // namespace asap::train
