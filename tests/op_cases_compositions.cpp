// Rows of op_cases.h: ops that are made of others and have no kernel of their own: activations, norms, convolutions, products
// and attention, indexing. They are for the gradient check, and for what the parts make of each other's layouts and dtypes.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

void add(std::vector<OpCase>& rows, const std::string& name, std::vector<OpInput> inputs,
         std::function<Variable(const Inputs&)> run, const char* row_major = nullptr) {
  rows.push_back({.name = name, .inputs = std::move(inputs), .run = std::move(run), .row_major = row_major});
}

void add_activations(std::vector<OpCase>& rows) {
  for (const auto& [name, scale] : {std::pair{"", 2.0}, {"_saturated", 50.0}}) {
    const OpInput x = normal({3, 5, 7}, scale);
    add(rows, str("gelu/erf", name), {x}, [](const Inputs& in) { return gelu(in[0]); });
    add(rows, str("gelu/tanh", name), {x}, [](const Inputs& in) { return gelu(in[0], true); });
    add(rows, str("silu/plain", name), {x}, [](const Inputs& in) { return silu(in[0]); });
  }
  add(rows, "gelu/channels_last", {normal({2, 8, 3, 5})}, [](const Inputs& in) { return gelu(channels_last(in[0])); });
  for (const double p : {0.0, 0.3, 0.9}) {
    add(rows, str("dropout/", p), {normal({2, 8, 9, 5})}, [p](const Inputs& in) {
      RandomStream random{.seed = 3, .offset = 11};
      return dropout(in[0], p, random);
    });
  }
}

void add_norms(std::vector<OpCase>& rows) {
  const auto layer = [&rows](const char* name, const Shape& x, const Shape& normalized) {
    add(rows, str("layer_norm/", name), {normal(x), parameter(normal(normalized)), parameter(normal(normalized))},
        [normalized](const Inputs& in) { return layer_norm(in[0], normalized, in[1], in[2]); }, "rows are normalised");
    rows.back().tolerance = 5e-6;  // x - mean cancels digits
  };
  layer("tokens", {2, 5, 24}, {24});
  layer("matrix", {7, 5}, {5});
  layer("vector", {11}, {11});
  layer("picture", {2, 3, 5, 7}, {3, 5, 7});
  layer("last_of_4", {2, 3, 5, 7}, {7});
  layer("parallel", {3, 401, 67}, {67});
  add(rows, "layer_norm/plain", {normal({2, 5, 7})}, [](const Inputs& in) { return layer_norm(in[0], {7}, {}, {}); });
  add(rows, "layer_norm/no_beta", {normal({2, 5, 7}), parameter(normal({7}))},
      [](const Inputs& in) { return layer_norm(in[0], {7}, in[1], {}); });
  add(rows, "layer_norm/transposed", {normal({2, 7, 5}), parameter(normal({7})), parameter(normal({7}))},
      [](const Inputs& in) { return layer_norm(transpose(in[0], 1, 2), {7}, in[1], in[2]); });
  const auto group = [&rows](const char* name, const Shape& x, int64_t groups) {
    add(rows, str("group_norm/", name), {normal(x), parameter(normal({x[1]})), parameter(normal({x[1]}))},
        [groups](const Inputs& in) { return group_norm(in[0], groups, in[1], in[2]); }, "groups are normalised as planes");
    rows.back().tolerance = 5e-6;
  };
  group("pictures", {2, 6, 5, 7}, 3);
  group("one_group", {2, 6, 3, 5}, 1);
  group("group_per_channel", {2, 4, 3, 5}, 4);
  group("sequence", {2, 6, 11}, 2);
  group("matrix", {3, 8}, 2);
  group("channels_of_8", {1, 16, 9, 5}, 2);
  add(rows, "group_norm/plain", {normal({2, 6, 11})}, [](const Inputs& in) { return group_norm(in[0], 2, {}, {}); });
}

