// Rows of op_cases.h: convolution. Each geometry also stands in the benchmark's list with forward, input gradient and
// weight gradient apart.
#include <cmath>

#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;
const std::vector<KernelSlotBase*> kConv{&kernels::conv2d_forward, &kernels::conv2d_input_grad, &kernels::conv2d_weight_grad};

constexpr PadMode kReflect = PadMode::reflect, kReplicate = PadMode::replicate;

struct Geometry {
  const char* name;
  Shape x, w;
  Conv2dParams params = {};
  double tolerance = 2e-6;
};

// With bias and activation, twice: sums of either sign, forward alone; and with gradients, where the bias outweighs the sums,
// since a variant that rounds a sum across zero turns its gradient on or off.
void add_bias_cases(const Geometry& g, bool gradcheck, std::vector<OpCase>& rows) {
  const double one = 1 / std::sqrt(static_cast<double>(g.w[1] * g.w[2] * g.w[3]));  // weights of sums about 1
  OpCase row{.name = str("conv2d/", g.name), .inputs = {constant(normal(g.x)), constant(normal(g.w, one)), constant(parameter(normal({g.w[0]})))},
             .run = [p = g.params](const Inputs& in) { return conv2d(in[0], in[1], in[2], p); },
             .slots = {&kernels::conv2d_forward}, .tolerance = g.tolerance};
  rows.push_back(row);
  row.name += "_gradients";
  row.inputs = {normal(g.x), normal(g.w, one / 50), parameter(off_zero({g.w[0]}))};
  row.slots = kConv;
  row.gradcheck = gradcheck;
  rows.push_back(row);
}

