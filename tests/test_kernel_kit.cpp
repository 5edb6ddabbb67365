// Kernels from outside of the tree: contracts, skeletons, shapes, and `asapnet bench` on a library of good and of faulty kernels. The
// installed package is install_consumer's.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/kit/contract.h"
#include "bench/kit/shape_rows.h"
#include "bench/kit/skeleton.h"
#include "tensor/kernel_library.h"
#include "tests/support/process.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

struct Run {
  int code;
  std::string out, error;
};
Run run_asapnet(const std::filesystem::path& folder, const std::vector<std::string>& arguments) {
  Program program(folder, arguments);
  const int code = program.wait();
  return {code, program.out(), program.error()};
}


}  // namespace

TEST_CASE("the contract of every slot is read from kernels.h") {
  ran();
  for (const KernelSlotBase* slot : all_kernel_slots()) {
    INFO(slot->name());
    const bench::Contract contract = bench::contract_of(slot->name());
    CHECK(contains(contract.text, "= void("));
    CHECK(!contract.parameters.empty());
    std::set<std::string> names;
    for (const auto& [type, name] : contract.parameters) {
      CHECK(!type.empty());
      CHECK(names.insert(name).second);  // else a skeleton would not compile
    }
  }
  CHECK(bench::contract_of("conv2d_forward").declaration() ==
        "const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y");
  CHECK(bench::contract_of("unary").declaration() == "UnaryOp op, const Tensor& x, const UnaryParams& p, Tensor& y");
  CHECK(bench::contract_of("adam").arguments() == "grads, p, state, params, m, v");
}

TEST_CASE("a skeleton is written once, under a name that C++ takes") {
  ran();
  const ScratchFolder scratch;
  const std::string folder = scratch.path() / "my_pool";
  const auto files = bench::write_kernel_skeleton("avg_pool2d_forward", Device::cuda, folder);
  CHECK(files == std::vector<std::string>{folder + "/CMakeLists.txt", folder + "/my_pool.cu"});
  CHECK(contains(error_of([&] { bench::write_kernel_skeleton("avg_pool2d_forward", Device::cuda, folder); }), "is there already"));
  CHECK(contains(error_of([&] { bench::write_kernel_skeleton("avg_pool2d_forward", Device::cpu, scratch.path() / "2-fast"); }),
                 "letters, digits and _"));
  CHECK(contains(error_of([&] { bench::write_kernel_skeleton("avg_pol2d", Device::cpu, scratch.path() / "x"); }), "there is no slot"));
  CHECK(!std::filesystem::exists(scratch.path() / "x"));
}

TEST_CASE("shapes of one's own are rows, with defaults that follow from one another") {
  ran();
  const OpCase row = bench::row_of_shape(kernels::conv2d_forward, "c=8,h=16,k=5,stride=2");
  CHECK(row.name == "conv2d_forward/n=1,c=8,h=16,w=16,o=8,k=5,stride=2,pad=2,dilation=1,groups=1");
  CHECK(row.flops == 2.0 * 8 * 8 * 8 * 8 * 25);
  CHECK(row.run(make_inputs(row, DType::f32, Device::cpu)).shape() == Shape{1, 8, 8, 8});
  for (KernelSlotBase* slot : all_kernel_slots()) {
    const std::string keys = bench::shape_keys(*slot);
    if (keys.empty()) continue;
    INFO(slot->name());
    CHECK(bench::row_of_shape(*slot, keys.substr(0, keys.find(' '))).slots[0] == slot);
  }
  CHECK(contains(error_of([] { bench::row_of_shape(kernels::conv2d_forward, "q=3"); }), "has no 'q'; its sizes are n=1 c=64"));
  CHECK(contains(error_of([] { bench::row_of_shape(kernels::conv2d_forward, "c=many"); }), "'many' is not a whole number"));
  CHECK(contains(error_of([] { bench::row_of_shape(kernels::conv2d_forward, "c=0"); }), "c must be positive, got 0"));
  CHECK(contains(error_of([] { bench::row_of_shape(kernels::adam, "n=1"); }), "adam has no shapes of one's own"));
}

