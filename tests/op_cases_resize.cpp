// Rows of op_cases.h: resizing.
#include "tests/op_cases.h"

namespace asap::tests {

using Inputs = std::vector<Variable>;

std::vector<OpCase> resize_cases() {
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
  rows.push_back(timed("resize2d/bilinear_64x128_to_256/forward", {normal(x)}, kernels::resize2d_forward, flops,
                       [](const Inputs& in) { return Variable(resize2d(in[0].value(), 256, ResizeMode::bilinear)); }));
  rows.push_back(timed("resize2d/bilinear_64x128_to_256/backward", {normal(y)}, kernels::resize2d_backward, flops,
                       [x](const Inputs& in) { return Variable(resize2d_backward(in[0].value(), x, ResizeMode::bilinear)); }));
  return rows;
}

}  // namespace asap::tests
