// Rows of op_cases.h: convolution with instance norm behind it, and convolution of channels-last and of bf16 pictures: the layers
// of the low-res stream.
#include <cmath>

#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

// An operand rounded to bf16 is the same number in the f64 reference; a result kept in bf16 is off by half a unit in the
// last of 8 bits, 2^-8 of it.
constexpr double kBf16Result = 4e-3;

struct LayerRow {
  const char* name;
  Shape x, w;
  Conv2dParams conv = {};
  NormParams norm = {};
  bool bf16 = false;
  double tolerance = 5e-6;  // x - mean cancels digits, as in the rows of instance_norm
};

const char* name(Layout layout) { return layout == Layout::row_major ? "rows" : "pixels"; }

// What the harness can hold: numbers in the type of the run.
Variable result(const Variable& y, const Variable& in_type) { return Variable(y.value().to(in_type.dtype())); }

// Inputs: x and w, then what is never bf16: bias, or gamma and beta.
OpCase layer_case(const LayerRow& r, Layout layout) {
  const auto operand = [&](const Shape& shape, double scale) {
    OpInput input = constant(normal(shape, scale));
    input.layout = layout;
    return r.bf16 ? compact(input) : input;
  };
  OpCase row;
  row.inputs = {operand(r.x, 1), operand(r.w, 1 / std::sqrt(static_cast<double>(r.w.numel() / r.w[0]))),
                constant(parameter(normal({r.w[0]})))};
  row.tolerance = r.bf16 ? kBf16Result : r.tolerance;
  if (r.bf16) row.bf16_tolerance = row.tolerance;  // nothing is left to round
  row.name = str("/", r.name, "_", name(layout));
  return row;
}

// Of row-major bf16, a few small ones will do.
bool is_of_its_own(const LayerRow& r, Layout layout) {
  return layout == Layout::channels_last || !r.bf16 || r.x.numel() < 1000;
}

OpCase norm_case(const LayerRow& r, Layout layout) {
  OpCase row = layer_case(r, layout);
  row.name = "conv2d_instance_norm" + row.name;
  row.inputs.push_back(constant(parameter(normal({r.w[0]}))));
  row.slots = {&kernels::conv2d_instance_norm};
  row.run = [r](const Inputs& in) {
    return result(conv2d_instance_norm(in[0], in[1], in[2], in[3], r.conv, r.norm), in[2]);
  };
  return row;
}

OpCase bias_case(const LayerRow& r, Layout layout) {
  OpCase row = layer_case(r, layout);
  row.name = "conv2d" + row.name;
  row.slots = {&kernels::conv2d_forward};
  row.run = [r](const Inputs& in) { return result(conv2d(in[0], in[1], in[2], r.conv), in[2]); };
  return row;
}

// Where gradients are recorded: convolution, then norm.
OpCase gradient_case(const LayerRow& r) {
  OpCase row = norm_case(r, Layout::row_major);
  row.name += "_gradients";
  for (OpInput& input : row.inputs) input.differentiable = true;
  row.slots = {&kernels::conv2d_forward, &kernels::conv2d_input_grad, &kernels::conv2d_weight_grad,
               &kernels::norm_forward, &kernels::norm_backward};
  row.run = [r](const Inputs& in) { return conv2d_instance_norm(in[0], in[1], in[2], in[3], r.conv, r.norm); };
  return row;
}

constexpr NormParams kRelu{.activation_slope = 0}, kLeaky{.eps = 1e-3, .activation_slope = 0.2};
constexpr PadMode kReflect = PadMode::reflect, kReplicate = PadMode::replicate;
constexpr Conv2dParams kPad1{.padding = 1}, kPad1Reflect{.padding = 1, .pad_mode = kReflect},
    kPad1Replicate{.padding = 1, .pad_mode = kReplicate}, kPad2Replicate{.padding = 2, .pad_mode = kReplicate},
    kPad1Stride2{.stride = 2, .padding = 1}, kPad1ReflectStride2{.stride = 2, .padding = 1, .pad_mode = kReflect},
    kPad1ReplicateStride2{.stride = 2, .padding = 1, .pad_mode = kReplicate};