TEST_CASE("a variant in front of the built-in ones runs wherever it takes the call") {
  ran();
  int calls = 0;
  kernels::reduce.add_first(
      Device::cpu, "counting",
      [&](ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
        ++calls;
        kernels::reduce.run_as("naive", Device::cpu, op, x, p, y);
      },
      [](ReduceOp op, const Tensor&, const AxisParams&, const Tensor&) { return op == ReduceOp::max; });
  const Tensor x = Tensor::from<float>({1, 3, 2}, {3});
  CHECK(max(x).item() == 3);
  CHECK(calls == 1);
  CHECK(sum(x).item() == 6);
  CHECK(calls == 1);
  CHECK(contains(error_of([&] {
                   Tensor y = Tensor::empty({1});
                   kernels::reduce.run_as("counting", Device::cpu, ReduceOp::sum, x, {1, 3, 1}, y);
                 }),
                 "no variant on cpu takes these arguments"));
}

TEST_CASE("a good kernel is verified, put in front, and timed beside the built-in ones") {
  ran();
  const ScratchFolder scratch;
  const std::string json = scratch.path() / "bench.json", svg = scratch.path() / "roofline.svg";
  const Run run = run_asapnet(scratch.path(), {"bench", "--kernel", ASAP_GOOD_KERNELS, "--shape", "c=8,h=64", "--rounds", "3", "--json", json, "--svg", svg});
  INFO(run.out, run.error);
  REQUIRE(run.code == 0);
  CHECK(contains(run.out, "avg_pool2d_forward on cpu: pool2x2*"));
  CHECK(contains(run.out, " 0 failed"));
  CHECK(contains(run.out, "pool2x2 *"));
  std::ifstream file(json);
  const nlohmann::json result = nlohmann::json::parse(file);
  std::set<std::string> names;
  for (const auto& entry : result["benchmarks"]) {
    names.insert(entry["run_name"]);
    CHECK(entry["real_time"].get<double>() > 0);
  }
  CHECK(names.contains("avg_pool2d_forward/n=1,c=8,h=64,w=64,k=2,stride=2,pad=0/pool2x2"));
  CHECK(names.size() >= 2);  // and naive
  CHECK(std::filesystem::file_size(svg) > 1000);
}

TEST_CASE("what is wrong with a kernel is told by name, and the rest goes on") {
  ran();
  const ScratchFolder scratch;
  const Run run = run_asapnet(scratch.path(), {"bench", "--kernel", ASAP_FAULTY_KERNELS, "--verify-only", "--rows", "copy/contiguous", "--patience", "2"});
  INFO(run.out, run.error);
  CHECK(run.code == 1);
  CHECK(contains(run.out, "copy=wrong on copy/contiguous f32: differs from the definition"));
  CHECK(contains(run.out, "copy=too_far on copy/contiguous f32: wrote behind its output"));
  CHECK(contains(run.out, "copy=crashes on copy/contiguous f32: crashed (Aborted)"));
  CHECK(contains(run.out, "copy=hangs on copy/contiguous f32: did not end within 2 s"));
  CHECK(contains(run.out, "copy=throws on copy/contiguous f32: no luck today"));
  CHECK(!contains(run.out, "WRONG copy=right"));
  CHECK(contains(run.out, "copy=right: "));
}

TEST_CASE("what cannot be loaded is told in one sentence") {
  ran();
  const ScratchFolder scratch;
  const auto error = [&](const std::vector<std::string>& arguments, int code) {
    std::vector<std::string> all{"bench"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Run run = run_asapnet(scratch.path(), all);
    CHECK(run.code == code);
    CHECK(std::count(run.error.begin(), run.error.end(), '\n') == 1);
    return run.error;
  };
  CHECK(contains(error({"--kernel", "nowhere.so"}, 1), "nowhere.so: there is no such kernel library"));
  CHECK(contains(error({"--kernel", ASAPNET_PROGRAM}, 1), "cannot be loaded as a kernel library"));
  CHECK(contains(error({"--slot", "conv3d"}, 1), "there is no slot 'conv3d'"));
  CHECK(contains(error({"--slot", "copy", "--variants", "fast"}, 1), "there is no variant 'fast' on cpu"));
  CHECK(contains(error({}, 1), "give a --slot"));
  CHECK(contains(error({"--device", "tpu"}, 2), "--device is cpu or cuda, not 'tpu'"));
}

TEST_CASE("ASAP_KERNEL_LIBRARY loads kernels into any command") {
  ran();
  const ScratchFolder scratch;
  REQUIRE(setenv("ASAP_KERNEL_LIBRARY", ASAP_GOOD_KERNELS, 1) == 0);
  const Run run = run_asapnet(scratch.path(), {"kernels", "avg_pool2d_forward"});
  unsetenv("ASAP_KERNEL_LIBRARY");
  CHECK(contains(run.out, "cpu: pool2x2 (some), 3x3_s2"));
}
