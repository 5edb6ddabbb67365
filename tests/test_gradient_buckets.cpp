// Leaves that tell when their gradient is whole, and buckets of gradients that are summed meanwhile. The other rank is a twin: a
// variant of all_reduce that doubles. Ranks that are processes: test_ranks_training.cpp.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "autograd/ops.h"
#include "nn/gradient_buckets.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using asap::tests::contains;
using asap::tests::error_of;
using asap::tests::ran;
using nn::GradientBuckets;

namespace {

constexpr World kTwins{.rank = 0, .size = 2};
std::vector<int64_t> sent;  // elements of each sum, in order

void add_twin() {
  static const bool once = [] {
    kernels::all_reduce.add_first(
        Device::cpu, "twin",
        [](const World&, DType, Tensor& x) {
          sent.push_back(x.numel());
          x.copy_from(add(x, x));
        },
        [](const World& world, DType, const Tensor&) { return world.size == 2; });
    return true;
  }();
  CHECK(once);
  sent.clear();
}

Variable leaf(const Shape& shape, double value) { return Variable(Tensor::full(shape, value, DType::f64), true); }

}  // namespace

TEST_CASE("a leaf tells once a pass, when the last of its gradients is in grad") {
  ran();
  Variable early = leaf({2}, 3), late = leaf({2}, 5);
  std::string order;
  const HookHandle first = early.add_accumulated_hook([&] { order += "early "; });
  const HookHandle second = late.add_accumulated_hook([&] {
    order += str("late ", late.grad().to_vector<double>()[0], " ");
    CHECK(!early.grad().defined());  // the rest of the pass is still to come
  });
  Variable middle = early * 2.0;
  sum(middle * late + late * 7.0).backward();  // late is used twice, after early
  CHECK(order == "late 13 early ");
  order.clear();
  early.zero_grad();
  const HookHandle twice = late.add_gradient_hook([](const Tensor& grad) { return affine(grad, 2, 0); });
  sum(late * 4.0).backward();  // to what is there from before, and through a gradient hook
  CHECK(order == "late 21 ");
  CHECK(contains(error_of([&] { (void)middle.add_accumulated_hook([] {}); }), "expected a leaf"));
}

TEST_CASE("buckets sum what several passes left, the last parameters first, and never more than they may hold") {
  ran();
  add_twin();
  nn::NamedVariables parameters;
  for (const auto& [name, size] : {std::pair{"a", 3}, {"b", 5}, {"c", 4}, {"unused", 2}, {"d", 1}})
    parameters.emplace_back(name, leaf({size}, 1));
  GradientBuckets buckets(parameters, kTwins, DType::f64, 7 * sizeof(double));
  CHECK(buckets.count() == 3);  // d unused c | b | a
  const auto pass = [&](double factor) {
    Variable total;
    for (size_t i : {0, 1, 2, 4}) {
      const Variable term = sum(parameters[i].second * (factor * static_cast<double>(i + 1)));
      total = total.defined() ? total + term : term;
    }
    total.backward();
  };
  pass(1);  // not collected
  CHECK(sent.empty());
  buckets.begin();
  pass(10);
  buckets.finish();
  CHECK(sent == std::vector<int64_t>{7, 5, 3});
  for (size_t i : {0, 1, 2, 4}) {
    const std::vector<double> grad = parameters[i].second.grad().to_vector<double>();
    CHECK(grad == std::vector<double>(grad.size(), 2 * 11 * static_cast<double>(i + 1)));
  }
  CHECK(!parameters[3].second.grad().defined());
  CHECK(error_of([&] { GradientBuckets({}, kTwins, DType::f64); }) == "GradientBuckets: expected parameters, got none");
  parameters.emplace_back("other", Variable(Tensor::zeros({1}), true));
  CHECK(contains(error_of([&] { GradientBuckets(parameters, kTwins, DType::f64); }), "expected other to be f64"));
}

TEST_CASE("work beside is done in order, and none behind what fails") {
  ran();
  DeviceBackend& cpu = backend(Device::cpu);
  std::string done;  // the side's alone until join()
  for (const char* name : {"a", "b", "c"}) cpu.beside([&done, name] { done += name; });
  cpu.join();
  CHECK(done == "abc");
  cpu.beside([] { fail("lost"); });
  cpu.beside([&done] { done += "d"; });
  CHECK(error_of([&] { cpu.join(); }) == "lost");
  cpu.beside([&done] { done += "e"; });
  cpu.join();
  CHECK(done == "abce");
}

TEST_CASE("what a sum throws reaches the thread that waits for it") {
  ran();
  Variable x = leaf({2}, 1);
  GradientBuckets buckets({{"x", x}}, {.rank = 1, .size = 3}, DType::f64);  // three ranks: no variant reaches them
  buckets.begin();
  sum(x).backward();
  CHECK(contains(error_of([&] { buckets.finish(); }), "rank 1 has no way to the other ranks of 3"));
}
