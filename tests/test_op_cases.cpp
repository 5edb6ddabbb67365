// Walks the table of op cases: every variant of every kernel of a device against `naive` on the CPU, forward and backward, f32
// and f64, on memory full of NaN between guard bytes; the ops and their definitions on channels-last pictures and on bf16; then
// the float64 gradient check of every row.
// ASAP_ROWS=TEXT,... looks only at the rows whose name contains one of the texts, ASAP_ROWS=!TEXT,... at all others: while a
// kernel is being written, or in several programs side by side. Rows of few numbers then come first, and the program prints
// which wait, which are done and which variants ran: what is known when it is cut off.
// Next: op_cases.h; test_op_goldens.cpp compares with PyTorch.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <numeric>
#include <regex>
#include <set>

#include "bench/yardsticks/yardsticks.h"
#include "cuda/context.h"
#include "tests/gradcheck.h"
#include "tests/op_cases.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

// The table is walked on the device that this run is about; the reference is always the CPU's naive in f64. On a card
// NVIDIA's libraries are compared as well.
std::vector<Device> devices() {
  [[maybe_unused]] static const bool once = (cuda::register_yardsticks(), true);
  return {test_device()};
}

// What ASAP_ROWS says; "" when all rows are wanted.
std::string wanted_rows() {
  const char* texts = std::getenv("ASAP_ROWS");
  return texts ? texts : "";
}

bool is_wanted(const OpCase& row) {
  const std::string texts = wanted_rows();
  const bool others = texts.starts_with('!');
  std::istringstream list(texts.substr(others ? 1 : 0));
  for (std::string text; std::getline(list, text, ',');) {
    if (row.name.find(text) != std::string::npos) return !others;
  }
  return texts.empty() || others;
}

int64_t numbers(const OpCase& row) {
  return std::accumulate(row.inputs.begin(), row.inputs.end(), int64_t{0},
                         [](int64_t sum, const OpInput& input) { return sum + input.shape.numel(); });
}

std::vector<const OpCase*> rows_to_compare() {
  std::vector<const OpCase*> rows;
  for (const OpCase& row : op_cases()) {
    if (!row.large && is_wanted(row)) rows.push_back(&row);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const OpCase* a, const OpCase* b) { return numbers(*a) < numbers(*b); });
  return rows;
}

// Pictures that lie channels-last, and bf16 tensors: what runs by default on those, and what the definitions make of both at
// once. The emulator, on which the longer rows take long, sees the short ones.
void check_layouts_and_bf16(const OpCase& row, const std::vector<Tensor>& expected, Device device) {
  constexpr int64_t kLongest = 3000;
  if (device == Device::cuda && cuda::is_emulated() && numbers(row) > kLongest) return;
  const auto check = [&](const char* what, const Setting& setting, const std::vector<Tensor>& reference) {
    INFO(str(what, " in ", setting.dtype, setting.layout == Layout::channels_last ? ", channels-last" : ""));
    const PoisonedMemory poisoned;
    const std::vector<Tensor> results = evaluate(row, setting, device);
    const double difference = relative_difference(results, reference);
    INFO("difference ", difference);
    CHECK(difference <= tolerance_at(row, setting.dtype, Precision::f32));
    CHECK(misplaced(row, setting, results) == "");
  };
  const auto check_definitions = [&](const Setting& setting, const std::vector<Tensor>& reference) {
    const NaiveEverywhere naive;
    check("naive", setting, reference);
    for (const KernelSlotBase* slot : row.slots) CHECK_MESSAGE(slot->last_variant() == "naive", slot->name());
  };
  const bool pictures = std::any_of(row.inputs.begin(), row.inputs.end(), [](const OpInput& i) { return i.shape.rank() == 4; });
  const Layout layout = pictures ? Layout::channels_last : Layout::row_major;
  if (pictures) check("default", {DType::f32, layout}, expected);
  if (row.not_bf16) {
    if (pictures) check_definitions({DType::f32, layout}, expected);
    return;
  }
  const std::vector<Tensor> rounded = evaluate(row, {DType::f64, Layout::row_major, true}, Device::cpu);
  check("default", DType::bf16, rounded);
  if (pictures) check("default", {DType::bf16, layout}, rounded);
  check_definitions({DType::bf16, layout}, rounded);
}

