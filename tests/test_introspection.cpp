// Looking into a model while it works: tensors, modules and graphs as text, costs of layers, the op that made the first NaN,
// and where the time goes.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "autograd/anomaly.h"
#include "autograd/graph_dot.h"
#include "nn/file_io.h"
#include "nn/layers.h"
#include "nn/profiler.h"
#include "nn/summary.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

Tensor counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Tensor::from(values, shape);
}

// conv 2->4 3x3 on 6x6 without padding, flatten, linear 64->3.
void build(nn::Sequential& net) {
  nn::Sequential& body = net.add<nn::Sequential>();
  body.add<nn::Conv2d>(nn::Conv2dOptions{.in = 2, .out = 4, .kernel = 3});
  body.add<nn::BatchNorm2d>(4);
  net.add<nn::Flatten>();
  net.add<nn::Linear>(64, 3);
}

}  // namespace

TEST_CASE("a tensor prints as numpy prints it") {
  ran();
  CHECK(str(Tensor()) == "undefined tensor");
  CHECK(str(Tensor::full({}, 2.5, DType::f64)) == "tensor () f64 cpu\n2.5");
  CHECK(str(Tensor::from<int32_t>({1, -20, 3}, {3})) == "tensor (3) i32 cpu\n[  1, -20,   3]");
  CHECK(str(counting({2, 2, 2})) == "tensor (2,2,2) f32 cpu\n[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]");
  CHECK(str(counting({2, 3}).transpose(0, 1)) == "tensor (3,2) f32 cpu\n[[0, 3],\n [1, 4],\n [2, 5]]");
  CHECK(str(Tensor::empty({0, 3})) == "tensor (0,3) f32 cpu\n[]");
  CHECK(str(counting({1001})) == "tensor (1001) f32 cpu\n[   0,    1,    2, ...,  998,  999, 1000]");
  CHECK(str(counting({7, 1000})).starts_with("tensor (7,1000) f32 cpu\n[[   0,    1,    2, ...,  997,  998,  999],\n"));
  CHECK(contains(str(counting({7, 1000})), "2999],\n ...,\n [4000,"));
  CHECK(str(Tensor::from<float>({std::nanf(""), -INFINITY, 0.1f}, {3})).ends_with("[ nan, -inf,  0.1]"));
  CHECK(str(Variable(counting({1}), true)) == "tensor (1) f32 cpu\n[0]\nrequires a gradient");
  CHECK(str(Variable(counting({1}))) == "tensor (1) f32 cpu\n[0]");
  CHECK(str(Variable()) == "undefined variable");
}