std::vector<OpCase> small_cases() {
  const std::vector<Geometry> geometries{
      {"1x1", {2, 3, 4, 5}, {7, 3, 1, 1}},
      {"1x1_s2", {1, 3, 5, 7}, {4, 3, 1, 1}, {.stride = 2}},
      {"3x3", {1, 2, 5, 7}, {3, 2, 3, 3}},
      {"3x3_p1", {2, 3, 5, 7}, {4, 3, 3, 3}, {.padding = 1}},
      {"3x3_s2_odd", {2, 3, 7, 9}, {4, 3, 3, 3}, {.stride = 2, .padding = 1}},
      {"3x3_s2_remainder", {1, 3, 8, 10}, {4, 3, 3, 3}, {.stride = 2}},  // the last row and column are never read
      {"3x3_s3_remainder", {1, 2, 11, 12}, {3, 2, 3, 3}, {.stride = 3, .padding = 1}},
      {"3x3_dilation_2", {1, 2, 9, 8}, {3, 2, 3, 3}, {.padding = 2, .dilation = 2}},
      {"3x3_dilation_s2", {1, 2, 11, 10}, {3, 2, 3, 3}, {.stride = 2, .padding = {1, 2}, .dilation = {2, 3}}},
      {"3x3_groups_2", {2, 4, 5, 6}, {6, 2, 3, 3}, {.padding = 1, .groups = 2}},
      {"3x3_depthwise", {1, 5, 6, 7}, {5, 1, 3, 3}, {.padding = 1, .groups = 5}},
      {"depthwise_multiplier", {1, 3, 6, 5}, {6, 1, 3, 3}, {.stride = 2, .groups = 3}},
      {"4x4_p2", {1, 3, 6, 7}, {4, 3, 4, 4}, {.padding = 2}},
      {"4x4_s2_p2", {2, 3, 9, 10}, {5, 3, 4, 4}, {.stride = 2, .padding = 2}},
      {"tent_w", {1, 3, 6, 16}, {3, 1, 1, 4}, {.stride = {1, 2}, .groups = 3}},  // the generator's downsampling
      {"tent_h", {1, 3, 16, 6}, {3, 1, 8, 1}, {.stride = {4, 1}, .groups = 3}},
      {"5x1_asymmetric", {1, 2, 9, 6}, {3, 2, 5, 1}, {.stride = {2, 1}, .padding = {2, 0}}},
      {"7x7_p3", {1, 2, 8, 9}, {2, 2, 7, 7}, {.padding = 3}},
      {"kernel_is_picture", {2, 3, 4, 5}, {3, 3, 4, 5}},
      {"one_pixel", {1, 4, 1, 1}, {3, 4, 1, 1}},
      {"one_pixel_padded", {1, 2, 1, 1}, {3, 2, 3, 3}, {.padding = 1}},
      {"one_channel", {3, 1, 6, 5}, {1, 1, 3, 3}, {.padding = 1}},
      {"padding_beyond_kernel", {1, 2, 3, 4}, {2, 2, 2, 2}, {.padding = 3}},
      {"reflect_3x3", {2, 3, 5, 7}, {4, 3, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"reflect_3x3_s2", {1, 3, 7, 8}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReflect}},
      {"reflect_3x3_dilation_2", {1, 2, 5, 6}, {3, 2, 3, 3}, {.padding = 1, .dilation = 2, .pad_mode = kReflect}},
      {"reflect_3x3_dilation_p2", {1, 2, 6, 5}, {3, 2, 3, 3}, {.padding = 2, .dilation = 2, .pad_mode = kReflect}},
      {"reflect_3x3_groups_2", {2, 4, 5, 6}, {6, 2, 3, 3}, {.padding = 1, .groups = 2, .pad_mode = kReflect}},
      {"reflect_4x4_s2_p2", {2, 3, 9, 10}, {5, 3, 4, 4}, {.stride = 2, .padding = 2, .pad_mode = kReflect}},
      {"reflect_7x7_as_far_as_it_goes", {1, 2, 4, 5}, {2, 2, 7, 7}, {.padding = 3, .pad_mode = kReflect}},
      {"reflect_two_pixels", {1, 2, 2, 2}, {3, 2, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"reflect_rows_only", {1, 2, 4, 1}, {3, 2, 3, 1}, {.padding = {1, 0}, .pad_mode = kReflect}},
      {"reflect_1x1", {1, 2, 3, 4}, {3, 2, 1, 1}, {.padding = 1, .pad_mode = kReflect}},
      {"reflect_depthwise", {1, 5, 6, 7}, {5, 1, 3, 3}, {.padding = 1, .groups = 5, .pad_mode = kReflect}},
      {"reflect_tent_w", {1, 3, 6, 16}, {3, 1, 1, 8}, {.stride = {1, 4}, .padding = {0, 2}, .groups = 3, .pad_mode = kReflect}},
      {"reflect_not_padded", {1, 2, 4, 5}, {3, 2, 3, 3}, {.pad_mode = kReflect}},
      {"replicate_3x3", {2, 3, 5, 7}, {4, 3, 3, 3}, {.padding = 1, .pad_mode = kReplicate}},
      {"replicate_3x3_s2", {1, 3, 8, 7}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReplicate}},
      {"replicate_one_pixel", {1, 2, 1, 1}, {3, 2, 3, 3}, {.padding = 1, .pad_mode = kReplicate}},
      {"replicate_beyond_kernel", {1, 2, 3, 4}, {2, 2, 2, 2}, {.padding = 3, .pad_mode = kReplicate}},
      {"replicate_depthwise_s2", {1, 5, 6, 7}, {5, 1, 3, 3}, {.stride = 2, .padding = 2, .groups = 5, .pad_mode = kReplicate}},
  };
  std::vector<OpCase> rows;
  for (const Geometry& g : geometries) {
    rows.push_back({.name = str("conv2d/", g.name), .inputs = {normal(g.x), normal(g.w, 0.5)},
                    .run = [p = g.params](const Inputs& in) { return conv2d(in[0], in[1], {}, p); }, .slots = kConv});
  }
  const std::vector<Geometry> with_bias{
      {"bias", {2, 3, 5, 6}, {4, 3, 3, 3}, {.padding = 1}},
      {"bias_1x1", {2, 3, 4, 5}, {7, 3, 1, 1}},
      {"bias_groups_relu", {2, 4, 5, 6}, {6, 2, 3, 3}, {.padding = 1, .groups = 2, .activation_slope = 0}},
      {"bias_depthwise_leaky", {1, 5, 6, 7}, {5, 1, 3, 3}, {.padding = 1, .groups = 5, .activation_slope = 0.2}},
      {"bias_4x4_s2_leaky", {2, 3, 9, 10}, {5, 3, 4, 4}, {.stride = 2, .padding = 2, .activation_slope = 0.2}},
      {"bias_reflect_relu", {2, 3, 5, 7}, {4, 3, 3, 3}, {.padding = 1, .pad_mode = kReflect, .activation_slope = 0}},
  };
  for (const Geometry& g : with_bias) add_bias_cases(g, true, rows);
  rows.push_back({.name = "conv2d/permuted", .inputs = {normal({2, 6, 5, 3}), normal({3, 3, 3, 4})},
                  .run = [](const Inputs& in) {
                    return conv2d(permute(in[0], {0, 3, 1, 2}), permute(in[1], {3, 0, 1, 2}), {}, {.padding = 1});
                  },
                  .slots = kConv,
                  .row_major = "permuted, x lies in no layout"});
  return rows;
}

