// Rows of op_cases.h: sampling at a grid's positions, about a fifth of which lie outside of the picture.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

struct Geometry {
  const char* name;
  Shape x;
  Size2 size;
  double scale = 0.8;  // of the grid's numbers
};

}  // namespace

std::vector<OpCase> grid_sample_cases() {
  std::vector<OpCase> rows;
  for (const SampleMode mode : {SampleMode::bilinear, SampleMode::nearest}) {
    for (const auto& [padding_name, padding] :
         {std::pair{"zero", PadMode::zero}, {"border", PadMode::replicate}, {"reflection", PadMode::reflect}}) {
      for (const bool corners : {false, true}) {
        for (const Geometry& g : {Geometry{"odd", {2, 3, 5, 7}, {4, 6}}, Geometry{"far_outside", {1, 2, 4, 3}, {5, 5}, 9},
                                  Geometry{"one_pixel", {1, 3, 1, 1}, {3, 4}}, Geometry{"one_row", {2, 1, 1, 9}, {1, 5}},
                                  Geometry{"blocks", {2, 3, 9, 8}, {13, 23}}, Geometry{"parallel", {2, 5, 61, 67}, {73, 71}}}) {
          const GridSampleParams params{.mode = mode, .padding = padding, .align_corners = corners};
          rows.push_back({.name = str("grid_sample/", mode == SampleMode::nearest ? "nearest_" : "bilinear_", padding_name,
                                      corners ? "_corners_" : "_", g.name),
                          .inputs = {normal(g.x), parameter(normal({g.x[0], g.size.h, g.size.w, 2}, g.scale))},
                          .run = [params](const Inputs& in) { return grid_sample(in[0], in[1], params); },
                          .slots = {&kernels::grid_sample_forward, &kernels::grid_sample_backward}});
        }
      }
    }
  }
  const auto fixed = [&rows](const char* name, OpInput x, OpInput grid) {
    rows.push_back({.name = name, .inputs = {std::move(x), std::move(grid)},
                    .run = [](const Inputs& in) { return grid_sample(in[0], in[1]); },
                    .slots = {&kernels::grid_sample_forward, &kernels::grid_sample_backward}});
  };
  fixed("grid_sample/fixed_grid", normal({2, 3, 5, 7}), constant(parameter(normal({2, 4, 6, 2}))));
  fixed("grid_sample/fixed_picture", constant(normal({2, 3, 5, 7})), parameter(normal({2, 4, 6, 2})));

  const Shape x{1, 64, 256, 256};
  const OpInput grid = parameter(normal({1, 256, 256, 2}, 0.5));
  const double flops = 8.0 * static_cast<double>(x.numel());  // four products and their sum
  rows.push_back(timed("grid_sample/64x256x256/forward", {normal(x), grid}, kernels::grid_sample_forward, flops,
                       [](const Inputs& in) { return Variable(grid_sample(in[0].value(), in[1].value())); }));
  rows.push_back(timed("grid_sample/64x256x256/backward", {normal(x), grid, normal(x)}, kernels::grid_sample_backward, 3 * flops,
                       [](const Inputs& in) {
                         return Variable(grid_sample_backward(in[0].value(), in[1].value(), in[2].value(), {}, true, true).dx);
                       }));
  return rows;
}

}  // namespace asap::tests
