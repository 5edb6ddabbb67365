// The definitions (tensor/definitions/) as the card's `naive` variants: one thread an element or a line. Next: any other file
// beside this one for a fast one.
#include "cuda/common.cuh"
#include "cuda/register.h"
#include "tensor/definitions/definitions.h"

namespace asap::cuda {
namespace {

template <class F>
__global__ void each_kernel(definitions::View y, F f) {
  for_each_index(y.numel(), [&](int64_t i) { definitions::set_element(y, i, f); });
}

template <class F>
__global__ void lines_kernel(int64_t count, F f) {
  for_each_index(count, f);
}

struct OnCard {
  template <class F>
  static void each(const definitions::View& y, const F& f) {
    launch(each_kernel<F>, {blocks_for(y.numel()), kBlock}, y, f);
  }
  template <class F>
  static void lines(int64_t count, const F& f) {
    launch(lines_kernel<F>, {blocks_for(count), kBlock}, count, f);
  }
};

}  // namespace

void register_naive() { definitions::add_all<OnCard>(Device::cuda); }

}  // namespace asap::cuda
