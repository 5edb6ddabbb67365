// The module tree as somebody who builds his own model meets it: modules made elsewhere, lists, states that fit in part,
// members that were never registered, hooks. Keys and strict loading are in test_model.cpp.
#include <doctest/doctest.h>

#include "nn/layers.h"
#include "nn/optim.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using asap::tests::error_of;
using asap::tests::ran;

namespace {

using Floats = std::vector<float>;
Floats floats(const Tensor& x) { return x.to_vector<float>(); }
Tensor row(const Floats& values) { return Tensor::from(values, {1, static_cast<int64_t>(values.size())}); }
std::vector<std::string> names_of(const nn::NamedVariables& variables) {
  std::vector<std::string> names;
  for (const auto& [name, variable] : variables) names.push_back(name);
  return names;
}
using Names = std::vector<std::string>;

// y = w * x, one weight.
class Scale : public nn::Layer {
 public:
  explicit Scale(float w) { weight = register_parameter("weight", Tensor::from<float>({w}, {1})); }
  Variable forward(const Variable& x) override { return x * weight; }
  Variable weight;
};

// A module of a user's own around whatever it is given.
class Around : public nn::Layer {
 public:
  std::function<Variable(const Variable&)> inside;
  Variable forward(const Variable& x) override { return inside(x); }
  template <class M>
  M& take(const std::string& name, std::shared_ptr<M> module) {
    return register_module(name, std::move(module));
  }
};

}  // namespace

TEST_CASE("a module made elsewhere is taken in, shared, and outlives its parents") {
  ran();
  const auto scale = std::make_shared<Scale>(3);
  Around one;
  {
    Around other;
    other.take("deep", scale);
    one.take("first", scale);
    one.take("second", scale);
    CHECK(scale->path() == "deep");
    CHECK(names_of(one.named_parameters()) == Names{"first.weight"});  // an optimiser must have it once
    CHECK(names_of(one.named_state()) == Names{"first.weight", "second.weight"});
    CHECK(one.parameter_count() == 1);
  }
  CHECK(scale->path() == "first");
  one.inside = [&](const Variable& x) { return (*scale)((*scale)(x)); };
  one(Variable(row({2}))).backward(row({1}));
  CHECK(scale->weight.grad().item() == 12);  // d(w^2 x) = 2 w x

  CHECK(error_of([&] { one.take("third", std::shared_ptr<Scale>()); }) ==
        "Module: expected a module for 'third', got none");
  CHECK(error_of([&] { one.take("first", std::make_shared<Scale>(1)); }) == "Module: the name 'first' is taken");
  const auto outer = std::make_shared<Around>(), inner = std::make_shared<Around>();
  outer->take("inner", inner);
  CHECK(error_of([&] { inner->take("loop", outer); }) == "Module: 'loop' would be a child of itself");

  nn::Sequential net;
  net.add<Scale>(2);
  net.add(scale);
  net.add<nn::Identity>();
  CHECK(floats(net(Variable(row({1}))).value()) == Floats{6});
  CHECK(names_of(net.named_parameters()) == Names{"0.weight", "1.weight"});
}

TEST_CASE("a list of modules; apply goes over the tree, parents first") {
  ran();
  class Stack : public nn::Layer {
   public:
    Stack() : blocks(register_module<nn::ModuleList<Scale>>("blocks")) {
      for (int i = 0; i < 3; ++i) blocks.add(static_cast<float>(i + 2));
    }
    Variable forward(const Variable& x) override {
      Variable y = x;
      for (const auto& block : blocks) y = (*block)(y);
      return y;
    }
    nn::ModuleList<Scale>& blocks;
  };
  Stack stack;
  CHECK(stack.blocks.size() == 3);
  CHECK(stack.blocks[1].weight.value().item() == 3);
  CHECK(error_of([&] { (void)stack.blocks[3]; }) == "ModuleList<Scale, Module>: expected an index below 3, got 3");
  CHECK(stack(Variable(row({1}))).item() == 24);
  CHECK(names_of(stack.named_parameters()) == Names{"blocks.0.weight", "blocks.1.weight", "blocks.2.weight"});
  Names paths;
  stack.apply([&](const std::string& path, nn::Module& module) { paths.push_back(path + ":" + module.type_name()); });
  CHECK(paths[0].starts_with(":"));
  CHECK(Names(paths.begin() + 1, paths.end()) ==
        Names{"blocks:ModuleList<Scale, Module>", "blocks.0:Scale", "blocks.1:Scale", "blocks.2:Scale"});
}

