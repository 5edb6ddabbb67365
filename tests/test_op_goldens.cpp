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
}

TEST_CASE("norms match PyTorch") {
  ran();
  check_golden("instance_norm", [](const Inputs& in) { return instance_norm(in[0], in[1], in[2]); });
  check_golden("instance_norm_leaky", [](const Inputs& in) { return instance_norm(in[0], {}, {}, {.activation_slope = 0.2}); });
  check_golden("batch_norm", [](const Inputs& in) { return batch_norm(in[0], in[1], in[2], {.activation_slope = 0}).y; });
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

TEST_CASE("losses, softmax, indexing and ties match PyTorch") {
  ran();
  check_golden("bce", [](const Inputs& in) { return bce_with_logits(in[0], in[1]); });
  check_golden("cross_entropy", [](const Inputs& in) { return cross_entropy(in[0], in[1].value()); });
  check_golden("softmax", [](const Inputs& in) { return softmax(in[0], 1); });
  check_golden("log_softmax", [](const Inputs& in) { return log_softmax(in[0], 1); });
  check_golden("gather", [](const Inputs& in) { return gather(in[0], 1, in[1].value()); });
  check_golden("softplus", [](const Inputs& in) { return softplus(in[0]); });
  check_golden("max_ties", [](const Inputs& in) { return max(in[0], {1}); });
}
