// Adam's step, in place, in one pass over memory, which is all the time it takes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/optim.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/definitions/optim.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t kGrain = 16384;  // below it a second thread costs more than it brings

// m is null where none is kept. ASAP_INDEPENDENT: the arrays of a step are different tensors.
template <class T>
void adam_run(const definitions::AdamElement<T>& step, const T* grad, T* param, T* m, T* v, int64_t begin,
              int64_t end) {
  if (m) {
    ASAP_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) step(grad[i], param[i], m[i], v[i]);
  } else {
    ASAP_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) {
      T mean = 0;
      step(grad[i], param[i], mean, v[i]);
    }
  }
}

// A core works through one parameter after the other; only devices gain by taking them together.
void adam_vectorized(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state,
                     std::span<Tensor> values, std::span<Tensor> m, std::span<Tensor> v) {
  const AdamState& now = *definitions::adam_state_of(state);
  if (now.goes == 0) return;
  dispatch_floating(values[0].dtype(), "adam", [&](auto zero) {
    using T = decltype(zero);
    const definitions::AdamElement<T> step(params, now);
    for (size_t i = 0; i < grads.size(); ++i) {
      const T* grad = grads[i].data<T>();
      T *param = values[i].data<T>(), *mean = params.beta1 != 0 ? m[i].data<T>() : nullptr, *square = v[i].data<T>();
      parallel_for(values[i].numel(), kGrain,
                   [&](int64_t begin, int64_t end) { adam_run(step, grad, param, mean, square, begin, end); });
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(adam_vectorized);

void register_optim() {
  kernels::adam.add(Device::cpu, "vectorized", HWY_DYNAMIC_DISPATCH(adam_vectorized),
                    [](std::span<const Tensor>, const AdamParams&, const Tensor&, std::span<Tensor> values,
                       std::span<Tensor>, std::span<Tensor>) { return values[0].dtype() != DType::bf16; });
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
