// The doctest runner. A test file whose every case was skipped for want of data exits with 77: ctest reports "Skipped".
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "tests/support/skip.h"

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (context.shouldExit() || failed) return failed;
  return asap::tests::all_skipped() ? 77 : 0;
}
