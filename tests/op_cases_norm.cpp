// Rows of op_cases.h: instance and batch norm, with and without affine, with the activation fused in; spectral norm, which is
// composed of other ops and has no kernel of its own.
#include "nn/spectral_norm.h"
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

struct Row {
  const char* name;
  Shape x;
  bool affine = false;
  double slope = 1, scale = 1;
};

OpCase instance_case(const Row& r) {
  OpCase row{.name = str("instance_norm/", r.name), .inputs = {normal(r.x, r.scale)},
             .run = [slope = r.slope](const Inputs& in) {
               const NormParams params{.activation_slope = slope};
               return in.size() == 1 ? instance_norm(in[0], {}, {}, params) : instance_norm(in[0], in[1], in[2], params);
             },
             .slots = {&kernels::norm_forward, &kernels::norm_backward},
             .tolerance = 5e-6};  // x - mean cancels digits
  if (r.affine) row.inputs.insert(row.inputs.end(), {parameter(normal({r.x[1]})), parameter(normal({r.x[1]}))});
  return row;
}

OpCase batch_case(const Row& r) {
  OpCase row = instance_case(r);
  row.name = str("batch_norm/", r.name);
  row.run = [slope = r.slope](const Inputs& in) {
    const NormParams params{.activation_slope = slope};
    return in.size() == 1 ? batch_norm(in[0], {}, {}, params).y : batch_norm(in[0], in[1], in[2], params).y;
  };
  return row;
}

OpCase large_forward(const char* name, const Shape& x, double slope) {
  // mean, variance, normalise, scale and shift: 3 + 3 + 2 operations an element
  return {.name = str("instance_norm/", name, "/forward"),
          .inputs = {constant(normal(x)), constant(parameter(normal({x[1]}))), constant(parameter(normal({x[1]})))},
          .run = [slope](const Inputs& in) {
            return Variable(instance_norm(in[0].value(), in[1].value(), in[2].value(), {.activation_slope = slope}).y);
          },
          .slots = {&kernels::norm_forward}, .tolerance = 1e-5, .large = true,
          .flops = 8.0 * static_cast<double>(x.numel())};
}

// mean [N,C] and rstd come as inputs: any values do for timing and comparing.
OpCase large_backward(const char* name, const Shape& x, double slope) {
  const Shape statistics{x[0], x[1]}, channels{x[1]};
  return {.name = str("instance_norm/", name, "/backward"),
          .inputs = {constant(normal(x)), constant(normal(x)), constant(parameter(normal(channels))), constant(parameter(normal(channels))),
                     constant(parameter(normal(statistics, 0.01))), constant(parameter(positive(statistics)))},
          .run = [slope](const Inputs& in) {
            return Variable(instance_norm_backward(in[0].value(), in[2].value(), in[3].value(), in[4].value(),
                                                   in[5].value(), in[1].value(), {.activation_slope = slope}).dx);
          },
          .slots = {&kernels::norm_backward}, .tolerance = 1e-5, .large = true,
          .flops = 10.0 * static_cast<double>(x.numel())};
}

// Inputs: w, u, v. A power iteration's result is y, then u and v as it left them; it has no gradient check, since u and
// v count as constants but do depend on w. Without one, all are positive: with random signs sigma may
// cancel (one row's was -1.1, the sum of 3093 terms of size 1), which a model's does not.
OpCase spectral_case(const char* name, const Shape& w, bool power_iteration, double scale = 1) {
  const int64_t rows = w[0], columns = w.numel() / w[0];
  return {.name = str("spectral_norm/", name, power_iteration ? "/training" : "/evaluation"),
          .inputs = power_iteration
                        ? std::vector<OpInput>{normal(w, scale), constant(parameter(normal({rows}))), constant(parameter(normal({columns})))}
                        : std::vector<OpInput>{positive(w), constant(parameter(positive({rows}))), constant(parameter(positive({columns})))},
          .run = [power_iteration](const Inputs& in) {
            Tensor u = in[1].value().clone(), v = in[2].value().clone();
            const Variable y = nn::spectral_norm(in[0], {.power_iteration = power_iteration}, u, v);
            return power_iteration ? cat({reshape(y, {y.numel()}), Variable(u), Variable(v)}, 0) : y;
          },
          .gradcheck = !power_iteration,
          .not_bf16 = "the weights it works on are the optimiser's",
          .row_major = "weights lie so"};
}

