// "Did you mean ...?": the known name closest to a mistyped one. Used for JSON keys, flags and subcommands.
#pragma once

#include <string>
#include <vector>

namespace asap::train {

// The letters and digits in lower case: what is compared of a name.
std::string letters_of(const std::string& name);

// The entry of `known` with the smallest edit distance to `name`, the whole entry or its beginning; case, '-' and '_'
// don't count. "" if more than a third of the letters differ, or `known` is empty.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

// What to say of an option that does not exist, as written ("--gpu_ids", "gpu_ids"): what to use instead of an option of the
// published code and its relatives (published_options.cpp), or that there is none, with `where` behind it and the
// nearest name if one is near.
std::string unknown_option(const std::string& name, const std::vector<std::string>& known, const std::string& where = "");

}  // namespace asap::train