TEST_CASE("load_matching takes what fits and tells the rest") {
  ran();
  nn::Sequential trained, net;
  trained.add<nn::Linear>(3, 4);
  trained.add<nn::BatchNorm2d>(4);
  trained.add<nn::Linear>(4, 10);
  net.add<nn::Linear>(3, 4);
  net.add<nn::Identity>();
  net.add<nn::Linear>(4, 2);
  net.add<nn::Linear>(2, 2, false);
  nn::StateDict state = trained.state_dict();
  state.set("0.bias", Tensor::zeros({4}, DType::i32));
  const Floats bias = floats(*net.state_dict().find("0.bias")), head = floats(*net.state_dict().find("2.weight"));
  const nn::StateDifference difference = net.load_matching(state);
  CHECK(floats(*net.state_dict().find("0.weight")) == floats(*state.find("0.weight")));
  CHECK(floats(*net.state_dict().find("0.bias")) == bias);
  CHECK(floats(*net.state_dict().find("2.weight")) == head);
  CHECK(difference.missing == Names{"3.weight"});
  CHECK(difference.misfits == Names{"0.bias", "2.weight", "2.bias"});
  CHECK(difference.unexpected ==
        Names{"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"});
  CHECK(str(difference)
            .starts_with(
                "\n  wrong type: 0.bias holds integers, the model has f32\n  wrong shape: 2.weight is (10,4), the "
                "model has (2,4)\n"));
  CHECK(error_of([&] { net.load_state_dict(state, "body"); }) ==
        str("body: the keys do not fit the model:", difference));
  CHECK(trained.load_matching(trained.state_dict()).empty());
}

TEST_CASE("a layer that was never registered is found when it is called") {
  ran();
  const auto tree = std::make_shared<Around>();
  nn::Sequential net;
  net.add(tree);
  Scale loose(2);
  tree->inside = [&](const Variable& x) { return loose(x); };
  const Tensor x = row({3});
  const std::string error = error_of([&] { net(x); });
  CHECK(
      error ==
      "0: Scale has trainable parameters and is called in Around '0', but is not registered in its tree: make it with "
      "register_module, or, if it is another module's on purpose, call it while a BorrowedLayers lives");
  // Its own layers are no less strangers when it is not called as a function itself.
  nn::Sequential loose_net;
  loose_net.add<Scale>(5);
  tree->inside = [&](const Variable& v) { return loose_net.forward(v); };
  CHECK(error_of([&] { net(x); }).starts_with("0: Scale '0' has trainable parameters and is called in Around '0'"));

  SUBCASE("borrowed on purpose") {
    tree->inside = [&](const Variable& v) {
      const nn::BorrowedLayers borrowed;
      return loose_net(v);
    };
    CHECK(net(x).item() == 15);
  }
  SUBCASE("not recorded") {
    const NoGrad no_grad;
    CHECK(net(x).item() == 15);
  }
  SUBCASE("frozen") {
    loose_net.set_requires_grad(false);
    CHECK(net(x).item() == 15);
  }
  SUBCASE("called from nowhere, before and after an error") { CHECK(loose_net(x).item() == 15); }
  SUBCASE("a part of the tree that is no child of the caller") {
    const auto shared = std::make_shared<Scale>(7);
    Around other;
    other.take("part", shared);
    net.add(shared);
    tree->inside = [&](const Variable& v) { return (*shared)(v); };
    CHECK(net(x).item() == 147);
  }
}

TEST_CASE("hooks of a layer see or replace what goes in and comes out, while their handles live") {
  ran();
  nn::Sequential net;
  Scale& scale = net.add<Scale>(2);
  Floats seen;
  {
    const HookHandle look = scale.add_after_hook([&](nn::Layer& layer, const Variable& x, const Variable& y) {
      CHECK(&layer == &scale);
      seen.insert(seen.end(), {static_cast<float>(x.item()), static_cast<float>(y.item())});
      return y;
    });
    CHECK(net(row({3})).item() == 6);
    CHECK(seen == Floats{3, 6});
    const HookHandle more = scale.add_before_hook([](nn::Layer&, const Variable& x) { return x + 1; });
    const HookHandle half =
        scale.add_after_hook([](nn::Layer&, const Variable&, const Variable& y) { return y * 0.5; });
    CHECK(net(row({3})).item() == 4);
    CHECK(seen == Floats{3, 6, 4, 8});
    CHECK(net.forward(row({3})).item() == 4);  // of net alone forward() is called, of scale operator()
    CHECK(scale.forward(row({3})).item() == 6);
  }
  seen.clear();
  CHECK(net(row({3})).item() == 6);
  CHECK(seen.empty());
}
