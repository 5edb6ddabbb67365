// Rows of op_cases.h: pooling.
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

std::vector<OpCase> pool_cases() {
  std::vector<OpCase> rows;
  for (const bool count : {true, false}) {
    for (const Row<Pool2dParams>& r : {
             Row<Pool2dParams>{"3_2_1_odd", {2, 3, 7, 9}, {3, 2, 1, count}},  // the discriminator's downsampling
             {"3_2_1_even", {1, 2, 8, 6}, {3, 2, 1, count}},
             {"3_1_1_overlapping", {1, 2, 5, 6}, {3, 1, 1, count}},
             {"2_2", {2, 3, 6, 4}, {2, 2, 0, count}},
             {"2_2_remainder", {1, 2, 7, 5}, {2, 2, 0, count}},
             {"gaps", {1, 2, 9, 9}, {2, 3, 0, count}},
             {"asymmetric", {1, 2, 6, 8}, {{2, 3}, {1, 2}, {1, 0}, count}},
             {"global", {2, 3, 5, 4}, {{5, 4}, 1, 0, count}},
             {"one_pixel", {1, 3, 1, 1}, {3, 2, 1, count}},
             {"3_2_1_blocks", {1, 3, 37, 65}, {3, 2, 1, count}},
             {"3_2_1_vectors_odd", {2, 3, 9, 24}, {3, 2, 1, count}},  // rows of a multiple of 8 pixels
             {"3_2_1_vectors_even", {1, 2, 10, 16}, {3, 2, 1, count}},
             {"2_2_vectors", {2, 3, 6, 24}, {2, 2, 0, count}},
             {"2_2_vectors_odd", {1, 2, 7, 16}, {2, 2, 0, count}},
             {"3_2_1_parallel", {2, 3, 129, 131}, {3, 2, 1, count}},
             {"2_2_parallel", {2, 3, 128, 130}, {2, 2, 0, count}}}) {
      rows.push_back({.name = str("avg_pool2d/", r.name, count ? "_count_pad" : "_skip_pad"), .inputs = {normal(r.x)},
                      .run = [p = r.params](const Inputs& in) { return avg_pool2d(in[0], p); },
                      .slots = {&kernels::avg_pool2d_forward, &kernels::avg_pool2d_backward}});
      if (!count) continue;
      rows.push_back({.name = str("max_pool2d/", r.name), .inputs = {normal(r.x)},
                      .run = [p = r.params](const Inputs& in) { return max_pool2d(in[0], p); },
                      .slots = {&kernels::max_pool2d_forward, &kernels::max_pool2d_backward}});
    }
  }
  auto max_case = [&rows](const char* name, const OpInput& x, double shift) {
    rows.push_back({.name = name, .inputs = {x},
                    .run = [shift](const Inputs& in) { return max_pool2d(in[0] + shift, {.kernel = 3, .stride = 2, .padding = 1}); },
                    .slots = {&kernels::max_pool2d_forward, &kernels::max_pool2d_backward}, .gradcheck = false,
                    .not_bf16 = shift == 0 ? nullptr : "x - 100 keeps no digits"});
  };
  max_case("max_pool2d/ties", ties({2, 3, 9, 7}), 0);
  max_case("max_pool2d/negative", normal({1, 2, 7, 6}), -100);  // padding must not win

  const Pool2dParams three{3, 2, 1, false}, two{2, 2, 0};
  const Shape x{1, 16, 512, 512}, y = pool2d_shape(x, three), features{1, 64, 256, 256};
  const double adds = 9.0 * static_cast<double>(y.numel());
  rows.push_back(timed("avg_pool2d/3_2_1_16x512x512/forward", {normal(x)}, kernels::avg_pool2d_forward, adds,
                       [three](const Inputs& in) { return Variable(avg_pool2d(in[0].value(), three)); }));
  rows.push_back(timed("avg_pool2d/3_2_1_16x512x512/backward", {normal(y)}, kernels::avg_pool2d_backward, adds,
                       [three, x](const Inputs& in) { return Variable(avg_pool2d_backward(in[0].value(), x, three)); }));
  rows.push_back(timed("max_pool2d/2_2_64x256x256/forward", {normal(features)}, kernels::max_pool2d_forward, 0,
                       [two](const Inputs& in) { return Variable(max_pool2d(in[0].value(), two).y); }));
  return rows;
}

}  // namespace asap::tests
