// The doctest runner. A test file whose every case was skipped for want of data, or that is to run on what this machine lacks
// or runs anyway, exits with 77: ctest reports "Skipped".
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tensor/cpu/isa.h"
#include "tensor/storage.h"
#include "tests/support/skip.h"

namespace {

// Why there is nothing to run with the instruction set that ASAP_ISA names, or "": this machine lacks it, or, for a test that
// runs once for each set (ASAP_EACH_ISA), it is the machine's best, with which the plain test runs.
std::string why_no_isa() {
  using asap::cpu::Isa;
  const char* wanted = std::getenv("ASAP_ISA");
  const int best = static_cast<int>(asap::cpu::best_isa()), last = static_cast<int>(Isa::amx);
  for (int i = best; wanted && i <= last; ++i) {
    if (std::string(wanted) != name(static_cast<Isa>(i))) continue;
    if (i > best) return std::string("this machine has no ") + wanted;
    if (std::getenv("ASAP_EACH_ISA")) return std::string("the plain test runs with ") + wanted;
  }
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  // Line by line into a file too: a program that is cut off has told how far it came.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  if (const std::string why = why_no_isa(); !why.empty()) {
    std::cout << "SKIPPED: " << why << "\n";
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
