// Counts skipped and executed tests. Declared in skip.h.
#include "tests/support/skip.h"

#include <cstdlib>
#include <iostream>

namespace asap::tests {
namespace {
int skipped_count = 0, ran_count = 0;
}

void skip(const std::string& reason) {
  ++skipped_count;
  std::cout << "SKIPPED: " << reason << "\n";
}
void ran() { ++ran_count; }
bool all_skipped() { return skipped_count > 0 && ran_count == 0; }

Device test_device() {
  const char* text = std::getenv("ASAP_TEST_DEVICE");
  const std::string name = text ? text : "cpu";
  ASAP_CHECK(name == "cpu" || name == "cuda", "ASAP_TEST_DEVICE: expected cpu or cuda, got '", name, "'");
  return name == "cpu" ? Device::cpu : Device::cuda;
}

std::string source_folder() {
  const char* folder = std::getenv("ASAP_SOURCE_DIR");
  return folder ? folder : ASAP_SOURCE_DIR;
}

std::string data_folder() {
  const char* folder = std::getenv("ASAP_DATA");
  return folder ? folder : "";
}

}  // namespace asap::tests
