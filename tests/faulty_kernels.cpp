// A kernel library whose kernels are wrong in each way that `asapnet bench` is to survive and to tell of (test_kernel_kit.cpp).
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "tensor/kernel_library.h"

namespace {

using namespace asap;

// y = x, then what is wrong with it.
template <class Then>
auto copy_and(const Then& then) {
  return [then](const Tensor& x, Tensor& y) {
    for (int64_t i = 0; i < x.numel(); ++i) y.data<float>()[i] = x.data<float>()[i];
    then(y);
  };
}

bool takes(const Tensor& x, const Tensor& y) {
  return x.dtype() == DType::f32 && y.dtype() == DType::f32 && x.is_contiguous() && y.is_contiguous() && x.numel() > 1;
}

}  // namespace

ASAP_REGISTER_KERNELS() {
  kernels::copy.add(Device::cpu, "right", copy_and([](Tensor&) {}), takes);
  kernels::copy.add(Device::cpu, "wrong", copy_and([](Tensor& y) { y.data<float>()[1] += 1; }), takes);
  kernels::copy.add(Device::cpu, "too_far", copy_and([](Tensor& y) { y.data<float>()[y.numel()] = 0; }), takes);
  kernels::copy.add(Device::cpu, "crashes", copy_and([](Tensor&) { std::abort(); }), takes);
  kernels::copy.add(Device::cpu, "hangs", copy_and([](Tensor&) { std::this_thread::sleep_for(std::chrono::hours(1)); }), takes);
  kernels::copy.add(Device::cpu, "throws", copy_and([](Tensor&) { throw std::runtime_error("no luck today"); }), takes);
}