// Large enough to leave the first block of every loop and to have a remainder in all of them; too large for gradcheck.
std::vector<OpCase> medium_cases() {
  const std::vector<Geometry> geometries{
      {"blocks_1x1", {1, 67, 13, 11}, {83, 67, 1, 1}},
      {"blocks_3x3_p1", {1, 69, 19, 23}, {67, 69, 3, 3}, {.padding = 1}},
      {"blocks_3x3_p0", {2, 65, 18, 18}, {72, 65, 3, 3}, {}, 3e-6},  // Winograd without FMA: 2.02e-6 measured
      {"blocks_3x3_s2", {1, 36, 33, 35}, {21, 36, 3, 3}, {.stride = 2, .padding = 1}},
      {"blocks_4x4_s2", {2, 19, 33, 31}, {37, 19, 4, 4}, {.stride = 2, .padding = 2}},
      {"blocks_4x4_s1", {1, 20, 14, 15}, {17, 20, 4, 4}, {.padding = 2}},
      {"blocks_4x4_s1_wide", {2, 67, 15, 17}, {69, 67, 4, 4}, {.padding = 2}},
      {"blocks_4x4_s1_wide_p0", {1, 130, 13, 20}, {64, 130, 4, 4}, {.padding = {0, 3}}},
      {"blocks_4x4_s1_wide_whole_tiles", {1, 64, 10, 49}, {64, 64, 4, 4}, {.padding = 1}},
      {"blocks_3x3_s2_wide", {2, 67, 35, 38}, {69, 67, 3, 3}, {.stride = 2, .padding = 1}, 4e-6},  // Winograd without FMA: 2.94e-6 measured
      {"blocks_3x3_s2_wide_p0", {1, 64, 18, 18}, {70, 64, 3, 3}, {.stride = 2}, 4e-6},
      {"blocks_4x4_s2_wide", {1, 130, 21, 164}, {65, 130, 4, 4}, {.stride = 2, .padding = 2}, 4e-6},
      {"blocks_4x4_s2_wide_p3", {2, 65, 17, 20}, {66, 65, 4, 4}, {.stride = 2, .padding = {3, 0}}, 4e-6},
      {"blocks_4x4_s2_wide_p5", {1, 64, 15, 16}, {64, 64, 4, 4}, {.stride = 2, .padding = {5, 4}}, 4e-6},
      {"blocks_rgb", {1, 3, 40, 37}, {33, 3, 3, 3}, {.padding = 1}},
      {"blocks_one_output", {1, 40, 17, 18}, {1, 40, 4, 4}, {.padding = 2}},
      {"blocks_deep_1x1", {1, 301, 19, 23}, {19, 301, 1, 1}},
      {"blocks_many_weights", {2, 97, 6, 7}, {99, 97, 3, 3}, {.padding = 1}},
      {"blocks_groups", {2, 38, 15, 17}, {34, 19, 3, 3}, {.padding = 1, .groups = 2}},
      {"blocks_depthwise", {2, 13, 61, 59}, {13, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 13}},
      {"blocks_dilated", {1, 19, 27, 31}, {23, 19, 3, 3}, {.padding = 2, .dilation = 2}},
      {"blocks_even", {1, 64, 16, 16}, {64, 64, 3, 3}, {.padding = 1}},
      // Of the CUDA tiles: two tiles of few rows; a deep product with few tiles, whose inner dimension is split, in each
      // kernel: of several pictures, of strided phases (with as many taps each, and with 4, 2, 2 and 1), in groups.
      {"tiles_few_rows", {1, 8, 20, 15}, {13, 8, 3, 3}, {.padding = 1}},
      {"tiles_deep_1x1", {2, 130, 4, 6}, {20, 130, 1, 1}},
      {"tiles_deep_4x4_s2", {2, 20, 9, 7}, {40, 20, 4, 4}, {.stride = 2, .padding = 2}},
      {"tiles_deep_3x3_s2", {1, 18, 9, 11}, {40, 18, 3, 3}, {.stride = 2, .padding = 1}},
      {"tiles_deep_groups_s2", {2, 34, 7, 8}, {66, 17, 3, 3}, {.stride = {2, 1}, .padding = 1, .groups = 2}},
      {"tiles_tall_window", {1, 2, 19, 4}, {3, 2, 17, 1}, {.padding = {1, 0}}},  // more taps than a Place has bits for
      {"blocks_reflect", {1, 69, 19, 23}, {67, 69, 3, 3}, {.padding = 1, .pad_mode = kReflect}, 3e-6},  // Winograd: 2.38e-6 measured
      {"blocks_reflect_even", {1, 64, 16, 16}, {64, 64, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"blocks_reflect_p2", {1, 65, 9, 10}, {66, 65, 3, 3}, {.padding = 2, .pad_mode = kReflect}, 3e-6},  // Winograd without FMA: 2.05e-6 measured
      {"blocks_reflect_4x4_s1", {2, 65, 11, 9}, {66, 65, 4, 4}, {.padding = 2, .pad_mode = kReflect}},
      {"blocks_reflect_s2", {1, 36, 33, 35}, {21, 36, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReflect}},
      {"blocks_reflect_3x3_s2_wide", {1, 66, 33, 35}, {67, 66, 3, 3}, {.stride = 2, .padding = 2, .pad_mode = kReflect}, 4e-6},
      {"blocks_reflect_4x4_s2_wide", {2, 65, 18, 21}, {66, 65, 4, 4}, {.stride = 2, .padding = 2, .pad_mode = kReflect}, 4e-6},
      {"blocks_reflect_groups", {2, 38, 15, 17}, {34, 19, 3, 3}, {.padding = 1, .groups = 2, .pad_mode = kReflect}},
      {"blocks_replicate", {2, 69, 18, 18}, {67, 69, 3, 3}, {.padding = 1, .pad_mode = kReplicate}},
      {"blocks_replicate_depthwise", {2, 13, 61, 59}, {13, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 13, .pad_mode = kReplicate}},
      {"tiles_deep_reflect", {1, 130, 4, 6}, {20, 130, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
  };
  std::vector<OpCase> rows;
  for (const Geometry& g : geometries) {
    rows.push_back({.name = str("conv2d/", g.name), .inputs = {normal(g.x), normal(g.w, 0.1)},
                    .run = [p = g.params](const Inputs& in) { return conv2d(in[0], in[1], {}, p); }, .slots = kConv,
                    .tolerance = g.tolerance, .gradcheck = false});
  }
  const std::vector<Geometry> with_bias{
      {"blocks_bias_relu", {2, 69, 19, 23}, {67, 69, 3, 3}, {.padding = 1, .activation_slope = 0}},
      {"blocks_bias_s2_leaky", {2, 19, 33, 31}, {37, 19, 4, 4}, {.stride = 2, .padding = 2, .activation_slope = 0.2}},
      {"blocks_bias_s2_wide_leaky", {1, 67, 23, 21}, {69, 67, 4, 4}, {.stride = 2, .padding = 2, .activation_slope = 0.2}, 4e-6},
      {"blocks_bias_1x1", {1, 301, 19, 23}, {83, 301, 1, 1}},
      {"blocks_bias_depthwise", {2, 13, 61, 59}, {13, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 13, .activation_slope = 0.2}},
      {"blocks_bias_groups", {2, 38, 15, 17}, {34, 19, 3, 3}, {.padding = 1, .groups = 2, .activation_slope = 0}},
      {"tiles_bias_deep_1x1", {2, 130, 4, 6}, {20, 130, 1, 1}, {.activation_slope = 0.2}},
      {"tiles_bias_deep_4x4", {2, 20, 9, 7}, {40, 20, 4, 4}, {.stride = 2, .padding = 2, .activation_slope = 0}},
      {"tiles_bias_deep_groups", {2, 34, 7, 8}, {66, 17, 3, 3}, {.padding = 1, .groups = 2, .activation_slope = 0.2}},
  };
  for (const Geometry& g : with_bias) add_bias_cases(g, false, rows);
  return rows;
}

// Of bf16 numbers, whatever the type of the run, with weights in either layout: blocks of 32 outputs, 32 channels and 16 pixels,
// each with a remainder; pixels row by row and as one long line; few channels; threads that share a picture; unseen pixels; layers
// wide enough for Winograd.
void add_bf16_cases(std::vector<OpCase>& rows) {
  const std::vector<Geometry> geometries{
      {"1x1", {2, 37, 5, 7}, {41, 37, 1, 1}, {.activation_slope = 0.2}},
      {"1x1_s3", {1, 34, 5, 8}, {21, 34, 1, 1}, {.stride = 3, .padding = 1}},
      {"3x3", {2, 67, 9, 17}, {35, 67, 3, 3}, {.padding = 1, .activation_slope = 0}},
      {"3x3_chunks", {1, 161, 4, 16}, {20, 161, 3, 3}, {.padding = 1}},
      {"3x3_few_channels", {1, 3, 18, 33}, {40, 3, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"3x3_few_channels_s2", {2, 5, 9, 10}, {18, 5, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReplicate}},
      {"3x3_reflect_s2", {1, 33, 13, 11}, {34, 33, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReflect}},
      {"3x3_dilated", {1, 32, 9, 5}, {17, 32, 3, 3}, {.padding = 2, .dilation = 2}},
      {"3x2_s3x2", {1, 36, 11, 12}, {25, 36, 3, 2}, {.stride = {3, 2}, .padding = {2, 1}}},
      {"4x4_s2", {1, 40, 20, 35}, {33, 40, 4, 4}, {.stride = 2, .padding = 2}},
      {"4x4_s2_shared", {1, 290, 6, 7}, {64, 290, 4, 4}, {.stride = 2, .padding = 2}},
      {"winograd", {2, 67, 18, 19}, {69, 67, 3, 3}, {.padding = 1, .activation_slope = 0.2}},
      {"winograd_whole_tiles", {1, 64, 8, 64}, {64, 64, 3, 3}, {.padding = 1}},
      {"winograd_4x4", {2, 67, 10, 17}, {69, 67, 4, 4}, {.padding = 2, .activation_slope = 0.2}},
      {"winograd_3x3_s2", {2, 67, 17, 23}, {69, 67, 3, 3}, {.stride = 2, .padding = 1, .activation_slope = 0.2}},
      {"winograd_4x4_s2", {1, 66, 20, 35}, {67, 66, 4, 4}, {.stride = 2, .padding = 2}},
      {"winograd_4x4_whole_tiles", {1, 64, 7, 49}, {64, 64, 4, 4}, {.padding = 1}},
  };
  for (const Geometry& g : geometries) {
    for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
      OpInput w = compact(normal(g.w, 1 / std::sqrt(static_cast<double>(g.w[1] * g.w[2] * g.w[3]))));
      w.layout = layout;
      OpCase row{.name = str("conv2d/bf16_", g.name, layout == Layout::row_major ? "" : "_pixels"),
                 .inputs = {compact(normal(g.x)), w, constant(parameter(normal({g.w[0]})))},
                 .run = [p = g.params](const Inputs& in) { return conv2d(in[0], in[1], in[2], p); },
                 .slots = {&kernels::conv2d_forward},
                 // winograd_bf16 rounds what it multiplies, too: 0.0054 measured, in an input gradient
                 .tolerance = std::string_view(g.name).starts_with("winograd") && g.w[3] == 3 ? kBf16Roundings : kBf16Rounding};
      rows.push_back(row);
      if (g.params.pad_mode != PadMode::zero) continue;
      row.name += "/input_grad";
      row.inputs = {compact(normal(conv2d_shape(g.x, g.w, g.params))), w};
      row.run = [p = g.params, x = g.x](const Inputs& in) {
        return Variable(conv2d_input_grad(in[0].value(), in[1].value(), x, p));
      };
      row.slots = {&kernels::conv2d_input_grad};
      rows.push_back(row);
    }
  }
}

// Forward, input gradient and weight gradient do the same number of multiply-adds. With an activation, the forward pass alone
// has it; under a padding mode, the input gradient is another kernel's as well.
void add_large(const Geometry& g, std::vector<OpCase>& rows) {
  const Shape y = conv2d_shape(g.x, g.w, g.params);
  OpCase row;
  row.tolerance = 1e-5;  // up to 9216 products a sum
  row.large = true;
  row.flops = 2.0 * static_cast<double>(y.numel() * g.w[1] * g.w[2] * g.w[3]);

  row.name = str("conv2d/", g.name, "/forward");
  row.inputs = {constant(normal(g.x)), constant(normal(g.w))};
  row.slots = {&kernels::conv2d_forward};
  const bool activated = g.params.activation_slope != 1;
  if (activated) row.inputs.push_back(constant(parameter(normal({g.w[0]}))));
  row.run = [p = g.params](const Inputs& in) {
    return Variable(conv2d(in[0].value(), in[1].value(), in.size() > 2 ? in[2].value() : Tensor(), p));
  };
  rows.push_back(row);
  if (activated) return;

  row.name = str("conv2d/", g.name, "/input_grad");
  row.inputs = {constant(normal(y)), constant(normal(g.w))};
  row.slots = {&kernels::conv2d_input_grad};
  row.run = [p = g.params, x = g.x](const Inputs& in) {
    return Variable(conv2d_input_grad(in[0].value(), in[1].value(), x, p));
  };
  if (g.params.pad_mode == PadMode::zero) rows.push_back(row);

  row.tolerance = 3e-5;  // a sum over every pixel, which naive adds one by one: 1.3e-5 measured for 65,536
  row.name = str("conv2d/", g.name, "/weight_grad");
  row.inputs = {constant(normal(g.x)), constant(normal(y))};
  row.slots = {&kernels::conv2d_weight_grad};
  row.run = [p = g.params, w = g.w](const Inputs& in) {
    return Variable(conv2d_weight_grad(in[0].value(), in[1].value(), w, p));
  };
  rows.push_back(row);
}

// The weight gradient of bf16 numbers, whatever the type of the run: blocks of 32 outputs and of 32 (channel, tap column), strips
// of a picture's rows and columns, of odd and even width, each with a remainder; strides with row and column phases. Sums in f32,
// those of 1x1 rounded.
void add_bf16_weight_grad_cases(std::vector<OpCase>& rows) {
  const std::vector<Geometry> geometries{
      {"1x1", {2, 37, 5, 7}, {41, 37, 1, 1}},
      {"1x1_s3", {1, 34, 8, 8}, {5, 34, 1, 1}, {.stride = 3, .padding = 1}},
      {"3x3", {3, 67, 9, 17}, {35, 67, 3, 3}, {.padding = 1}},
      {"3x3_even", {1, 64, 16, 16}, {33, 64, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"3x3_wide", {1, 3, 11, 275}, {2, 3, 3, 3}, {.padding = 1, .pad_mode = kReplicate}},
      {"3x3_tasks", {1, 161, 3, 4}, {300, 161, 3, 3}, {.padding = 1}},
      {"3x3_reflect_s2", {2, 33, 13, 11}, {34, 33, 3, 3}, {.stride = 2, .padding = 1, .pad_mode = kReflect}},
      {"3x3_dilated", {1, 12, 9, 6}, {7, 12, 3, 3}, {.padding = 2, .dilation = 2}},
      {"3x2_s3x2", {1, 36, 11, 12}, {9, 36, 3, 2}, {.stride = {3, 2}, .padding = {2, 1}}},
      {"3x3_dilated_s4x3", {1, 5, 19, 23}, {3, 5, 3, 3}, {.stride = {4, 3}, .padding = 1, .dilation = {3, 2}}},
      {"4x4_s2", {1, 40, 20, 35}, {33, 40, 4, 4}, {.stride = 2, .padding = 2}},
      {"winograd", {2, 67, 18, 19}, {69, 67, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"winograd_4x4", {2, 67, 10, 17}, {69, 67, 4, 4}, {.padding = 2, .pad_mode = kReflect}},
  };
  for (const Geometry& g : geometries) {
    rows.push_back({.name = str("conv2d/bf16_", g.name, "/weight_grad"),
                    .inputs = {compact(normal(g.x)), compact(normal(conv2d_shape(g.x, g.w, g.params)))},
                    .run = [p = g.params, w = g.w](const Inputs& in) {
                      const DType dtype = in[0].dtype();
                      return Variable(conv2d_weight_grad(in[0].value(), in[1].value(), w, p, w[3] == 1 ? dtype : sum_dtype(dtype)));
                    },
                    .slots = {&kernels::conv2d_weight_grad},
                    .tolerance = g.w[3] == 1 ? kBf16Rounding : 2e-6,
                    .row_major = "gradients of weights do"});
  }
}

}  // namespace

std::vector<OpCase> conv2d_cases() {
  std::vector<OpCase> rows = small_cases();
  add_bf16_weight_grad_cases(rows);
  for (OpCase& row : medium_cases()) rows.push_back(std::move(row));
  add_bf16_cases(rows);
  const std::vector<Geometry> geometries{
      // generator, facades 512
      {"G_3x3_1024_1024_@18", {1, 1024, 18, 18}, {1024, 1024, 3, 3}},
      {"G_1x1_1024_14851_@16", {1, 1024, 16, 16}, {14851, 1024, 1, 1}},
      {"G_3x3_s2_64_64_@257", {1, 64, 257, 257}, {64, 64, 3, 3}, {.stride = 2}},
      {"G_3x3_12_64_@258", {1, 12, 258, 258}, {64, 12, 3, 3}},
      {"G_3x3_1024_1024_@16_reflect", {1, 1024, 16, 16}, {1024, 1024, 3, 3}, {.padding = 1, .pad_mode = kReflect}},
      {"G_tent_3_@512", {1, 3, 512, 514}, {3, 1, 1, 4}, {.stride = {1, 2}, .groups = 3}},
      // discriminator
      {"D_4x4_s2_64_128_@257", {1, 64, 257, 257}, {128, 64, 4, 4}, {.stride = 2, .padding = 2}},
      {"D_4x4_s1_256_512_@65", {1, 256, 65, 65}, {512, 256, 4, 4}, {.padding = 2}},
      {"D_4x4_512_1_@66", {1, 512, 66, 66}, {1, 512, 4, 4}, {.padding = 2}},
      // VGG-19
      {"VGG_3x3_3_64_@256", {1, 3, 256, 256}, {64, 3, 3, 3}, {.padding = 1}},
      {"VGG_3x3_64_64_@256", {1, 64, 256, 256}, {64, 64, 3, 3}, {.padding = 1}},
      {"VGG_3x3_64_64_@256_relu", {1, 64, 256, 256}, {64, 64, 3, 3}, {.padding = 1, .activation_slope = 0}},
      {"VGG_3x3_64_64_@512", {1, 64, 512, 512}, {64, 64, 3, 3}, {.padding = 1}},
      {"VGG_3x3_256_256_@128", {1, 256, 128, 128}, {256, 256, 3, 3}, {.padding = 1}},
      {"VGG_3x3_512_512_@32", {1, 512, 32, 32}, {512, 512, 3, 3}, {.padding = 1}},
  };
  for (const Geometry& g : geometries) add_large(g, rows);
  return rows;
}

}  // namespace asap::tests
