// The doctest runner. A test file whose every case was skipped for want of data exits with 77: ctest reports "Skipped".
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <iostream>

#include "tensor/storage.h"
#include "tests/support/skip.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  // Line by line into a file too: a program that is cut off has told how far it came.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
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
