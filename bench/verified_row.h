// A row of the op table (tests/op_cases.h) whose variants are compared on the very inputs that are then timed.
// Used by op_timing.cpp and kit/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/op_cases.h"

namespace asap::bench {

// On the CPU, rows of more operations are compared with a fast variant, as naive would take seconds; naive itself is timed,
// several times over, up to a tenth of it. On a card naive is fast enough for all rows.
inline constexpr double kNaiveFlops = 2e9;
inline bool times_naive(const tests::OpCase& row, Device device) { return device != Device::cpu || row.flops <= kNaiveFlops / 10; }

class VerifiedRow {
 public:
  VerifiedRow(const tests::OpCase& row, Device device, DType dtype);
  bool is(const tests::OpCase& row, Device device, DType dtype) const { return row_ == &row && device_ == device && dtype_ == dtype; }
  const tests::OpCase& row() const { return *row_; }
  const std::vector<Variable>& inputs() const { return inputs_; }

  // Runs the variant and compares: naive up to kNaiveFlops, else the first other variant that takes the row. Returns what it was
  // compared with, e.g. "= naive"; "" if the variant does not take the row; throws Error on a mismatch. In bf16 it is compared
  // with what the slot does on the same rounded numbers in f32 ("= float32").
  std::string verify(KernelSlotBase& slot, const std::string& variant);
  // The row's compulsory traffic in bytes: its own count, or every input read and the output written once.
  double bytes(const Tensor& result) const;
  // What the variant gave, on copies of the inputs, since optimiser rows write into theirs; undefined where it does not take the row.
  const Tensor& result_of(KernelSlotBase& slot, const std::string& variant);

 private:
  std::string peer_of(KernelSlotBase& slot, const std::string& variant);

  const tests::OpCase* row_;
  Device device_;
  DType dtype_;
  std::vector<Variable> inputs_;
  std::map<std::string, Tensor> results_;        // by variant
  std::map<std::string, std::string> verdicts_;  // by variant, as verify() returns them
  std::map<std::string, std::string> wrong_;     // by variant, what verify() throws: the same in each repetition
};

// Multiplications of the definition for each one that the variant does: Winograd's F(4x4, 3x3) takes 36 for 144
// (Lavin & Gray, CVPR 2016).
double saved_multiplications(const std::string& variant);

}  // namespace asap::bench