TEST_CASE("a module prints as a tree; a summary says what each layer makes and costs") {
  ran();
  nn::Sequential net;
  build(net);
  CHECK(str(net) ==
        "Sequential\n"
        "  0: Sequential\n"
        "    0: Conv2d  weight (4,2,3,3)  bias (4)\n"
        "    1: BatchNorm2d  weight (4)  bias (4)  running_mean (4)  running_var (4)  num_batches_tracked ()\n"
        "  1: Flatten\n"
        "  2: Linear  weight (3,64)  bias (3)\n"
        "279 parameters\n");

  nn::Layer& norm = static_cast<nn::Layer&>(*net.children()[0].second->children()[1].second);
  norm.eval();
  const auto before = net.state_dict().find("0.1.running_mean")->to_vector<float>();
  const auto rows = nn::summarize(net, Tensor::ones({5, 2, 6, 6}));
  CHECK(net.state_dict().find("0.1.running_mean")->to_vector<float>() == before);
  CHECK(net.is_training());
  CHECK_FALSE(norm.is_training());
  REQUIRE(rows.size() == 6);
  const int64_t conv = int64_t{5} * 4 * 16 * 2 * 9, linear = int64_t{5} * 64 * 3;
  const auto is = [&](size_t i, const char* path, const char* type, const Shape& output, int64_t parameters,
                      int64_t macs) {
    CAPTURE(i);
    CHECK(rows[i].path == path);
    CHECK(rows[i].type == type);
    CHECK(rows[i].output == output);
    CHECK(rows[i].calls == 1);
    CHECK(rows[i].parameters == parameters);
    CHECK(rows[i].macs == macs);
  };
  is(0, "", "Sequential", {5, 3}, 279, conv + linear);
  is(1, "0", "Sequential", {5, 4, 4, 4}, 84, conv);
  is(2, "0.0", "Conv2d", {5, 4, 4, 4}, 76, conv);
  is(3, "0.1", "BatchNorm2d", {5, 4, 4, 4}, 8, 0);
  is(4, "1", "Flatten", {5, 64}, 0, 0);
  is(5, "2", "Linear", {5, 3}, 195, linear);
  CHECK(nn::summary(net, Tensor::ones({5, 2, 6, 6})) ==
        "layer                           output    parameters       mult-adds\n"
        "Sequential                       (5,3)           279            6720\n"
        "0: Sequential                (5,4,4,4)            84            5760\n"
        "0.0: Conv2d                  (5,4,4,4)            76            5760\n"
        "0.1: BatchNorm2d             (5,4,4,4)             8               0\n"
        "1: Flatten                      (5,64)             0               0\n"
        "2: Linear                        (5,3)           195             960\n");

  // Grouped convolution and batched products; a layer that is called twice, and one that is not.
  nn::Sequential odd;
  odd.add<nn::Conv2d>(nn::Conv2dOptions{.in = 4, .out = 6, .kernel = 1, .groups = 2});
  const auto square = std::make_shared<nn::Function>([](const Variable& x) {
    const Variable m = reshape(x, {2, 6, 4});
    return reshape(matmul(m, m, true, false), {2, 4, 2, 2});
  });
  odd.add(square);
  nn::Linear& never = odd.add<nn::Linear>(4, 4);
  CHECK(error_of([&] { nn::summarize(odd, Tensor::ones({2, 4, 2, 2})); }) != "");
  CHECK(trace_observer.load() == nullptr);
  CHECK(odd.is_training());
  const HookHandle around = never.add_before_hook([](nn::Layer&, const Variable& x) { return reshape(x, {8, 4}); });
  const auto costs = nn::summarize(odd, Tensor::ones({2, 4, 2, 2}));
  CHECK(costs[1].macs == 2 * 6 * 4 * 2);
  CHECK(costs[2].macs == 2 * 4 * 4 * 6);
  CHECK(costs[3].macs == 8 * 4 * 4);

  // A kernel that runs another one counts once.
  nn::Function fused([](const Variable& x) {
    const Tensor w = Tensor::ones({6, 4, 1, 1}), ones = Tensor::ones({6});
    return conv2d_instance_norm(x, w, ones, ones);
  });
  CHECK(nn::summarize(fused, Tensor::ones({2, 4, 2, 2}))[0].macs == 2 * 6 * 4 * 4);
}

TEST_CASE("the op that makes the first number that is none is named, with its layer") {
  ran();
  nn::Sequential net;
  net.add<nn::Linear>(2, 2);
  net.add<nn::Function>([](const Variable& x) { return log(affine(x, 0, -1)); });
  net.add<nn::ReLU>();
  const Tensor x = Tensor::ones({1, 2});
  CHECK(std::isnan(sum(net(x)).item()));  // found only where asked for
  {
    const DetectAnomaly detect;
    CHECK(error_of([&] { net(x); }) == "1: log: its result of shape (1,2) has a NaN or an infinity");
    const NoGrad no_grad;
    CHECK(error_of([&] { net(x); }) == "1: log: its result of shape (1,2) has a NaN or an infinity");
  }
  // Backward: sqrt at 0 has the derivative 1/0.
  nn::Sequential roots;
  roots.add<nn::Linear>(2, 2);
  roots.add<nn::Sequential>().add<nn::Function>([](const Variable& v) { return sqrt(v * 0.0); });
  const DetectAnomaly detect;
  const Variable loss = sum(roots(x));
  CHECK(loss.item() == 0);
  CHECK(error_of([&] { loss.backward(); }) ==
        "1.0: backward of sqrt: the gradient of its input 0, of shape (1,2), has a NaN or an infinity");
  const Variable outside = sum(sqrt(Variable(Tensor::zeros({3}), true)));
  CHECK(error_of([&] { outside.backward(); }).starts_with("backward of sqrt: "));
  const Variable well = Variable(Tensor::ones({3}), true);
  sum(sqrt(well)).backward();
  CHECK(well.grad().to_vector<float>() == std::vector<float>{0.5f, 0.5f, 0.5f});
}

