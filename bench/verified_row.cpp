// Verification before timing. Declared in verified_row.h.
#include "bench/verified_row.h"

#include "tensor/precision.h"

namespace asap::bench {

VerifiedRow::VerifiedRow(const tests::OpCase& row, Device device, DType dtype)
    : row_(&row), device_(device), dtype_(dtype), inputs_(tests::make_inputs(row, dtype, device)) {}

const Tensor& VerifiedRow::result_of(KernelSlotBase& slot, const std::string& variant) {
  const auto [place, is_new] = results_.try_emplace(variant);
  if (is_new) {
    std::vector<Variable> inputs;
    for (const Variable& input : inputs_) inputs.emplace_back(input.value().clone());
    const ForcedVariant forced(slot, variant);
    const ScopedPrecision precision(tests::precision_of(variant));
    const tests::QuietErrors quiet;
    slot.forget_last_variant();
    const Tensor result = row_->run(inputs).value();
    if (slot.last_variant() == variant) place->second = result;
  }
  return place->second;
}

// The variant to compare with.
std::string VerifiedRow::peer_of(KernelSlotBase& slot, const std::string& variant) {
  if (device_ == Device::cpu && row_->flops > kNaiveFlops) {
    for (const std::string& other : slot.variants(device_)) {
      if (other != variant && other != "naive" && tests::precision_of(other) == Precision::f32 && result_of(slot, other).defined()) return other;
    }
  }
  return "naive";
}

std::string VerifiedRow::verify(KernelSlotBase& slot, const std::string& variant) {
  if (const auto known = verdicts_.find(variant); known != verdicts_.end()) return known->second;
  if (const auto known = wrong_.find(variant); known != wrong_.end()) fail(known->second);
  std::string verdict;
  if (const Tensor& result = result_of(slot, variant); result.defined()) {
    const bool rounded = dtype_ == DType::bf16;
    const std::string peer = rounded ? "float32" : peer_of(slot, variant);
    const Tensor expected = rounded ? row_->run(tests::make_inputs(*row_, {DType::f32, Layout::row_major, true}, device_)).value()
                                    : result_of(slot, peer);
    const double difference = tests::relative_difference(result, expected);
    // Both may be off, where the table compares with float64.
    const double tolerance = tests::tolerance_at(*row_, dtype_, tests::precision_of(variant)) +
                             tests::tolerance_at(*row_, DType::f32, tests::precision_of(peer));
    if (!(difference <= tolerance)) {
      fail(wrong_[variant] = str(row_->name, ": ", variant, " differs from ", peer, " by ", difference,
                                 " of the largest value, tolerance ", tolerance));
    }
    verdict = peer == variant ? "is naive" : "= " + peer;
  }
  return verdicts_[variant] = verdict;
}

double VerifiedRow::bytes(const Tensor& result) const {
  if (row_->bytes > 0) return row_->bytes * static_cast<double>(size_of(dtype_)) / 4;  // a row's own count is of f32
  size_t bytes = result.bytes();
  for (const Variable& input : inputs_) bytes += input.value().bytes();
  return static_cast<double>(bytes);
}

double saved_multiplications(const std::string& variant) { return variant.find("winograd") == 0 ? 4 : 1; }

}  // namespace asap::bench
