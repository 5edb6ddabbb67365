// Comparisons of single variants. Declared in check_kernels.h.
#include "tests/check_kernels.h"

#include <algorithm>

namespace asap::tests {

std::string KernelCheck::name() const {
  return str(row->name, " ", setting.dtype, setting.layout == Layout::channels_last ? " channels-last" : "");
}

namespace {

std::vector<Setting> settings_of(const Takes& takes) {
  std::vector<Setting> settings{{DType::f32}, {DType::f64}};
  if (takes.strided) settings.emplace_back(DType::f32, Layout::channels_last);
  if (takes.bf16) settings.emplace_back(DType::bf16);
  if (takes.strided && takes.bf16) settings.emplace_back(DType::bf16, Layout::channels_last);
  return settings;
}

// What naive makes in f64 of the very numbers that a variant gets, rounded or not.
const std::vector<Tensor>& expected_of(const OpCase& row, bool rounded) {
  static const OpCase* kept = nullptr;
  static std::vector<Tensor> values[2];
  if (kept != &row) {
    kept = &row;
    for (auto& one : values) one.clear();
  }
  if (values[rounded].empty()) {
    const NaiveEverywhere naive;
    values[rounded] = evaluate(row, {DType::f64, Layout::row_major, rounded}, Device::cpu);
  }
  return values[rounded];
}

}  // namespace

std::vector<KernelCheck> kernel_checks(KernelSlotBase& slot, const std::vector<std::string>& variants, Device device) {
  std::vector<KernelCheck> checks;
  const std::vector<VariantInfo> infos = slot.describe(device);
  for (const OpCase& row : op_cases()) {
    if (row.large || std::find(row.slots.begin(), row.slots.end(), &slot) == row.slots.end()) continue;
    for (const VariantInfo& info : infos) {
      if (std::find(variants.begin(), variants.end(), info.name) == variants.end()) continue;
      for (const Setting& setting : settings_of(info.takes)) {
        if (setting.dtype == DType::bf16 && row.not_bf16) continue;
        checks.push_back({&slot, info.name, device, &row, setting});
      }
    }
  }
  return checks;
}

CheckResult run_check(const KernelCheck& check) {
  const std::vector<Tensor>& expected = expected_of(*check.row, check.setting.rounded);
  const int64_t before = overwritten_guards();
  const VariantCheck result = check_variant(*check.row, expected, *check.slot, check.variant, check.setting, check.device);
  return {.ran = result.ran,
          .difference = result.difference,
          .tolerance = result.tolerance,
          .wrote_outside = overwritten_guards() > before};
}

std::string CheckResult::text(const KernelCheck& check) const {
  const std::string where = str(check.slot->name(), "=", check.variant, " on ", check.name());
  if (wrote_outside) return where + ": wrote behind its output";
  return str(where, ": differs from the definition by ", difference, " of the largest value, tolerance ", tolerance);
}

}  // namespace asap::tests
