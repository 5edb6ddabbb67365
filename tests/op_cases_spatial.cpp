// Rows of op_cases.h: padding, pooling, resizing.
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

OpCase large(const std::string& name, std::vector<OpInput> inputs, KernelSlotBase& slot, double flops,
             std::function<Variable(const Inputs&)> run) {
  for (OpInput& input : inputs) input.differentiable = false;
  return {.name = name, .inputs = std::move(inputs), .run = std::move(run), .slots = {&slot}, .large = true, .flops = flops};
}

std::vector<OpCase> pads() {
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
                    .slots = {&kernels::pad2d_forward, &kernels::pad2d_backward}});
  }
  const Pad2dParams one{PadMode::reflect, 1, 1, 1, 1};
  const Shape x{1, 64, 256, 256}, y = pad2d_shape(x, one);
  rows.push_back(large("pad2d/reflect_1_64x256x256/forward", {normal(x)}, kernels::pad2d_forward, 0,
                       [one](const Inputs& in) { return Variable(pad2d(in[0].value(), one)); }));
  rows.push_back(large("pad2d/reflect_1_64x256x256/backward", {normal(y)}, kernels::pad2d_backward, 0,
                       [one, x](const Inputs& in) { return Variable(pad2d_backward(in[0].value(), x, one)); }));
  return rows;
}

std::vector<OpCase> pools() {
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
  rows.push_back(large("avg_pool2d/3_2_1_16x512x512/forward", {normal(x)}, kernels::avg_pool2d_forward, adds,
                       [three](const Inputs& in) { return Variable(avg_pool2d(in[0].value(), three)); }));
  rows.push_back(large("avg_pool2d/3_2_1_16x512x512/backward", {normal(y)}, kernels::avg_pool2d_backward, adds,
                       [three, x](const Inputs& in) { return Variable(avg_pool2d_backward(in[0].value(), x, three)); }));
  rows.push_back(large("max_pool2d/2_2_64x256x256/forward", {normal(features)}, kernels::max_pool2d_forward, 0,
                       [two](const Inputs& in) { return Variable(max_pool2d(in[0].value(), two).y); }));
  return rows;
}

std::vector<OpCase> resizes() {
  struct Resize {
    const char* name;
    Shape x;
    Size2 size;
  };
  std::vector<OpCase> rows;
  for (const auto& [mode_name, mode] : {std::pair{"nearest", ResizeMode::nearest}, {"bilinear", ResizeMode::bilinear},
                                        {"corners", ResizeMode::bilinear_align_corners}}) {
    for (const Resize& r : {Resize{"up_2", {2, 3, 4, 5}, {8, 10}}, Resize{"up_odd", {1, 2, 3, 4}, {7, 9}},
                            Resize{"down_2", {1, 2, 8, 6}, {4, 3}}, Resize{"down_odd", {1, 2, 9, 11}, {4, 5}},
                            Resize{"same", {1, 2, 4, 5}, {4, 5}}, Resize{"up_and_down", {1, 2, 3, 9}, {5, 4}},
                            Resize{"from_one_pixel", {1, 3, 1, 1}, {3, 4}}, Resize{"to_one_pixel", {1, 3, 4, 5}, {1, 1}},
                            Resize{"blocks", {1, 3, 21, 37}, {43, 70}},
                            Resize{"parallel", {2, 3, 61, 67}, {128, 130}}}) {
      rows.push_back({.name = str("resize2d/", mode_name, "_", r.name), .inputs = {normal(r.x)},
                      .run = [size = r.size, mode = mode](const Inputs& in) { return resize2d(in[0], size, mode); },
                      .slots = {&kernels::resize2d_forward, &kernels::resize2d_backward},
                      .tolerance = 5e-6});  // weights are fractions of positions up to 70
    }
  }
  const Shape x{1, 64, 128, 128}, y{1, 64, 256, 256};
  const double flops = 6.0 * static_cast<double>(y.numel());  // three linear interpolations of two operations
  rows.push_back(large("resize2d/bilinear_64x128_to_256/forward", {normal(x)}, kernels::resize2d_forward, flops,
                       [](const Inputs& in) { return Variable(resize2d(in[0].value(), 256, ResizeMode::bilinear)); }));
  rows.push_back(large("resize2d/bilinear_64x128_to_256/backward", {normal(y)}, kernels::resize2d_backward, flops,
                       [x](const Inputs& in) { return Variable(resize2d_backward(in[0].value(), x, ResizeMode::bilinear)); }));
  return rows;
}

}  // namespace

std::vector<OpCase> spatial_cases() {
  std::vector<OpCase> rows = pads();
  for (OpCase& row : pools()) rows.push_back(std::move(row));
  for (OpCase& row : resizes()) rows.push_back(std::move(row));
  return rows;
}

}  // namespace asap::tests
