// The definitions (../definitions/) as the CPU's `naive` variants. Next: any other file beside this one for a fast one.
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/definitions/definitions.h"

namespace asap::cpu {
namespace {

struct OnThreads {
  template <class F>
  static void each(const definitions::View& y, const F& f) {
    lines(y.numel(), [&](int64_t i) { definitions::set_element(y, i, f); });
  }
  template <class F>
  static void lines(int64_t count, const F& f) {
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f(i);
    });
  }
};

}  // namespace

void register_naive() { definitions::add_all<OnThreads>(Device::cpu); }

}  // namespace asap::cpu