void add_with_norm(std::vector<OpCase>& rows) {
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (
        const LayerRow& r : std::vector<LayerRow>{
            {"3x3_zero", {2, 3, 5, 7}, {4, 3, 3, 3}, kPad1, kRelu},
            {"3x3_reflect", {1, 5, 7, 4}, {3, 5, 3, 3}, kPad1Reflect, kRelu},
            {"5x5_replicate_leaky", {1, 2, 6, 5}, {3, 2, 5, 5}, kPad2Replicate, kLeaky},
            {"3x3_zero_s2", {1, 3, 7, 9}, {5, 3, 3, 3}, kPad1Stride2, kRelu},
            {"3x3_reflect_s2", {2, 4, 6, 10}, {5, 4, 3, 3}, kPad1ReflectStride2, kRelu},
            {"3x3_no_pad", {1, 3, 5, 5}, {2, 3, 3, 3}, {}, kRelu},
            {"1x1_norm", {1, 6, 5, 3}, {4, 6, 1, 1}, {}, kLeaky},
            {"3x3_groups", {1, 4, 5, 6}, {6, 2, 3, 3}, {.padding = 1, .groups = 2}, kRelu},
            // Blocks of fast variants, with remainders; the models' own layers, smaller.
            {"3x3_16_72_odd", {1, 16, 19, 13}, {72, 16, 3, 3}, kPad1Reflect, kRelu},
            {"3x3_13_70_odd", {1, 13, 9, 13}, {70, 13, 3, 3}, kPad1Reflect, kRelu},
            {"3x3_64_64_@16", {2, 64, 16, 16}, {64, 64, 3, 3}, kPad1Reflect, kRelu},
            {"3x3_72_136_@12", {1, 72, 12, 12}, {136, 72, 3, 3}, kPad1, kRelu},
            {"3x3_s2_64_40_@18", {1, 64, 18, 18}, {40, 64, 3, 3}, kPad1ReplicateStride2, kRelu},
            {"3x3_bf16_zero", {2, 8, 5, 7}, {16, 8, 3, 3}, kPad1, kRelu, true},
            {"3x3_bf16_13_11", {2, 13, 5, 7}, {11, 13, 3, 3}, kPad1, kRelu, true},
            {"3x3_bf16_reflect_s2", {1, 16, 8, 8}, {24, 16, 3, 3}, kPad1ReflectStride2, kRelu, true},
            {"3x3_bf16_72_136_@12", {1, 72, 12, 12}, {136, 72, 3, 3}, kPad1Reflect, kRelu, true},
            // Sums split over blocks: uneven splits, outputs that no vector store takes.
            {"3x3_split_40_37_@9", {1, 40, 9, 7}, {37, 40, 3, 3}, kPad1Replicate, kLeaky},
            {"3x3_split_40_37_@9_bf16", {1, 40, 9, 7}, {37, 40, 3, 3}, kPad1Replicate, kLeaky, true},
            {"3x3_slices_96_20_@5", {3, 96, 5, 3}, {20, 96, 3, 3}, kPad1Reflect, kRelu},
            {"3x3_slices_192_12_@4_bf16", {3, 192, 4, 3}, {12, 192, 3, 3}, kPad1, kRelu, true},
            {"3x3_window_64_10_@27_bf16", {1, 64, 27, 11}, {10, 64, 3, 3}, kPad1Reflect, kRelu, true},
            {"5x5_window_32_9_@7", {1, 32, 7, 7}, {9, 32, 5, 5}, kPad2Replicate, kLeaky},
            // Eight blocks of a cluster for 64 outputs: one and two slices of channels, one and two products side by side,
            // rows and columns that are not there.
            {"3x3_cluster_512_64_@7_bf16", {2, 512, 7, 8}, {64, 512, 3, 3}, kPad1Reflect, kRelu, true},
            {"3x3_cluster_512_125_@5_bf16", {1, 512, 5, 20}, {125, 512, 3, 3}, kPad1, kRelu, true},
            {"3x3_cluster_1024_64_@16_bf16", {1, 1024, 16, 16}, {64, 1024, 3, 3}, kPad1Replicate, kLeaky, true},
            {"5x5_cluster_512_64_@4_bf16", {1, 512, 4, 12}, {64, 512, 5, 5}, kPad2Replicate, kLeaky, true},
            // A grid that waits for itself, of one block to four (as many as the emulated card has multiprocessors): its three
            // tiles, the models' layers in fewer pixels, odd and even numbers of chunks, rows and columns that are not there.
            {"3x3_grid_16_64_@30_bf16", {1, 16, 30, 61}, {64, 16, 3, 3}, kPad1Reflect, kRelu, true},
            {"3x3_grid_s2_64_64_@16_bf16", {1, 64, 32, 53}, {64, 64, 3, 3}, kPad1ReflectStride2, kRelu, true},
            {"3x3_grid_s2_64_64_@8_bf16", {1, 64, 16, 25}, {64, 64, 3, 3}, kPad1ReflectStride2, kRelu, true},
            {"3x3_grid_s2_64_128_@8_bf16", {1, 64, 16, 16}, {128, 64, 3, 3}, kPad1ReplicateStride2, kRelu, true},
            {"3x3_grid_13_30_@7_bf16", {1, 13, 7, 8}, {30, 13, 3, 3}, kPad1, kLeaky, true},
            {"3x3_grid_24_21_@9_bf16", {2, 24, 9, 8}, {21, 24, 3, 3}, kPad1Replicate, kRelu, true},
            {"3x3_grid_8_100_@16_bf16", {1, 8, 16, 40}, {100, 8, 3, 3}, kPad1, kRelu, true},
            {"5x5_grid_s3_40_33_@7_bf16", {2, 40, 20, 22}, {33, 40, 5, 5}, {.stride = 3, .padding = 2}, kLeaky, true},
            // Whole slices of 64 channels in the largest tile, two slices, fewer taps than the stride.
            {"3x3_grid_64_50_@16_bf16", {1, 64, 16, 35}, {50, 64, 3, 3}, kPad1, kRelu, true},
            {"3x3_grid_s2_128_40_@7_bf16", {1, 128, 13, 16}, {40, 128, 3, 3}, kPad1ReflectStride2, kLeaky, true},
            {"1x1_grid_s3_64_33_@7_bf16", {2, 64, 20, 22}, {33, 64, 1, 1}, {.stride = 3}, kRelu, true},
            {"1x1_grid_s2_72_66_@9_bf16", {1, 72, 17, 31}, {66, 72, 1, 1}, {.stride = 2}, kRelu, true},
            // The larger two tiles where a card has 114 to 143 multiprocessors.
            {"3x3_grid_s2_32_40_@64_bf16", {1, 32, 127, 143}, {40, 32, 3, 3}, kPad1ReflectStride2, kRelu, true},
            {"3x3_grid_16_70_@61_bf16", {1, 16, 61, 63}, {70, 16, 3, 3}, kPad1, kLeaky, true},
            {"3x3_grid_8_130_@63_bf16", {1, 8, 63, 90}, {130, 8, 3, 3}, kPad1Reflect, kRelu, true},
            // Planes too large for the norm of one block, of few outputs and of many; tiles of 256 pixels.
            {"3x3_plane_8_10_@35", {1, 8, 35, 33}, {10, 8, 3, 3}, kPad1Reflect, kRelu},
            {"3x3_plane_8_72_@33_bf16", {1, 8, 33, 32}, {72, 8, 3, 3}, kPad1, kRelu, true},
            {"3x3_plane_64_4_@33_bf16", {1, 64, 33, 32}, {4, 64, 3, 3}, kPad1Reflect, kRelu, true},
            {"3x3_plane_8_12_@30_bf16", {1, 8, 30, 23}, {12, 8, 3, 3}, kPad1Reflect, kRelu, true},
        }) {
      if (is_of_its_own(r, layout)) rows.push_back(norm_case(r, layout));
    }
  }
  OpCase one_row = norm_case({"1x1_one_row", {2, 5, 1, 7}, {3, 5, 1, 1}, {}, kRelu}, Layout::row_major);
  one_row.slots = {&kernels::conv2d_forward, &kernels::norm_forward};
  rows.push_back(one_row);
  rows.push_back(gradient_case({"3x3_zero", {2, 3, 5, 7}, {4, 3, 3, 3}, kPad1, kLeaky}));
  rows.push_back(gradient_case({"3x3_reflect_s2", {2, 4, 6, 10}, {5, 4, 3, 3}, kPad1ReflectStride2, kRelu}));
}

