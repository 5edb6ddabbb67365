// Loading shared objects with kernels. Declared in kernel_library.h.
#include "tensor/kernel_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace asap {

std::vector<NamedVariant> all_variants() {
  std::vector<NamedVariant> all;
  for (KernelSlotBase* slot : all_kernel_slots()) {
    for (const Device device : {Device::cpu, Device::cuda}) {
      for (const std::string& name : slot->variants(device)) all.push_back({slot, device, name});
    }
  }
  return all;
}

std::vector<NamedVariant> variants_added_since(const std::vector<NamedVariant>& before) {
  std::vector<NamedVariant> added = all_variants();
  std::erase_if(added, [&](const NamedVariant& now) {
    return std::any_of(before.begin(), before.end(), [&](const NamedVariant& then) {
      return then.slot == now.slot && then.device == now.device && then.name == now.name;
    });
  });
  return added;
}

std::vector<NamedVariant> load_kernel_library(const std::string& path) {
  std::error_code ignored;
  ASAP_CHECK(std::filesystem::exists(path, ignored), path, ": there is no such kernel library");
  // A name without a folder would be looked for among the system's libraries.
  void* library = dlopen(std::filesystem::absolute(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(path, ": cannot be loaded as a kernel library: ", dlerror());
  using Register = const char*(const char*);
  const auto register_kernels = reinterpret_cast<Register*>(dlsym(library, "asap_register_kernels"));
  ASAP_CHECK(register_kernels, path, ": is no kernel library: it has no ASAP_REGISTER_KERNELS() (tensor/kernel_library.h)");
  const std::vector<NamedVariant> before = all_variants();
  const std::string interface = register_kernels(ASAP_KERNEL_INTERFACE);
  ASAP_CHECK(interface == ASAP_KERNEL_INTERFACE, path, ": was compiled with the headers of asapnet ", interface,
             ", this program is ", ASAP_KERNEL_INTERFACE, "; compile it again with this program's package");
  return variants_added_since(before);
}

void load_kernel_libraries_of_environment() {
  const char* paths = std::getenv("ASAP_KERNEL_LIBRARY");
  std::istringstream list(paths ? paths : "");
  for (std::string path; std::getline(list, path, ':');) {
    if (!path.empty()) load_kernel_library(path);
  }
}

}  // namespace asap