void add_convolutions(std::vector<OpCase>& rows) {
  struct Transposed {
    const char* name;
    Shape x, w;
    ConvTranspose2dParams params = {};
  };
  for (const Transposed& t : {
           Transposed{"1x1", {2, 3, 4, 5}, {3, 7, 1, 1}},
           Transposed{"2x2_s2", {2, 4, 3, 5}, {4, 3, 2, 2}, {.stride = 2}},  // U-Net's
           Transposed{"4x4_s2_p1", {1, 3, 4, 5}, {3, 2, 4, 4}, {.stride = 2, .padding = 1}},
           Transposed{"3x3_s2_p1_op1", {2, 3, 4, 5}, {3, 4, 3, 3}, {.stride = 2, .padding = 1, .output_padding = 1}},
           Transposed{"3x3_s1", {1, 4, 5, 6}, {4, 3, 3, 3}},
           Transposed{"groups", {2, 4, 3, 4}, {4, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}},
           Transposed{"depthwise", {1, 5, 3, 4}, {5, 1, 4, 4}, {.stride = 2, .padding = 1, .groups = 5}},
           Transposed{"dilation", {1, 2, 4, 3}, {2, 3, 3, 3}, {.stride = 2, .padding = 2, .dilation = 2}},
           Transposed{"asymmetric", {1, 2, 3, 5}, {2, 3, 2, 5},
                      {.stride = {3, 2}, .padding = {0, 1}, .output_padding = {2, 0}, .dilation = {2, 1}}},
           Transposed{"gaps", {1, 2, 3, 3}, {2, 2, 2, 2}, {.stride = 4}},  // pixels that get nothing but the bias
           Transposed{"one_pixel", {2, 6, 1, 1}, {6, 4, 4, 4}},              // a DCGAN's first
           Transposed{"blocks", {1, 34, 9, 11}, {34, 19, 4, 4}, {.stride = 2, .padding = 1}}}) {
    const int64_t out = t.w[1] * t.params.groups;
    add(rows, str("conv_transpose2d/", t.name), {normal(t.x), normal(t.w), parameter(normal({out}))},
        [p = t.params](const Inputs& in) { return conv_transpose2d(in[0], in[1], in[2], p); });
  }
  add(rows, "conv_transpose2d/no_bias", {normal({1, 2, 3, 4}), normal({2, 3, 2, 2})},
      [](const Inputs& in) { return conv_transpose2d(in[0], in[1], {}, {.stride = 2}); });

  const auto one = [&rows](const char* name, const Shape& x, const Shape& w, const Conv1dParams& params) {
    add(rows, str("conv1d/", name), {normal(x), normal(w), parameter(normal({w[0]}))},
        [params](const Inputs& in) { return conv1d(in[0], in[1], in[2], params); });
  };
  one("3_p1", {2, 3, 11}, {4, 3, 3}, {.padding = 1});
  one("5_s2_d2", {1, 4, 19}, {3, 4, 5}, {.stride = 2, .padding = 3, .dilation = 2});
  one("groups", {2, 6, 9}, {4, 3, 3}, {.groups = 2});
  one("reflect", {2, 3, 7}, {2, 3, 5}, {.padding = 2, .pad_mode = PadMode::reflect});
  add(rows, "conv1d/transposed_no_bias", {normal({2, 9, 8}), normal({3, 8, 3})},
      [](const Inputs& in) { return conv1d(transpose(in[0], 1, 2), in[1], {}, {.padding = 1}); });
}

