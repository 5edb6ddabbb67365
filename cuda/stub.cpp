// Stands in for the CUDA backend when it is not built: registers nothing, so that asking for Device::cuda throws an
// Error that says how to get it. Keeps #ifdefs out of the rest of the library.
#include "cuda/context.h"
#include "tensor/backend.h"

namespace asap {

void register_cuda_backend() {}
size_t cuda_memory() { return cuda::card().memory_bytes; }

}  // namespace asap

namespace asap::cuda {
namespace {

[[noreturn]] void fail_unavailable() { fail("device: cuda is not available: ", unavailable_reason(Device::cuda)); }

}  // namespace

const Card& card() { fail_unavailable(); }
bool is_emulated() { return false; }
std::vector<std::string> launched_kernels() { return {}; }
bool card_has_wgmma() { return false; }
Timer::Timer() { fail_unavailable(); }
Timer::~Timer() = default;
void Timer::start() {}
double Timer::stop() { return 0; }

}  // namespace asap::cuda
