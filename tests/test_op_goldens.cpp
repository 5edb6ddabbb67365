// Values and gradients of a few ops against PyTorch's, from golden/ops.safetensors (made by golden/make_ops.py).
#include <doctest/doctest.h>

#include "nn/checkpoint_file.h"
#include "tests/op_cases.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

using Inputs = std::vector<Variable>;

// Runs f in f64 on the case's inputs; its results were computed in f64 and stored in f32: half an ulp, 6e-8.
void check_golden(const std::string& name, const std::function<Variable(const Inputs&)>& f) {
  static const nn::StateDict golden = nn::read_state_dict(ASAP_GOLDEN_DIR "/ops.safetensors");
  constexpr double kTolerance = 1e-7;
  INFO(name);
  auto find = [&](const std::string& what) { return golden.find(name + "/" + what); };
  auto widened = [](const Tensor& x) { return x.dtype() == DType::f32 ? x.to(DType::f64) : x; };
  Inputs inputs;
  for (int i = 0; const Tensor* input = find(str("in", i)); ++i) {
    inputs.emplace_back(widened(*input), find(str("grad", i)) != nullptr);
  }
  REQUIRE(!inputs.empty());
  const Variable y = f(inputs);
  CHECK(relative_difference(y.value(), widened(*find("out"))) < kTolerance);
  REQUIRE(find("cotangent"));
  y.backward(widened(*find("cotangent")));
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i);
    if (const Tensor* expected = find(str("grad", i))) {
      CHECK(relative_difference(inputs[i].grad(), widened(*expected)) < kTolerance);
    }
  }
}

}  // namespace

TEST_CASE("convolution and products match PyTorch") {
  ran();
  check_golden("conv2d_groups", [](const Inputs& in) {
    return conv2d(in[0], in[1], in[2], {.stride = 2, .padding = {1, 2}, .dilation = {2, 1}, .groups = 2});
  });
  check_golden("conv2d_4x4", [](const Inputs& in) { return conv2d(in[0], in[1], in[2], {.stride = 2, .padding = 2}); });
  check_golden("conv2d_tent", [](const Inputs& in) { return conv2d(in[0], in[1], {}, {.stride = {1, 2}, .groups = 3}); });
  check_golden("matmul", [](const Inputs& in) { return matmul(in[0], in[1], true, false); });
  check_golden("linear", [](const Inputs& in) { return linear(in[0], in[1], in[2]); });
  check_golden("matmul_batches", [](const Inputs& in) { return matmul(in[0], in[1]); });
  check_golden("matmul_matrix_batches", [](const Inputs& in) { return matmul(in[0], in[1]); });
  check_golden("linear_tokens", [](const Inputs& in) { return linear(in[0], in[1], in[2]); });
  check_golden("conv1d", [](const Inputs& in) {
    return conv1d(in[0], in[1], in[2], {.stride = 2, .padding = 3, .dilation = 2, .groups = 2});
  });
  check_golden("conv_transpose2d", [](const Inputs& in) {
    return conv_transpose2d(in[0], in[1], in[2],
                            {.stride = {2, 3}, .padding = {1, 2}, .output_padding = {1, 2}, .dilation = {2, 1}, .groups = 2});
  });
}

TEST_CASE("norms match PyTorch") {
  ran();
  check_golden("instance_norm", [](const Inputs& in) { return instance_norm(in[0], in[1], in[2]); });
  check_golden("instance_norm_leaky", [](const Inputs& in) { return instance_norm(in[0], {}, {}, {.activation_slope = 0.2}); });
  check_golden("batch_norm", [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.activation_slope = 0}).y; });
  check_golden("layer_norm", [](const Inputs& in) { return layer_norm(in[0], {3, 5}, in[1], in[2]); });
  check_golden("group_norm", [](const Inputs& in) { return group_norm(in[0], 3, in[1], in[2]); });
}