// w begins one element into its memory.
OpCase spectral_unaligned_case() {
  OpCase row = spectral_case("unaligned", {6, 8}, true);
  row.inputs[0] = normal({49});
  row.run = [run = row.run](const Inputs& in) { return run({reshape(slice(in[0], 0, 1, 49), {6, 8}), in[1], in[2]}); };
  return row;
}

void add_spectral_cases(std::vector<OpCase>& rows) {
  for (const bool power_iteration : {true, false}) {
    for (const auto& [name, shape] : {std::pair<const char*, Shape>{"3x3", {4, 3, 3, 3}}, {"4x4", {5, 3, 4, 4}},
                                      {"one_row", {1, 70}}, {"one_column", {70, 1}},
                                      // Long sums along rows, then along columns; odd and in fours.
                                      {"wide_odd", {3, 1031}}, {"wide_fours", {3, 4100}}, {"tall_odd", {301, 33}},
                                      {"tall_fours", {521, 36}}, {"two_threads", {70, 1100}}}) {
      rows.push_back(spectral_case(name, shape, power_iteration));
    }
  }
  rows.push_back(spectral_case("norms_below_eps", {4, 3, 3, 3}, true, 1e-13));
  rows.push_back(spectral_unaligned_case());
}

}  // namespace

std::vector<OpCase> norm_cases() {
  std::vector<OpCase> rows;
  for (const Row& r : {Row{"plain", {2, 3, 5, 7}}, Row{"affine", {2, 3, 5, 7}, true}, Row{"relu", {2, 3, 5, 7}, false, 0},
                       Row{"affine_relu", {2, 3, 5, 7}, true, 0}, Row{"affine_leaky", {3, 2, 4, 6}, true, 0.2},
                       Row{"leaky", {1, 4, 9, 9}, false, 0.2}, Row{"one_channel", {2, 1, 3, 3}, true},
                       Row{"small_scale", {2, 3, 4, 5}, true, 1, 0.01},  // eps matters
                       Row{"long_plane", {1, 2, 37, 41}, true, 0},
                       Row{"plane_of_two_chunks", {2, 2, 97, 101}, true, 0.2},
                       // Planes of the sizes at which the variants on a card hold more in each thread.
                       Row{"plane_29x31", {2, 1, 29, 31}, true, 0.2}, Row{"plane_19x23", {3, 3, 19, 23}, true, 0},
                       Row{"plane_65x65", {2, 1, 65, 65}, true, 0.2}, Row{"plane_129x129", {2, 1, 129, 129}, false, 0.2},
                       Row{"plane_149x151", {1, 1, 149, 151}, true, 0}}) {
    rows.push_back(instance_case(r));
    rows.push_back(batch_case(r));
  }
  rows.push_back(batch_case({"matrix", {7, 5}, true}));
  rows.push_back(batch_case({"sequence", {3, 4, 11}, true, 0.2}));
  rows.push_back(instance_case({"sequence", {3, 4, 11}, true, 0.2}));
  rows.push_back(instance_case({"two_pixels", {2, 3, 1, 2}, true}));
  // A large mean: a variance as E[x^2] - E[x]^2 would lose all digits; f32 inputs keep 1e-7 * 100 of the deviation.
  for (const bool batch : {false, true}) {
    OpCase row = (batch ? batch_case : instance_case)({"large_mean", {2, 3, 8, 9}, true});
    row.run = [run = row.run](const Inputs& in) { return run({in[0] + 100.0, in[1], in[2]}); };
    row.tolerance = 1e-4;
    row.gradcheck = false;
    row.not_bf16 = "x + 100 keeps no digits";
    rows.push_back(row);
  }
  for (const auto& [name, shape] : {std::pair<const char*, Shape>{"64x512x512_relu", {1, 64, 512, 512}},
                                    {"1024x16x16_relu", {1, 1024, 16, 16}}, {"64x256x256_relu", {1, 64, 256, 256}}}) {
    rows.push_back(large_forward(name, shape, 0));
    rows.push_back(large_backward(name, shape, 0));
  }
  add_spectral_cases(rows);
  return rows;
}

}  // namespace asap::tests
