// Random numbers: `parallel` is the definition's element in a loop that compiles to the machine's instructions.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/random.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/definitions/random.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class Element>
void fill(const Element& element, Tensor& y) {
  dispatch_floating(y.dtype(), "random", [&](auto tag) {
    using T = decltype(tag);
    T* to = y.data<T>();
    parallel_for(y.numel(), 4096, [&, own = element](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(own(i));
    });
  });
}

void uniform_parallel(const RandomParams& params, Tensor& y) { fill(definitions::Uniform{params, y.dtype() == DType::f64}, y); }
void normal_parallel(const RandomParams& params, Tensor& y) { fill(definitions::Normal{params}, y); }

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(uniform_parallel);
HWY_EXPORT(normal_parallel);

void register_random() {
  kernels::random_uniform.add(Device::cpu, "parallel", HWY_DYNAMIC_DISPATCH(uniform_parallel));
  kernels::random_normal.add(Device::cpu, "parallel", HWY_DYNAMIC_DISPATCH(normal_parallel));
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
