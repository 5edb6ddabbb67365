// Stands in for peak.cu where the CUDA backend is not built.
#include "bench/yardsticks/peak.h"
#include "tensor/error.h"
#include "tensor/storage.h"

namespace asap::cuda {
namespace {

[[noreturn]] void fail_unavailable() { fail("device: cuda is not available: ", unavailable_reason(Device::cuda)); }

}  // namespace

CardPeak measure_card_peak() { fail_unavailable(); }
void flush_cache() { fail_unavailable(); }

}  // namespace asap::cuda