// A line for whoever reads how far a part of the table came.
void tell(const char* what, const std::string& name) {
  if (!wanted_rows().empty()) std::cout << what << ": " << name << "\n";
}

std::string variant_name(const KernelSlotBase& slot, Device device, const std::string& variant) {
  return str(slot.name(), "=", variant, " on ", device);
}

// Rows with long inputs are there for the blocks and threads of the fast variants; each has a short sibling.
bool wants_gradcheck(const OpCase& row) {
  constexpr int64_t kLongest = 5000;
  const auto& in = row.inputs;
  return !row.large && row.gradcheck &&
         std::any_of(in.begin(), in.end(), [](const OpInput& i) { return i.differentiable; }) &&
         std::all_of(in.begin(), in.end(), [](const OpInput& i) { return i.shape.numel() <= kLongest; });
}

}  // namespace

TEST_CASE("every kernel slot has a row in the table and a naive variant") {
  ran();
  std::set<const KernelSlotBase*> covered;
  std::set<std::string> names;
  for (const OpCase& row : op_cases()) {
    INFO(row.name);
    CHECK_MESSAGE(names.insert(row.name).second, "two rows have this name");
    CHECK_MESSAGE((!row.large || row.slots.size() == 1), "a large row times one kernel");
    if (!row.large) covered.insert(row.slots.begin(), row.slots.end());
  }
  for (const KernelSlotBase* slot : all_kernel_slots()) {
    INFO(slot->name());
    CHECK_MESSAGE(covered.count(slot) == 1, "no small row of op_cases exercises this kernel");
    for (const Device device : devices()) {
      INFO(str(device));
      const auto variants = slot->variants(device);
      CHECK(std::find(variants.begin(), variants.end(), "naive") != variants.end());
    }
  }
}

// A merge once lost a registration, and with it the fastest kernels: everything else stayed green.
TEST_CASE("each slot has the variants of tests/kernel_variants.txt, in their order") {
  ran();
  const std::string path = source_folder() + "/tests/kernel_variants.txt";
  std::ifstream file(path);
  REQUIRE_MESSAGE(file, path);
  std::map<std::string, std::string> listed;  // "device slot": "variant variant ..."
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t colon = line.find(": ");
    REQUIRE_MESSAGE(colon != std::string::npos, line);
    listed[line.substr(0, colon)] = line.substr(colon + 2);
  }
  for (const Device device : devices()) {
    for (const KernelSlotBase* slot : all_kernel_slots()) {
      std::string variants;
      for (const std::string& variant : slot->variants(device)) {
        if (variant.starts_with("cublas") || variant.starts_with("cudnn") || variant == "nccl") continue;  // only where the library is
        variants += (variants.empty() ? "" : " ") + variant;
      }
      const std::string key = str(device, " ", slot->name());
      CHECK_MESSAGE(variants == listed[key], key, ": ", variants);
      listed.erase(key);
    }
    for (const auto& entry : listed) {
      CHECK_MESSAGE(!entry.first.starts_with(str(device, " ")), "no such slot: ", entry.first);
    }
  }
}

TEST_CASE("every variant of every kernel gives what naive gives") {
  ran();
  std::set<std::string> waiting;  // variants that have not run yet
  for (const Device device : devices()) {
    for (const KernelSlotBase* slot : all_kernel_slots()) {
      for (const auto& variant : slot->variants(device)) {
        if (variant != "nccl") waiting.insert(variant_name(*slot, device, variant));  // it takes no world of one rank
      }
    }
  }
  const int64_t guards_before = overwritten_guards();
  std::map<std::string, std::pair<double, std::string>> worst;  // by variant: largest share of its tolerance used, row
  const std::vector<const OpCase*> rows = rows_to_compare();
  for (const OpCase* row : rows) tell("waiting", row->name);
  for (const OpCase* place : rows) {
    const OpCase& row = *place;
    INFO(row.name);
    const std::vector<Tensor> expected = reference(row);
    for (const Device device : devices()) {
      CHECK_MESSAGE(relative_difference(evaluate(row, DType::f32, device), expected) <= row.tolerance,
                    "with the variants that run by default");
      check_layouts_and_bf16(row, expected, device);
      for (KernelSlotBase* slot : row.slots) {
        for (const std::string& variant : slot->variants(device)) {
          for (const DType dtype : {DType::f32, DType::f64}) {
            const VariantCheck check = check_variant(row, expected, *slot, variant, dtype, device);
            const std::string name = variant_name(*slot, device, variant);
            INFO(str(name, " in ", dtype, ": difference ", check.difference, ", tolerance ", check.tolerance));
            CHECK(check.passed());
            if (variant == "naive" && device == Device::cpu)
              CHECK_MESSAGE(check.ran, "the row never calls this kernel");
            if (!check.ran) continue;
            if (waiting.erase(name)) tell("ran", name);
            auto& record = worst[str(name, " in ", dtype)];
            if (check.difference / check.tolerance >= record.first) {
              record = {check.difference / check.tolerance, row.name};
            }
          }
        }
      }
    }
    CHECK_MESSAGE(overwritten_guards() == guards_before, "a kernel of this row wrote behind its output");
    tell("done", row.name);
  }
  if (wanted_rows().empty()) {
    for (const std::string& name : waiting) FAIL_CHECK("ran in no row of op_cases: ", name);
  }
  for (const auto& [name, record] : worst) {
    if (record.first > 0.5) MESSAGE(name, " uses ", record.first, " of the tolerance, in ", record.second);
  }
}