TEST_CASE("a graph in DOT has its ops, shapes and parameters by name") {
  ran();
  nn::Linear layer(2, 3, false);
  Variable other(Tensor::ones({3}), true);
  const Variable y = relu(layer(Tensor::ones({4, 2}))) * other;
  const std::string dot = graph_dot(y, {{"we\"ight", layer.weight}});
  CHECK(dot ==
        "digraph {\n  rankdir=BT\n"
        "  n0 [label=\"mul (4,3)\" shape=box]\n"
        "  n1 [label=\"relu (4,3)\" shape=box]\n"
        "  n1 -> n0\n"
        "  n2 [label=\"(3)\" shape=ellipse]\n"
        "  n2 -> n0\n"
        "  n3 [label=\"matmul (4,3)\" shape=box]\n"
        "  n3 -> n1\n"
        "  n4 [label=\"we\\\"ight (3,2)\" shape=ellipse]\n"
        "  n4 -> n3\n"
        "}\n");
  CHECK(error_of([&] { graph_dot(other); }) ==
        "graph_dot: expected the result of a recorded op, got a value without history");
}

TEST_CASE("a profiler tells kernels, gradients and layers, and what ran within what") {
  ran();
  nn::Sequential net;
  build(net);
  const Tensor x = Tensor::ones({2, 2, 6, 6});
  nn::Profiler profiler;
  CHECK(error_of([] { nn::Profiler second; }) == "Profiler: expected no other observer, one is at work");
  sum(net(x)).backward();
  std::thread([&] { add(x, x); }).join();
  profiler.stop();
  const size_t count = profiler.events().size();
  net(x);
  CHECK(profiler.events().size() == count);

  std::map<std::pair<TraceKind, std::string>, int> runs;
  double before = 0;
  bool second_thread = false, conv_shapes = false, nested = true;
  for (const auto& event : profiler.events()) {
    const std::string name = event.label.name.substr(0, event.label.name.find('='));
    ++runs[{event.kind, name}];
    nested = nested && event.begin >= before && event.end >= event.begin && event.inside <= event.end - event.begin;
    before = event.begin;
    second_thread = second_thread || (event.thread == 1 && name == "binary");
    if (name == "conv2d_forward") {
      conv_shapes = event.label.shapes == std::vector<Shape>{{2, 2, 6, 6}, {4, 2, 3, 3}, {4}, {2, 4, 4, 4}};
    }
  }
  CHECK(nested);
  CHECK(second_thread);
  CHECK(conv_shapes);
  CHECK(runs[{TraceKind::kernel, "conv2d_forward"}] == 1);
  CHECK(runs[{TraceKind::kernel, "conv2d_weight_grad"}] == 1);
  CHECK(runs[{TraceKind::gradient, "conv2d"}] == 1);
  CHECK(runs[{TraceKind::layer, "0.0"}] == 1);
  CHECK(runs[{TraceKind::layer, "Sequential"}] == 1);
  const auto& whole = profiler.events().front();
  CHECK(whole.label.name == "Sequential");
  CHECK(whole.inside > 0);

  const std::string table = str(profiler);
  CHECK(contains(table, "  kernel\n"));
  CHECK(contains(table, "  gradient of\n"));
  CHECK(contains(table, "  0.0\n"));
  CHECK(contains(table, "conv2d_forward="));

  const ScratchFolder folder;
  const auto path = folder / "trace.json";
  profiler.write_chrome_trace(path);
  const auto bytes = nn::read_file(path);
  const auto trace = nlohmann::json::parse(bytes.begin(), bytes.end());
  REQUIRE(trace["traceEvents"].size() == count);
  const auto& first = trace["traceEvents"][0];
  CHECK(first["name"] == "Sequential");
  CHECK(first["ph"] == "X");
  CHECK(first["cat"] == "layer");
  CHECK(first["dur"].get<double>() > 0);
  CHECK(first["tid"] == 0);
}

TEST_CASE("a profiler stops at its end, and the next one begins empty") {
  ran();
  const Tensor x = Tensor::ones({4});
  {
    nn::Profiler profiler;
    add(x, x);
  }
  CHECK(trace_observer.load() == nullptr);
  const nn::Profiler next;
  CHECK(next.events().empty());
}