void add_products(std::vector<OpCase>& rows) {
  constexpr const char* kMatrices = "matrices are not pictures";
  const auto product = [&rows](const char* name, const Shape& a, const Shape& b) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const auto stored = [](Shape shape, bool transposed) {
          if (transposed) std::swap(shape[-1], shape[-2]);
          return shape;
        };
        add(rows, str("matmul_batches/", name, ta ? "_t" : "_n", tb ? "t" : "n"), {normal(stored(a, ta)), normal(stored(b, tb))},
            [ta, tb](const Inputs& in) { return matmul(in[0], in[1], ta, tb); }, kMatrices);
      }
    }
  };
  product("equal", {2, 3, 4, 5}, {2, 3, 5, 6});
  product("both_broadcast", {2, 1, 4, 5}, {3, 5, 6});
  product("a_is_a_matrix", {4, 5}, {2, 3, 5, 6});
  product("b_is_a_matrix", {2, 3, 4, 5}, {5, 6});
  product("batches_of_1", {1, 1, 4, 5}, {1, 5, 2});
  product("rank_5", {2, 1, 3, 2, 4}, {1, 2, 1, 4, 3});
  add(rows, "matmul_batches/permuted", {normal({2, 5, 3, 4}), normal({2, 6, 3, 4})},
      [](const Inputs& in) {
        return matmul(permute(in[0], {0, 2, 1, 3}), permute(in[1], {0, 2, 1, 3}), false, true);
      },
      kMatrices);
  add(rows, "linear/tokens", {normal({2, 5, 7}), normal({3, 7}), parameter(normal({3}))},
      [](const Inputs& in) { return linear(in[0], in[1], in[2]); });
  add(rows, "linear/rank_4", {normal({2, 3, 5, 4}), normal({6, 4})},
      [](const Inputs& in) { return linear(in[0], in[1], {}); }, kMatrices);
  add(rows, "linear/vector", {normal({7}), normal({3, 7}), parameter(normal({3}))},
      [](const Inputs& in) { return linear(in[0], in[1], in[2]); });

  const auto attention = [&rows](const char* name, const Shape& q, const Shape& k, const Shape& v, bool causal,
                                 const Shape& mask = {}) {
    std::vector<OpInput> inputs{normal(q), normal(k), normal(v)};
    if (mask.rank() > 0) inputs.push_back(normal(mask));
    add(rows, str("attention/", name), inputs,
        [causal](const Inputs& in) {
          return scaled_dot_product_attention(in[0], in[1], in[2], in.size() > 3 ? in[3] : Variable(), causal);
        },
        kMatrices);
  };
  attention("heads", {2, 3, 5, 4}, {2, 3, 7, 4}, {2, 3, 7, 6}, false);
  attention("causal", {2, 3, 6, 4}, {2, 3, 6, 4}, {2, 3, 6, 4}, true);
  attention("causal_more_keys", {2, 5, 4}, {2, 7, 4}, {2, 7, 3}, true);
  attention("mask", {2, 3, 5, 4}, {2, 3, 7, 4}, {2, 3, 7, 4}, false, {5, 7});
  attention("mask_and_causal", {2, 3, 5, 4}, {2, 3, 5, 4}, {2, 3, 5, 4}, true, {2, 1, 5, 5});
  attention("matrix", {5, 4}, {7, 4}, {7, 6}, false);
  attention("one_key", {2, 5, 4}, {2, 1, 4}, {2, 1, 4}, false);
}

void add_indexing(std::vector<OpCase>& rows) {
  add(rows, "embedding/tokens", {indices({3, 5}, 7), normal({7, 4})},
      [](const Inputs& in) { return embedding(in[0].value(), in[1]); });
  add(rows, "embedding/u8_labels", {compact(indices({2, 3, 5}, 4)), normal({4, 9})},
      [](const Inputs& in) { return embedding(in[0].value(), in[1]); }, "its channels come last");
  add(rows, "embedding/transposed", {indices({3, 5}, 7), normal({7, 4})},
      [](const Inputs& in) { return embedding(in[0].value().transpose(0, 1), in[1]); });
  add(rows, "stack/first", {normal({3, 5}), normal({3, 5})}, [](const Inputs& in) { return stack(in, 0); });
  add(rows, "stack/last", {normal({3, 5}), normal({3, 5})}, [](const Inputs& in) { return stack(in, -1); });
  add(rows, "unsqueeze/squeeze", {normal({3, 1, 5})}, [](const Inputs& in) { return unsqueeze(squeeze(in[0], -2), 1) * in[0]; });
  for (const auto& [name, size] : {std::pair<const char*, Size2>{"global", 1}, {"dividing", {2, 3}}, {"overlapping", {3, 4}},
                                   {"larger", {7, 11}}, {"one_axis", {2, 4}}}) {
    add(rows, str("adaptive_avg_pool2d/", name), {normal({2, 3, 4, 6})},
        [size = size](const Inputs& in) { return adaptive_avg_pool2d(in[0], size); }, "products of matrices");
  }
}

}  // namespace

std::vector<OpCase> composition_cases() {
  std::vector<OpCase> rows;
  add_activations(rows);
  add_norms(rows);
  add_convolutions(rows);
  add_products(rows);
  add_indexing(rows);
  return rows;
}

}  // namespace asap::tests
