// A stand-in for Device::cuda on any machine: ordinary memory that only kernels and copies can reach. A host that follows
// a device pointer dies at once (mprotect), and every copy between host and device is counted. The kernels are the CPU's,
// lent under the variant name "lent" and forced, so results equal the CPU's to the bit. For programs of their own: the
// stand-in replaces a real device for the rest of the program.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tensor/storage.h"

namespace asap::tests {

// What has crossed since the last call of reset_traffic().
struct Traffic {
  int64_t to_host = 0, from_host = 0, synchronized = 0;  // calls; the first and the last wait for the device
  size_t bytes_to_host = 0;
  std::map<std::string, int64_t> kernels;  // calls by slot
};

// Installs the stand-in; further calls do nothing.
void use_fenced_device();
const Traffic& traffic();
void reset_traffic();

}  // namespace asap::tests
