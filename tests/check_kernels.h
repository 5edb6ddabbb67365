// Comparing one variant of a slot with the definition on the small rows of the op table, item by item: for kernels of one's own, whoever
// runs them (asapnet bench --kernel, asap_add_kernel's test program, bench/custom_kernel_example.cpp). The library's own variants are
// compared by test_op_cases.cpp. Next: op_cases.h.
#pragma once

#include <string>
#include <vector>

#include "tests/op_cases.h"

namespace asap::tests {

// One comparison: a row, in a type and layout.
struct KernelCheck {
  KernelSlotBase* slot;
  std::string variant;
  Device device;
  const OpCase* row;
  Setting setting;
  std::string name() const;  // "conv2d/3x3 f32 channels-last"
};
// Row by row, each variant: f32 and f64 on every row; bf16 and channels-last ones where the variant says that it takes them.
std::vector<KernelCheck> kernel_checks(KernelSlotBase& slot, const std::vector<std::string>& variants, Device device);

struct CheckResult {
  bool ran = false;  // false: the variant does not take this
  double difference = 0, tolerance = 0;
  bool wrote_outside = false;  // of an output's memory
  bool passed() const { return difference <= tolerance && !wrote_outside; }
  std::string text(const KernelCheck& check) const;  // why it did not pass
};
// What is compared with is kept for the next check of the same row.
CheckResult run_check(const KernelCheck& check);

}  // namespace asap::tests