void add_with_bias(std::vector<OpCase>& rows) {
  const auto activated = [](Conv2dParams p, double slope) {
    p.activation_slope = slope;
    return p;
  };
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (
        const LayerRow& r : std::vector<LayerRow>{
            {"3x3_bias", {1, 3, 5, 6}, {4, 3, 3, 3}, kPad1Reflect},
            {"3x3_bias_leaky", {1, 3, 5, 6}, {4, 3, 3, 3}, activated(kPad1Reflect, 0.2)},
            {"1x1_bias", {2, 7, 3, 5}, {11, 7, 1, 1}},
            {"1x1_one_pixel", {1, 16, 1, 1}, {5, 16, 1, 1}},
            {"1x1_64_200_@16", {1, 64, 16, 16}, {200, 64, 1, 1}},
            {"1x1_40_203_@5", {2, 40, 5, 5}, {203, 40, 1, 1}},
            {"1x1_bf16_64_200_@16", {1, 64, 16, 16}, {200, 64, 1, 1}, {}, {}, true},
            {"3x3_split_bias_56_21_@6", {1, 56, 6, 5}, {21, 56, 3, 3}, activated(kPad1Reflect, 0.2), {}, true},
            {"1x1_split_bias_136_24_@6", {1, 136, 6, 5}, {24, 136, 1, 1}},
            // Warpgroups: tiles of pixels and outputs that end early, one step of k and many.
            {"1x1_warpgroups_64_24_@5_bf16", {1, 64, 5, 3}, {24, 64, 1, 1}, {}, {}, true},
            {"1x1_warpgroups_61_27_@5_bf16", {1, 61, 5, 3}, {27, 61, 1, 1}, activated({}, 0), {}, true},
            {"1x1_warpgroups_448_200_@17_bf16", {2, 448, 17, 9}, {200, 448, 1, 1}, {}, {}, true},
            {"1x1_large_tiles_8_140_@17", {1, 8, 17, 16}, {140, 8, 1, 1}},
            {"1x1_large_tiles_16_132_@17_bf16", {1, 16, 17, 16}, {132, 16, 1, 1}, {}, {}, true},
            // More steps than wgmma's stages, a last one that K does not fill; a second tile of few pixels and outputs; one step, and
            // a cluster most of whose blocks have no outputs.
            {"1x1_wgmma_328_136_@17_bf16", {1, 328, 17, 16}, {136, 328, 1, 1}, {}, {}, true},
            {"1x1_wgmma_61_523_@9_bf16", {2, 61, 9, 15}, {523, 61, 1, 1}, activated({}, 0.2), {}, true},
            {"3x3_wgmma_40_24_@9_bf16", {2, 40, 9, 7}, {24, 40, 3, 3}, kPad1Reflect, {}, true},
        }) {
      if (is_of_its_own(r, layout)) rows.push_back(bias_case(r, layout));
    }
  }
}