TEST_CASE("random numbers do not depend on the device") {
  if (test_device() == Device::cpu) return;
  ran();
  for (const DType dtype : {DType::f32, DType::f64}) {
    INFO(str(dtype));
    // The second one's bounds are so close that most values round to the upper one.
    for (const RandomParams& params : {RandomParams{.seed = 7, .offset = 1ull << 33, .a = -1, .b = 3},
                                       RandomParams{.seed = 1ull << 40, .a = 1, .b = 1.0000001}}) {
      const Tensor there = random_uniform({4099}, params, dtype, Device::cuda).to(Device::cpu);
      CHECK(relative_difference(there, random_uniform({4099}, params, dtype)) == 0);
    }
    // The card's log and cos are good to a rounding or two of f64: where one value lies next to a rounding of f32, that differs.
    const RandomParams params{.seed = 7, .offset = 5, .a = 0.5, .b = 2};
    const Tensor there = random_normal({4099}, params, dtype, Device::cuda).to(Device::cpu);
    const double rounding = dtype == DType::f32 ? 0x1p-23 : 0x1p-50;
    CHECK(relative_difference(there, random_normal({4099}, params, dtype)) <= rounding);
  }
}

TEST_CASE("gradients match central differences") {
  ran();
  const NaiveEverywhere naive;  // the other variants were compared with it above
  for (const OpCase& row : op_cases()) {
    if (!wants_gradcheck(row) || !is_wanted(row)) continue;
    const std::vector<Variable> inputs = make_inputs(row, DType::f64, Device::cpu);
    INFO(row.name);
    const GradcheckResult result = gradcheck(row.run, inputs, {.step = 1e-6, .max_elements = 60});
    INFO(result.message);
    CHECK(result.passed);
  }
}

// The emulator alone tells what it executes. A kernel that no registered variant reaches is dead, or its registration was lost.
TEST_CASE("every kernel in cuda/ was launched by the cases above") {
  ran();
  if (!cuda::is_emulated() || !wanted_rows().empty()) return;
  const auto kernels = cuda::launched_kernels();
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_folder() + "/cuda")) {
    const std::string file = entry.path().filename();
    if (!file.ends_with(".cu") && !file.ends_with(".cuh")) continue;
    std::ifstream in(entry.path());
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    static const std::regex definition(R"(__global__ void\s+(?:__(?:launch_bounds|maxnreg)__\([^\n]*\)\s+)*(\w+)\()");
    for (std::sregex_iterator match(text.begin(), text.end(), definition); match != std::sregex_iterator(); ++match) {
      const std::string name = (*match)[1];
      if (name.find("probe_") == 0) continue;  // backend.cu asks for their attributes; the emulator does without
      ++found;
      // One of a .cuh may be launched from any file.
      CHECK_MESSAGE(std::any_of(kernels.begin(), kernels.end(),
                                [&](const std::string& launched) {
                                  return launched == file + " " + name ||
                                         (file.ends_with(".cuh") && launched.ends_with(" " + name));
                                }),
                    file, ": nothing launched ", name);
    }
  }
  CHECK(found > 20);  // the pattern finds them
}
