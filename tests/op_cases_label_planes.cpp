// Rows of op_cases.h: label maps as planes.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

// An operand rounded to bf16 is the same number in the f64 reference; a result kept in bf16 is off by half a unit in the
// last of 8 bits, 2^-8 of it.
constexpr double kBf16Result = 4e-3;

constexpr const char *kOwnTypes = "the row chooses its types", *kOwnLayout = "the row chooses its layout";

DType widest(const Inputs& in) {
  for (const Variable& input : in) {
    if (input.dtype() == DType::f64) return DType::f64;
  }
  return DType::f32;
}

// What harness and backward pass can hold: numbers in the type of the run.
Variable result(const Tensor& y, const Inputs& in) { return Variable(y.to(widest(in))); }

struct PlanesRow {
  const char* name;
  Shape labels;
  int64_t classes, factor;
  bool instance = false, outside = false, bytes = true;  // outside: some labels are no class; bytes: u8, else i32
};

// Inputs: labels, one number of the run's type, then perhaps the instance channel.
OpCase planes_case(const PlanesRow& r, Layout layout, bool bf16_result = false) {
  const OpInput labels = indices(r.labels, r.classes + (r.outside ? 3 : 0));
  OpCase row;
  row.name = str("label_planes/", r.name, bf16_result ? "_bf16" : "", layout == Layout::row_major ? "" : "_channels_last");
  row.inputs = {r.bytes ? compact(labels) : labels, constant(normal({1}))};
  if (r.instance) row.inputs.push_back(constant(normal({r.labels[0], 1, r.labels[1], r.labels[2]})));
  row.slots = {&kernels::label_planes};
  row.not_bf16 = kOwnTypes, row.row_major = kOwnLayout;
  row.tolerance = bf16_result ? kBf16Result : 2e-6;
  row.run = [r, layout, bf16_result](const Inputs& in) {
    const DType dtype = bf16_result && widest(in) == DType::f32 ? DType::bf16 : widest(in);
    const Tensor instance = in.size() > 2 ? in[2].value() : Tensor();
    return result(label_planes(in[0].value(), instance, {.classes = r.classes, .factor = r.factor}, dtype, layout), in);
  };
  return row;
}

void add_planes(std::vector<OpCase>& rows) {
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (const PlanesRow& r : std::vector<PlanesRow>{
             {"factor_1", {2, 5, 7}, 4, 1},
             {"factor_1_instance", {1, 6, 5}, 3, 1, true},
             {"factor_2", {2, 6, 10}, 5, 2, false, false, false},
             {"factor_2_smallest", {1, 2, 2}, 2, 2},
             {"factor_2_instance", {1, 8, 6}, 13, 2, true},
             {"factor_4", {1, 12, 8}, 3, 4},
             {"factor_4_instance_outside", {2, 8, 20}, 3, 4, true, true},
             {"factor_4_outside_i32", {1, 8, 8}, 3, 4, false, true, false},
             {"factor_1_outside", {1, 5, 9}, 3, 1, false, true},
             {"factor_8_one_class", {1, 8, 16}, 1, 8},
             {"factor_2_classes_300_instance", {1, 8, 6}, 300, 2, true, true, false},
             {"rows_factor_1", {1, 37, 301}, 13, 1, true},
             {"rows_factor_2", {2, 66, 130}, 36, 2, true},
         }) {
      rows.push_back(planes_case(r, layout));
    }
    rows.push_back(planes_case({"factor_1_instance", {1, 4, 6}, 5, 1, true}, layout, true));
    rows.push_back(planes_case({"factor_2_instance", {1, 8, 6}, 5, 2, true}, layout, true));
    OpCase large = planes_case({"facades_512", {1, 512, 512}, 13, 2}, layout);
    large.large = true;
    rows.push_back(large);
  }
}

}  // namespace

std::vector<OpCase> label_planes_cases() {
  std::vector<OpCase> rows;
  add_planes(rows);
  return rows;
}

}  // namespace asap::tests