// The generator's layers, facades 512. Names of rows with bf16 operands end so.
void add_large(std::vector<OpCase>& rows) {
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (const bool bf16 : {false, true}) {
      for (LayerRow r : std::vector<LayerRow>{
               {"G_3x3_1024_1024_@16", {1, 1024, 16, 16}, {1024, 1024, 3, 3}, kPad1Reflect, kRelu},
               {"G_1x1_1024_phi_@16", {1, 1024, 16, 16}, {14851, 1024, 1, 1}},
               {"G_3x3_s2_64_64_@256", {1, 64, 256, 256}, {64, 64, 3, 3}, kPad1ReflectStride2, kRelu},
               {"G_3x3_s2_64_64_@128", {1, 64, 128, 128}, {64, 64, 3, 3}, kPad1ReflectStride2, kRelu},
               {"G_3x3_s2_64_64_@64", {1, 64, 64, 64}, {64, 64, 3, 3}, kPad1ReflectStride2, kRelu},
               {"G_3x3_s2_64_1024_@32", {1, 64, 32, 32}, {1024, 64, 3, 3}, kPad1ReflectStride2, kRelu},
               {"G_3x3_labels_64_@256", {1, 13, 256, 256}, {64, 13, 3, 3}, kPad1Reflect, kRelu},
           }) {
        r.tolerance = 2e-5;  // up to 9216 products a sum, divided by their deviation
        r.bf16 = bf16;
        OpCase row = r.w[2] == 1 ? bias_case(r, layout) : norm_case(r, layout);
        if (bf16) {
          row.name += "_bf16";
          row.inputs[1].layout = Layout::channels_last;  // as a session keeps them
        }
        row.large = true;
        row.flops = 2.0 * static_cast<double>(conv2d_shape(r.x, r.w, r.conv).numel() * r.w.numel() / r.w[0]);
        rows.push_back(row);
      }
    }
  }
}

}  // namespace

std::vector<OpCase> conv2d_instance_norm_cases() {
  std::vector<OpCase> rows;
  add_with_norm(rows);
  add_with_bias(rows);
  add_large(rows);
  return rows;
}

}  // namespace asap::tests