TEST_CASE("pooling, padding and resizing match PyTorch") {
  ran();
  const Pool2dParams three{.kernel = 3, .stride = 2, .padding = 1};
  Pool2dParams skip_pad = three;
  skip_pad.count_include_pad = false;
  check_golden("avg_pool_count_pad", [&](const Inputs& in) { return avg_pool2d(in[0], three); });
  check_golden("avg_pool_skip_pad", [&](const Inputs& in) { return avg_pool2d(in[0], skip_pad); });
  check_golden("max_pool", [&](const Inputs& in) { return max_pool2d(in[0], three); });
  for (const auto& [name, mode] : {std::pair{"pad_zero", PadMode::zero}, {"pad_reflect", PadMode::reflect},
                                   {"pad_replicate", PadMode::replicate}}) {
    check_golden(name, [mode = mode](const Inputs& in) { return pad2d(in[0], {mode, 1, 2, 3, 0}); });
  }
  for (const auto& [name, mode] : {std::pair{"resize_nearest", ResizeMode::nearest}, {"resize_bilinear", ResizeMode::bilinear},
                                   {"resize_corners", ResizeMode::bilinear_align_corners}}) {
    check_golden(name, [mode = mode](const Inputs& in) { return resize2d(in[0], {9, 4}, mode); });
  }
}

TEST_CASE("sampling and adaptive pooling match PyTorch") {
  ran();
  for (const auto& [mode_name, mode] : {std::pair{"bilinear", SampleMode::bilinear}, {"nearest", SampleMode::nearest}}) {
    for (const auto& [name, padding] : {std::pair{"zeros", PadMode::zero}, {"border", PadMode::replicate},
                                        {"reflection", PadMode::reflect}}) {
      for (const bool corners : {false, true}) {
        const GridSampleParams params{.mode = mode, .padding = padding, .align_corners = corners};
        check_golden(str("grid_sample_", mode_name, "_", name, corners ? "_corners" : ""),
                     [params](const Inputs& in) { return grid_sample(in[0], in[1], params); });
      }
    }
  }
  check_golden("adaptive_avg_pool2d", [](const Inputs& in) { return adaptive_avg_pool2d(in[0], {3, 4}); });
  check_golden("adaptive_avg_pool2d_dividing", [](const Inputs& in) { return adaptive_avg_pool2d(in[0], {2, 3}); });
}

TEST_CASE("attention and activations match PyTorch") {
  ran();
  check_golden("attention", [](const Inputs& in) { return scaled_dot_product_attention(in[0], in[1], in[2]); });
  check_golden("attention_mask", [](const Inputs& in) { return scaled_dot_product_attention(in[0], in[1], in[2], in[3]); });
  check_golden("attention_causal", [](const Inputs& in) { return scaled_dot_product_attention(in[0], in[1], in[2], {}, true); });
  check_golden("erf", [](const Inputs& in) { return erf(in[0]); });
  check_golden("gelu", [](const Inputs& in) { return gelu(in[0]); });
  check_golden("gelu_tanh", [](const Inputs& in) { return gelu(in[0], true); });
  check_golden("silu", [](const Inputs& in) { return silu(in[0]); });
}

TEST_CASE("losses, softmax, indexing and ties match PyTorch") {
  ran();
  check_golden("bce", [](const Inputs& in) { return bce_with_logits(in[0], in[1]); });
  check_golden("cross_entropy", [](const Inputs& in) { return cross_entropy(in[0], in[1].value()); });
  check_golden("cross_entropy_smoothing", [](const Inputs& in) { return cross_entropy(in[0], in[1].value(), 2, 0.2); });
  check_golden("where", [](const Inputs& in) { return where(in[0].value(), in[1], in[2]); });
  check_golden("embedding", [](const Inputs& in) { return embedding(in[0].value(), in[1]); });
  check_golden("softmax", [](const Inputs& in) { return softmax(in[0], 1); });
  check_golden("log_softmax", [](const Inputs& in) { return log_softmax(in[0], 1); });
  check_golden("gather", [](const Inputs& in) { return gather(in[0], 1, in[1].value()); });
  check_golden("softplus", [](const Inputs& in) { return softplus(in[0]); });
  check_golden("max_ties", [](const Inputs& in) { return max(in[0], {1}); });
}
