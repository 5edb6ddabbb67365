// `asapnet kernel new`: a CMake project with a kernel of the slot's signature, which builds and passes before a line is written.
#pragma once

#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace asap::bench {

// Writes CMakeLists.txt and NAME.cpp or NAME.cu, NAME being the folder's name, into the folder, which is made if need be.
// Returns the files' paths. asap::Error, before anything is written: an unknown slot, a name that C++ does not take, files that are there.
std::vector<std::string> write_kernel_skeleton(const std::string& slot, Device device, const std::string& folder);

}  // namespace asap::bench
