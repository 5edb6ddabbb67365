// "Did you mean ...?": the known name closest to a mistyped one. Used for JSON keys, flags and subcommands.
#pragma once

#include <string>
#include <vector>

namespace asap::train {

// The entry of `known` with the smallest edit distance to `name`, the whole entry or its beginning; case, '-' and '_'
// don't count. "" if `known` is empty.
std::string nearest_name(const std::string& name, const std::vector<std::string>& known);

}  // namespace asap::train
