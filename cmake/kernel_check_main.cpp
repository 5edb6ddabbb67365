// The test program of asap_add_kernel for .cu files: their kernels on the emulated card, against the definitions, on every row of
// the table of op cases. Arguments: texts, of which a row's name must contain one. Exit code 1 if a row is wrong.
#include <cstdio>

#include "tensor/kernel_library.h"
#include "tensor/threads.h"
#include "tests/check_kernels.h"

extern "C" const char* asap_register_kernels(const char* of_program);

int main(int argc, char** argv) {
  asap::let_waiting_threads_sleep(argv);
  const auto before = asap::all_variants();
  asap_register_kernels(ASAP_KERNEL_INTERFACE);
  int rows = 0, failed = 0;
  for (const asap::NamedVariant& variant : asap::variants_added_since(before)) {
    for (const asap::tests::KernelCheck& check : asap::tests::kernel_checks(*variant.slot, {variant.name}, variant.device)) {
      const auto wanted = [&] {
        for (int i = 1; i < argc; ++i) {
          if (check.row->name.find(argv[i]) != std::string::npos) return true;
        }
        return argc == 1;
      };
      if (!wanted()) continue;
      const asap::tests::CheckResult result = asap::tests::run_check(check);
      if (!result.ran) continue;
      ++rows;
      if (result.passed()) continue;
      ++failed;
      std::printf("WRONG %s\n", result.text(check).c_str());
    }
  }
  std::printf("%d comparisons with the definitions, %d failed\n", rows, failed);
  return rows > 0 && failed == 0 ? 0 : 1;
}
