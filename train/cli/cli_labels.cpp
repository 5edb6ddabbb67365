// asapnet labels: label maps in colours to label maps of class numbers. Declared in cli.h; the work is label_colours.h's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "train/cli/cli.h"
#include "train/data/label_colours.h"
#include "train/data/list_pairs.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLabelsFooter = R"(Examples:
  asapnet labels --labels coloured > colours.json                         the colours there are, as a table to edit
  asapnet labels --from-colours colours.json --labels coloured --out maps
  asapnet labels --from-colours legend.png --labels coloured --out maps --nearest
The table is JSON: [[r,g,b], ...] in the order of the classes, {"wall": [r,g,b], ...} likewise, or {"#rrggbb": class, ...}, which may
give several colours one class. Or it is a PNG: its palette, or its colours from left to right and top to bottom.)";

struct LabelsCommand {
  std::string table;
  std::vector<std::string> labels;
  std::string out;
  bool nearest = false;

  int run() const;
  int print_colours() const;
};

std::vector<Pair> label_files(const std::vector<std::string>& paths) {
  std::vector<Pair> files;
  for (const fs::path path : paths) {
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) {
      files.push_back({.name = path.stem().string(), .label = path});
      continue;
    }
    const auto found = list_pairs({.layout = DatasetLayout::custom, .label_dir = path, .need_images = false});
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

// Before anything is written: no target is one of the inputs, and none comes twice.
std::vector<fs::path> targets_of(const std::vector<Pair>& files, const fs::path& out) {
  std::vector<fs::path> targets;
  for (const Pair& file : files) {
    const fs::path target = (out / (file.name + ".png")).lexically_normal();
    ASAP_CHECK(std::find(targets.begin(), targets.end(), target) == targets.end(), "labels: two label maps are called ",
               file.name, "; their results would overwrite each other");
    for (const Pair& other : files) {
      std::error_code ignored;
      ASAP_CHECK(!fs::equivalent(target, other.label, ignored), "labels: ", target.string(),
                 " would be written over a label map that is to be read; give another --out");
    }
    targets.push_back(target);
  }
  return targets;
}

std::string share(int64_t part, int64_t whole) {
  std::ostringstream text;
  text << part << " of " << whole << " pixels (" << std::fixed << std::setprecision(2)
       << 100.0 * double(part) / double(whole) << " %)";
  return text.str();
}

// Without a table.
int LabelsCommand::print_colours() const {
  if (!out.empty() || nearest)
    throw UsageError(
        "labels: --out and --nearest need --from-colours FILE; without them the colours that occur are printed as a "
        "table");
  ColourCount count;
  for (const Pair& file : label_files(labels)) {
    count_colours(read_photo(file.label), count);
    ASAP_CHECK(count.unknown.size() <= 256, file.label.string(),
               ": expected label maps in colours, found more than 256 colours so far: these are photos, or maps that "
               "were saved "
               "as JPEG or scaled smoothly, whose table only you can write");
  }
  std::cout << proposed_table(count) << std::endl;
  return kOk;
}

int LabelsCommand::run() const {
  if (table.empty()) return print_colours();
  if (out.empty())
    throw UsageError("labels: --from-colours needs --out DIR, the folder for the label maps of class numbers");
  const LabelColours colours = LabelColours::read(table);
  const std::vector<uint8_t> palette = colours.palette();
  const std::vector<Pair> files = label_files(labels);
  const std::vector<fs::path> targets = targets_of(files, out);
  ColourCount all;
  size_t written = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = files[i].label.string();
    try {
      ColourCount count;
      const LabelMap map = colours.classes_of(read_photo(files[i].label), count);
      all.add(count);
      if (!count.unknown.empty()) {
        ASAP_CHECK(nearest, name, ": not written; ", share(count.unknown_pixels, count.pixels),
                   " have colours that are not in the table");
        std::cout << name << ": " << share(count.unknown_pixels, count.pixels)
                  << " took the nearest colour, which was up to " << count.farthest << " levels of a channel away\n";
      }
      make_folder(targets[i].parent_path());
      write_label_png(targets[i], map, palette);
      ++written;
    } catch (const Error& error) {
      warn(error.what());
    }
  }
  std::cout << written << " of " << files.size() << " label maps of " << colours.classes() << " classes in " << out
            << std::endl;
  if (!nearest && !all.unknown.empty()) fail(table, ": ", unknown_colours_text(all));
  return written == files.size() ? kOk : kError;
}

}  // namespace

Command add_labels_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("labels", "Turn label maps in colours into label maps of class numbers");
  auto command = std::make_shared<LabelsCommand>();
  app->add_option("--from-colours,--from-colors", command->table,
                  "which class each colour is: a JSON file or a PNG, see below; without "
                  "it, the colours that occur are printed as such a table, the most frequent first")
      ->type_name("FILE");
  app->add_option("--labels", command->labels, "label maps in colours: files or a folder")
      ->type_name("PATH")
      ->required();
  app->add_option("--out", command->out, "folder for the label maps of class numbers, NAME.png")->type_name("DIR");
  app->add_flag("--nearest", command->nearest,
                "a colour that is not in the table takes the class of the nearest one, for JPEGs and smoothed edges");
  app->footer(kLabelsFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
