// What the classes are called: those of the two published data sets, or as a file says.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/options/options.h"

namespace asap::train {

// Whether the classes are those of the CMP facades: 13, of which 0 is not used.
bool has_cmp_classes(const Options& options);

// A name for each of the model's label_nc classes: of the facades and Cityscapes (ids, not training ids) the known
// ones, else "class 7". From a model without a data set, as an official .pth file is, the number of classes tells.
std::vector<std::string> class_names(const Options& options);
// The same from a text file, a name a line, from class 0 on; empty lines and what is missing at the end: "class 7".
// asap::Error naming the file: unreadable, more names than classes.
std::vector<std::string> read_class_names(const std::filesystem::path& file, int64_t classes);

}  // namespace asap::train
