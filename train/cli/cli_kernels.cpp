// asapnet kernels, kernel new and bench. Declared in cli.h; the work is bench/kit's.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "bench/kit/bench_report.h"
#include "bench/kit/contract.h"
#include "bench/kit/kernel_bench.h"
#include "bench/kit/shape_rows.h"
#include "bench/kit/skeleton.h"
#include "tensor/kernel_slot.h"
#include "train/cli/cli.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"

namespace asap::train {
namespace {

Device device_of(const std::string& name) {
  if (name != "cpu" && name != "cuda") throw UsageError("--device is cpu or cuda, not '" + name + "'");
  return name == "cpu" ? Device::cpu : Device::cuda;
}
DType dtype_of_name(const std::string& name) {
  if (name != "f32" && name != "bf16") throw UsageError("--dtype is f32 or bf16, not '" + name + "'");
  return name == "f32" ? DType::f32 : DType::bf16;
}

// "winograd (strided bf16 some)": what a variant takes beyond row-major f32 and f64, and whether it asks about its arguments.
std::string described(const VariantInfo& variant) {
  std::string more;
  for (const auto& [says, word] : {std::pair{variant.takes.strided, "strided"}, {variant.takes.bf16, "bf16"}, {variant.conditional, "some"}}) {
    if (says) more += (more.empty() ? "" : " ") + std::string(word);
  }
  return variant.name + (more.empty() || variant.name == "naive" ? "" : " (" + more + ")");
}

void print_variants(const KernelSlotBase& slot) {
  for (const Device device : {Device::cpu, Device::cuda}) {
    std::string line;
    for (const VariantInfo& variant : slot.describe(device)) line += (line.empty() ? "" : ", ") + described(variant);
    if (!line.empty()) std::cout << "  " << str(device) << ": " << line << "\n";
  }
}

int list_kernels(const std::string& only) {
  if (!only.empty()) {
    const KernelSlotBase& slot = find_kernel_slot(only);
    std::cout << only << "\n";
    print_variants(slot);
    const std::string keys = bench::shape_keys(slot);
    if (!keys.empty()) std::cout << "  --shape: " << keys << "\n";
    std::cout << "\n" << bench::contract_of(only).text << std::endl;
    return kOk;
  }
  for (const KernelSlotBase* slot : all_kernel_slots()) {
    std::cout << slot->name() << "\n";
    print_variants(*slot);
  }
  std::cout << "\nVariants are tried in this order; the last, naive, is the definition. In brackets what one takes beyond row-major f32\n"
               "and f64: strided (channels-last, views), bf16; some: not every call. asapnet kernels SLOT shows the contract.\n"
            << std::flush;
  return kOk;
}

struct BenchCommand {
  bench::KernelBenchOptions options;
  bench::KernelBenchWork work;
  std::string device = "cpu", dtype = "f32", json, svg;
};

int bench_command(BenchCommand& command) {
  command.options.device = device_of(command.device);
  command.options.dtype = dtype_of_name(command.dtype);
  if (!command.work.stage.empty()) return bench::work_for_bench(command.options, command.work), kOk;
  if (!is_available(command.options.device) && command.options.verify_only) {
    std::cerr << "asapnet: " << unavailable_reason(command.options.device) << "\n";
    return kSkipped;
  }
  // Before a minute of measuring, not after it.
  for (const std::string& path : {command.json, command.svg}) {
    if (!path.empty()) ASAP_CHECK(std::ofstream(path, std::ios::app), path, ": cannot be written");
  }
  const bench::KernelBenchResult result = bench::bench_kernels(command.options);
  if (!command.json.empty()) write_file(command.json, bench::timings_json(result));
  if (!command.svg.empty()) write_file(command.svg, bench::roofline_svg(result));
  if (result.failures.empty()) return kOk;
  std::cout << "\n" << result.failures.size() << " failures: the lines with WRONG, above" << std::endl;
  return kError;
}

}  // namespace

Command add_kernels_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("kernels", "List the kernels: slots, their variants on each device, what each takes");
  auto slot = std::make_shared<std::string>();
  app->add_option("slot", *slot, "one slot alone, with its contract: shapes, parameters, signature");
  app->footer("Example:\n  asapnet kernels conv2d_forward");
  return {app, [slot] { return list_kernels(*slot); }};
}

