// Registers the convolution kernels of the CPU, fastest first. Next: conv2d_implicit_gemm.cpp.
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_bf16.h"
#include "tensor/cpu/conv2d_weight_grad_bf16.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/register.h"

namespace asap::cpu {
namespace {

constexpr Takes kBf16{.strided = true, .bf16 = true};
constexpr const char *kBlocks = "bf16_blocks", *kWinogradBf16 = "winograd_bf16";  // run where they pay, elsewhere by force alone

}  // namespace

void register_conv2d() {
  auto& forward = kernels::conv2d_forward;
  forward.add(Device::cpu, kBlocks, conv2d_forward_bf16_blocks,
              [](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
                return takes_bf16_blocks(x, w, p, y) && (bf16_blocks_pay(x, w, p, y, Pass::forward) || kernels::conv2d_forward.forced() == kBlocks);
              },
              kBf16);
  forward.add(Device::cpu, kWinogradBf16, conv2d_forward_winograd_bf16,
              [](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
                return takes_winograd_bf16(x, w, p, y) && (winograd_bf16_pays(y) || kernels::conv2d_forward.forced() == kWinogradBf16);
              },
              kBf16);
  forward.add(Device::cpu, "winograd", conv2d_forward_winograd,
              [](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) { return takes_winograd(x, w, p, y, Pass::forward); },
              kBf16);
  forward.add(Device::cpu, "implicit_gemm", conv2d_forward_implicit_gemm);

  auto& input_grad = kernels::conv2d_input_grad;
  input_grad.add(Device::cpu, kBlocks, conv2d_input_grad_bf16_blocks,
                 [](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
                   return takes_bf16_blocks(dx, w, p, dy) && (bf16_blocks_pay(dx, w, p, dy, Pass::input_grad) || kernels::conv2d_input_grad.forced() == kBlocks);
                 },
                 kBf16);
  input_grad.add(Device::cpu, kWinogradBf16, conv2d_input_grad_winograd_bf16,
                 [](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
                   return takes_winograd_bf16(dx, w, p, dy) && (winograd_bf16_pays(dx) || kernels::conv2d_input_grad.forced() == kWinogradBf16);
                 },
                 kBf16);
  input_grad.add(Device::cpu, "winograd", conv2d_input_grad_winograd,
                 [](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) { return takes_winograd(dx, w, p, dy, Pass::input_grad); },
                 kBf16);
  input_grad.add(Device::cpu, "implicit_gemm", conv2d_input_grad_implicit_gemm);

  auto& weight_grad = kernels::conv2d_weight_grad;
  weight_grad.add(
      Device::cpu, kBlocks, conv2d_weight_grad_bf16_blocks,
      [](const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
        const bool pays = has_bf16_products() && !winograd_pays(conv2d_sizes(x, dw, p, dy), p, DType::bf16, Pass::weight_grad);
        return takes_weight_grad_bf16_blocks(x, dy, p, dw) && (pays || kernels::conv2d_weight_grad.forced() == kBlocks);
      },
      {.bf16 = true});
  weight_grad.add(
      Device::cpu, "winograd", conv2d_weight_grad_winograd,
      [](const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
        return x.dtype() != DType::f64 && x.dtype() == dy.dtype() && winograd_pays(conv2d_sizes(x, dw, p, dy), p, x.dtype(), Pass::weight_grad);
      },
      {.bf16 = true});
  weight_grad.add(Device::cpu, "implicit_gemm", conv2d_weight_grad_implicit_gemm);
}

}  // namespace asap::cpu
