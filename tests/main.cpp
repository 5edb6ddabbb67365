// The doctest runner. A test file whose every case was skipped for want of data, or that is to run on what this machine lacks,
// exits with 77: ctest reports "Skipped".
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "tensor/cpu/isa.h"
#include "tensor/storage.h"
#include "tests/support/skip.h"

namespace {

// Whether ASAP_ISA names an instruction set beyond this machine's best.
bool lacks_isa() {
  using asap::cpu::Isa;
  const char* wanted = std::getenv("ASAP_ISA");
  const int best = static_cast<int>(asap::cpu::best_isa()), last = static_cast<int>(Isa::amx);
  for (int i = best + 1; wanted && i <= last; ++i) {
    if (std::string(wanted) == name(static_cast<Isa>(i))) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  // Line by line into a file too: a program that is cut off has told how far it came.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  if (lacks_isa()) {
    std::cout << "SKIPPED: this machine has no " << std::getenv("ASAP_ISA") << "\n";
    return kSkipped;
  }
  const asap::Device device = asap::tests::test_device();
  if (!asap::is_available(device)) {
    std::cout << "SKIPPED: " << asap::unavailable_reason(device) << "\n";
    return kSkipped;
  }
  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (context.shouldExit() || failed) return failed;
  return asap::tests::all_skipped() ? kSkipped : 0;
}
