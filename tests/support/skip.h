// Skipping honestly: a test that lacks its data calls skip(reason) and returns; run() of at least one other test in
// the same program must call ran(). When nothing ran, the program exits with 77 and ctest says "Skipped".
#pragma once

#include <string>

#include "tensor/dtype.h"

namespace asap::tests {

void skip(const std::string& reason);
void ran();
bool all_skipped();

// The device that this run of a test program is about: the environment variable ASAP_TEST_DEVICE, cpu (default) or cuda. A
// program that is asked for a card and finds none skips itself (main.cpp).
Device test_device();

// The project's folder, whose tests/ holds what device tests compare with: where the program was built, or the environment
// variable ASAP_SOURCE_DIR for one that runs elsewhere.
std::string source_folder();

// The folder of the real data (facades/, weights/) from the environment variable ASAP_DATA; "" when it is not set.
std::string data_folder();

}  // namespace asap::tests
