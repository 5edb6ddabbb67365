// Rows of op_cases.h: padding.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

template <class Params>
struct Row {
  const char* name;
  Shape x;
  Params params;
};

}  // namespace

std::vector<OpCase> pad_cases() {
  std::vector<OpCase> rows;
  for (const Row<Pad2dParams>& r : {
           Row<Pad2dParams>{"zero", {2, 3, 4, 5}, {PadMode::zero, 1, 2, 3, 0}},
           {"zero_beyond_picture", {1, 2, 2, 3}, {PadMode::zero, 5, 4, 6, 3}},
           {"reflect_1", {2, 3, 4, 5}, {PadMode::reflect, 1, 1, 1, 1}},
           {"reflect_widest", {1, 2, 4, 5}, {PadMode::reflect, 4, 4, 3, 3}},
           {"reflect_asymmetric", {1, 2, 6, 7}, {PadMode::reflect, 0, 3, 2, 1}},
           {"reflect_two_pixels", {1, 2, 2, 2}, {PadMode::reflect, 1, 1, 1, 1}},
           {"replicate_1", {2, 3, 4, 5}, {PadMode::replicate, 1, 1, 1, 1}},
           {"replicate_beyond_picture", {1, 2, 2, 3}, {PadMode::replicate, 5, 4, 6, 3}},
           {"replicate_one_pixel", {1, 3, 1, 1}, {PadMode::replicate, 2, 1, 1, 2}},
           {"none", {1, 2, 3, 4}, {PadMode::reflect, 0, 0, 0, 0}},
           {"reflect_blocks", {1, 5, 37, 41}, {PadMode::reflect, 2, 2, 2, 2}},
           {"zero_parallel", {2, 3, 129, 131}, {PadMode::zero, 1, 2, 3, 4}},
           {"reflect_parallel", {2, 3, 129, 131}, {PadMode::reflect, 1, 2, 3, 4}},
           {"replicate_parallel", {2, 3, 129, 131}, {PadMode::replicate, 1, 2, 3, 4}}}) {
    rows.push_back({.name = str("pad2d/", r.name), .inputs = {normal(r.x)},
                    .run = [p = r.params](const Inputs& in) { return pad2d(in[0], p); },
                    .slots = {&kernels::copy}});
  }
  return rows;
}

}  // namespace asap::tests
