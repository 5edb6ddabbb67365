// Which libraries' variants are registered. Declared in yardsticks.h; compiled in every build, with those libraries whose
// headers CMake found. Next: library.h.
#include "bench/yardsticks/yardsticks.h"

#include <cstdlib>
#include <iostream>

#include "cuda/context.h"
#include "tensor/backend.h"
#include "tensor/error.h"

namespace asap::cuda {

void register_cublaslt();
void register_cudnn();

void register_yardsticks() {
  register_also([] {
    const char* wanted = std::getenv("ASAP_YARDSTICKS");
    if (!is_available(Device::cuda) || is_emulated() || (wanted && std::string(wanted) == "0")) return;
    [[maybe_unused]] const auto attempt = [](void (*registration)()) {
      try {
        registration();
      } catch (const Error& error) {
        std::cerr << "yardsticks: " << error.what() << "\n";
      }
    };
#if defined(ASAP_CUBLASLT)
    attempt(register_cublaslt);
#endif
#if defined(ASAP_CUDNN)
    attempt(register_cudnn);
#endif
  });
}

}  // namespace asap::cuda
