// Rows of op_cases.h: no pictures, no channels, no pixels, forward and backward. Ops leave most kernels out where there is nothing
// to compute; what they still run, on either device, must stand a size of 0. Shapes and values: test_library_edges.cpp.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

OpCase row(const char* name, std::vector<OpInput> inputs, Variable (*run)(const Inputs&)) {
  return {.name = str("empty/", name), .inputs = std::move(inputs), .run = run};
}

}  // namespace

std::vector<OpCase> empty_cases() {
  const Shape pictures{0, 3, 4, 6}, no_channels{2, 0, 4, 6}, matrix{0, 3};
  return {
      row("unary", {normal(matrix)}, [](const Inputs& in) { return tanh(in[0]) + square(in[0]); }),
      row("binary", {normal(pictures), normal({3, 1, 1})}, [](const Inputs& in) { return in[0] * in[1] - in[1]; }),
      row("div_maximum", {normal(matrix), positive({3})},
          [](const Inputs& in) { return maximum(in[0] / in[1], in[1]); }),
      row("sum", {normal(matrix)}, [](const Inputs& in) { return sum(in[0], {0}); }),
      row("sum_all", {normal(no_channels)}, [](const Inputs& in) { return sum(in[0]); }),
      row("mean", {normal(matrix)}, [](const Inputs& in) { return mean(in[0], {1}); }),
      row("max", {normal(matrix)}, [](const Inputs& in) { return max(in[0], {1}, true); }),
      row("softmax", {normal(pictures)}, [](const Inputs& in) { return softmax(in[0], 1); }),
      row("log_softmax", {normal(no_channels)}, [](const Inputs& in) { return log_softmax(in[0], 1); }),
      row("gather", {normal(matrix), indices(matrix, 3)},
          [](const Inputs& in) { return gather(in[0], 1, in[1].value()); }),
      row("gather_nothing", {normal({2, 3}), indices({2, 0}, 3)},
          [](const Inputs& in) { return gather(in[0], 1, in[1].value()); }),
      row("one_hot", {indices({0, 4, 6}, 5)},
          [](const Inputs& in) { return Variable(one_hot(in[0].value(), 5)).detach(); }),
      row("cat", {normal(matrix), normal({2, 3})},
          [](const Inputs& in) {
            return cat({in[0], in[1]}, 0);
          }),
      row("split", {normal({2, 3})},
          [](const Inputs& in) {
            return split(in[0], {0, 3}, 1)[0];
          }),
      row("slice", {normal({2, 3})}, [](const Inputs& in) { return slice(in[0], 1, 2, 2); }),
      row("reshape_permute", {normal(pictures)},
          [](const Inputs& in) {
            return reshape(permute(in[0], {1, 0, 2, 3}), {3, 0, 24});
          }),
      row("expand", {normal({1, 3})},
          [](const Inputs& in) {
            return expand(in[0], {0, 3});
          }),
      row("matmul", {normal({2, 0}), normal({0, 3})}, [](const Inputs& in) { return matmul(in[0], in[1]); }),
      row("matmul_batches", {normal({0, 2, 4}), normal({1, 4, 3})},
          [](const Inputs& in) { return matmul(in[0], in[1]); }),
      row("linear", {normal(matrix), normal({5, 3}), parameter(normal({5}))},
          [](const Inputs& in) { return linear(in[0], in[1], in[2]); }),
      row("conv2d", {normal(pictures), normal({5, 3, 3, 3}), parameter(normal({5}))},
          [](const Inputs& in) { return conv2d(in[0], in[1], in[2], {.padding = 1, .activation_slope = 0.2}); }),
      row("conv2d_reflect_groups", {normal(pictures), normal({3, 1, 3, 3}), parameter(normal({3}))},
          [](const Inputs& in) {
            return conv2d(in[0], in[1], in[2], {.stride = 2, .padding = 1, .groups = 3, .pad_mode = PadMode::reflect});
          }),
      row("conv2d_no_channels", {normal(no_channels), normal({5, 0, 3, 3}), parameter(normal({5}))},
          [](const Inputs& in) { return conv2d(in[0], in[1], in[2], {}); }),
      row("conv2d_no_outputs", {normal({2, 3, 4, 6}), normal({0, 3, 3, 3}), parameter(normal({0}))},
          [](const Inputs& in) { return conv2d(in[0], in[1], in[2], {}); }),
      row("conv2d_no_pixels", {normal({1, 3, 0, 6}), normal({5, 3, 2, 2}), parameter(normal({5}))},
          [](const Inputs& in) { return conv2d(in[0], in[1], in[2], {.padding = 1}); }),
      row("instance_norm", {normal(pictures), parameter(positive({3})), parameter(normal({3}))},
          [](const Inputs& in) { return instance_norm(in[0], in[1], in[2], {.activation_slope = 0.2}); }),
      row("batch_norm_no_channels", {normal(no_channels), parameter(positive({0})), parameter(normal({0}))},
          [](const Inputs& in) { return batch_norm(in[0], in[1], in[2]).y; }),
      row("pad2d", {normal(pictures)},
          [](const Inputs& in) { return pad2d(in[0], {.mode = PadMode::reflect, .left = 2}); }),
      row("pad2d_no_pixels", {normal({1, 2, 0, 3})},
          [](const Inputs& in) { return pad2d(in[0], {.left = 1, .top = 2}); }),
      row("avg_pool2d", {normal(pictures)},
          [](const Inputs& in) { return avg_pool2d(in[0], {.kernel = 3, .padding = 1}); }),
      row("max_pool2d", {normal(no_channels)}, [](const Inputs& in) { return max_pool2d(in[0], {}); }),
      row("resize2d", {normal(pictures)},
          [](const Inputs& in) {
            return resize2d(in[0], {8, 3}, ResizeMode::bilinear);
          }),
      row("where", {indices(matrix, 2), normal(matrix), normal({3})},
          [](const Inputs& in) { return where(in[0].value(), in[1], in[2]); }),
      row("argmax", {constant(normal(matrix))}, [](const Inputs& in) { return Variable(argmax(in[0].value(), 1)); }),
      row("argmax_batch", {constant(normal(pictures))}, [](const Inputs& in) { return Variable(argmax(in[0].value(), 1)); }),
      row("grid_sample", {normal(pictures), parameter(normal({0, 5, 2, 2}))},
          [](const Inputs& in) { return grid_sample(in[0], in[1]); }),
      row("grid_sample_no_channels", {normal(no_channels), parameter(normal({2, 5, 2, 2}))},
          [](const Inputs& in) { return grid_sample(in[0], in[1]); }),
      row("grid_sample_no_positions", {normal({2, 3, 4, 6}), parameter(normal({2, 0, 2, 2}))},
          [](const Inputs& in) { return grid_sample(in[0], in[1]); }),
      row("gelu", {normal(matrix)}, [](const Inputs& in) { return gelu(in[0]) + silu(in[0]); }),
      row("dropout", {normal(matrix)},
          [](const Inputs& in) {
            RandomStream random;
            return dropout(in[0], 0.5, random);
          }),
      row("embedding", {indices({0, 4}, 5), normal({5, 3})},
          [](const Inputs& in) { return embedding(in[0].value(), in[1]); }),
      row("stack", {normal(matrix), normal(matrix)}, [](const Inputs& in) { return stack(in, 1); }),
      row("matmul_broadcast", {normal({0, 1, 2, 4}), normal({3, 4, 5})},
          [](const Inputs& in) { return matmul(in[0], in[1]); }),
      row("linear_tokens", {normal({0, 4, 3}), normal({5, 3}), parameter(normal({5}))},
          [](const Inputs& in) { return linear(in[0], in[1], in[2]); }),
      row("attention", {normal({0, 2, 4}), normal({0, 3, 4}), normal({0, 3, 4})},
          [](const Inputs& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {}, true); }),
      row("conv1d", {normal({0, 3, 7}), normal({5, 3, 3}), parameter(normal({5}))},
          [](const Inputs& in) { return conv1d(in[0], in[1], in[2]); }),
      row("conv_transpose2d", {normal(pictures), normal({3, 5, 2, 2}), parameter(normal({5}))},
          [](const Inputs& in) { return conv_transpose2d(in[0], in[1], in[2], {.stride = 2}); }),
      row("layer_norm", {normal({0, 4, 3}), parameter(normal({3})), parameter(normal({3}))},
          [](const Inputs& in) { return layer_norm(in[0], {3}, in[1], in[2]); }),
      row("group_norm", {normal({0, 4, 3, 2}), parameter(normal({4})), parameter(normal({4}))},
          [](const Inputs& in) { return group_norm(in[0], 2, in[1], in[2]); }),
      row("adaptive_avg_pool2d", {normal(pictures)}, [](const Inputs& in) { return adaptive_avg_pool2d(in[0], {3, 5}); }),
      row("tile_mlp",
          {normal({0, 3, 4, 8}), normal({0, tile_mlp_parameters(3, {.tile = 4, .width = 8, .depth = 2}), 1, 2})},
          [](const Inputs& in) { return tile_mlp({}, in[0], in[1], {.tile = 4, .width = 8, .depth = 2}); }),
      row("label_planes", {constant(compact(indices({0, 4, 6}, 5)))},
          [](const Inputs& in) { return Variable(label_planes(in[0].value(), {}, {.classes = 5})); }),
  };
}

}  // namespace asap::tests