Command add_kernel_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("kernel", "Begin a kernel of your own: a CMake project that builds and passes its test");
  struct New {
    std::string slot, folder, device = "cpu";
  };
  auto make = std::make_shared<New>();
  CLI::App* verb = app->add_subcommand("new", "Write the project");
  verb->add_option("slot", make->slot, "which kernel (asapnet kernels lists them)")->required();
  verb->add_option("folder", make->folder, "folder to write into; its name is the kernel's")->required();
  verb->add_option("--device", make->device, "cpu (C++) or cuda (a .cu file)")->type_name("cpu|cuda")->capture_default_str();
  app->footer("Example:\n  asapnet kernel new conv2d_forward --device cpu my_conv");
  return {app, [make, verb] {
            if (!verb->parsed()) throw UsageError("asapnet kernel new SLOT FOLDER begins a kernel; see asapnet kernel new --help");
            for (const std::string& path : bench::write_kernel_skeleton(make->slot, device_of(make->device), make->folder)) {
              std::cout << terminal_safe(path) << "\n";
            }
            std::cout << std::flush;
            return kOk;
          }};
}

Command add_bench_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "bench", "Verify kernels against their definitions and time them in turns, your own among them");
  auto command = std::make_shared<BenchCommand>();
  bench::KernelBenchOptions& o = command->options;
  app->add_option("--slot", o.slots, "which kernels (default: those that the libraries add to)")->type_name("SLOT,...")->delimiter(',');
  app->add_option("--kernel", o.libraries, "kernel library to load (asapnet kernel new begins one)")->type_name("FILE.so");
  app->add_option("--variants", o.variants, "only these (default: all)")->type_name("NAME,...")->delimiter(',');
  app->add_option("--shape", o.shapes, "time this shape instead of the table's: \"n=1,c=64,h=128\" (asapnet kernels SLOT tells the keys)")
      ->type_name("SIZES");
  app->add_option("--rows", o.rows, "only rows of the table whose name contains this")->type_name("TEXT");
  app->add_option("--device", command->device, "where")->type_name("cpu|cuda")->capture_default_str();
  app->add_option("--dtype", command->dtype, "numbers to time with")->type_name("f32|bf16")->capture_default_str();
  app->add_option("--threads", o.threads, "of the CPU; 0: one a core")->type_name("N")->check(CLI::NonNegativeNumber)->capture_default_str();
  app->add_option("--rounds", o.rounds, "calls of each variant, at most: at least 3, then for 6 s a row")
      ->type_name("N")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app->add_option("--patience", o.patience, "seconds after which a comparison or call that is not done counts as hanging")
      ->type_name("N")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  app->add_flag("--verify-only", o.verify_only, "compare with the definitions, time nothing; exit code 77 without the device");
  app->add_flag("--warm", o.warm, "leave the caches as the call before left them (default: flushed between calls)");
  app->add_option("--json", command->json, "write every timing, as Google Benchmark's compare.py reads it")->type_name("FILE");
  app->add_option("--svg", command->svg, "draw a roofline chart")->type_name("FILE");
  app->add_option("--worker", command->work.stage)->group("");  // what the children are started with
  app->add_option("--from", command->work.from)->group("");
  app->add_option("--without", command->work.without)->group("");
  app->footer("Examples:\n  asapnet bench --slot conv2d_forward --shape \"n=1,c=64,h=128\"\n"
              "  asapnet bench --kernel build/my_conv.so --json mine.json --svg roofline.svg");
  return {app, [command] { return bench_command(*command); }};
}

}  // namespace asap::train
