// Names of files as people see them: equal if they look equal. Sits on utf8proc; used by folder_scan.cpp and match_files.cpp.
#pragma once

#include <string>

namespace asap::train {

// The name in Unicode's composed form (NFC): an e with an accent is one character or, in macOS archives, two. Names that
// are not UTF-8 stay the bytes they are.
std::string composed(const std::string& name);

// The composed name without the difference of upper and lower case.
std::string case_folded(const std::string& name);

// The last component of a name such as "sub/a0".
std::string last_component(const std::string& name);

}  // namespace asap::train
