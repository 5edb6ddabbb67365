// Adam's step, in place (Kingma & Ba 2015, algorithm 1). `many` steps up to 96 parameters in one launch; its floor is 28 bytes
// an element: four arrays read, three written. Without m, where beta1 = 0, it is 20.
#include <algorithm>
#include <limits>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "tensor/definitions/optim.h"

namespace asap::cuda {
namespace {

// The parameters of a launch, which travel in its own arguments (4 KB at most). A block takes kChunk elements of one of them, so
// that many small parameters and one large one keep the card equally busy.
constexpr int kListed = 96, kChunk = 8192;
struct AdamList {
  const float* grad[kListed];
  float *param[kListed], *m[kListed], *v[kListed];  // m: null where none is kept
  int size[kListed], first_block[kListed];
  int count = 0, blocks = 0;
};
static_assert(sizeof(AdamList) + sizeof(AdamParams) + sizeof(AdamState*) <= 4096);

__global__ void __launch_bounds__(kBlock)
    adam_many_kernel(const __grid_constant__ AdamList list, AdamParams params, const AdamState* state) {
  if (state->goes == 0) return;
  const definitions::AdamElement<float> step(params, *state);
  const int block = static_cast<int>(blockIdx.x);
  int i = 0, end = list.count;  // the last parameter whose first block is not behind this one
  while (end - i > 1) {
    const int middle = (i + end) / 2;
    (list.first_block[middle] <= block ? i : end) = middle;
  }
  const float* grad = list.grad[i];
  float *param = list.param[i], *m = list.m[i], *v = list.v[i];
  const int begin = (block - list.first_block[i]) * kChunk, behind = min(begin + kChunk, list.size[i]);
  for (int k = begin + static_cast<int>(threadIdx.x); k < behind; k += kBlock) {
    float value = param[k], mean = m ? m[k] : 0.0f, square = v[k];
    step(grad[k], value, mean, square);
    param[k] = value;
    if (m) m[k] = mean;
    v[k] = square;
  }
}

void adam_many(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state, std::span<Tensor> values,
               std::span<Tensor> m, std::span<Tensor> v) {
  AdamList list;
  const auto flush = [&] {
    if (list.blocks > 0) {
      launch(adam_many_kernel, {static_cast<unsigned>(list.blocks), kBlock}, list, params,
             definitions::adam_state_of(state));
    }
    list.count = list.blocks = 0;
  };
  for (size_t i = 0; i < grads.size(); ++i) {
    if (values[i].numel() == 0) continue;
    const int k = list.count++;
    list.grad[k] = grads[i].data<float>();
    list.param[k] = values[i].data<float>();
    list.m[k] = params.beta1 != 0 ? m[i].data<float>() : nullptr;
    list.v[k] = v[i].data<float>();
    list.size[k] = static_cast<int>(values[i].numel());
    list.first_block[k] = list.blocks;
    list.blocks += static_cast<int>(ceil_div(list.size[k], kChunk));
    if (list.count == kListed) flush();
  }
  flush();
}

bool takes_many(std::span<const Tensor>, const AdamParams&, const Tensor&, std::span<Tensor> values, std::span<Tensor>,
                std::span<Tensor>) {
  return std::all_of(values.begin(), values.end(), [](const Tensor& x) {
    return x.dtype() == DType::f32 && x.numel() <= std::numeric_limits<int32_t>::max();
  });
}

}  // namespace

void register_optim() { kernels::adam.add(Device::cuda, "many", adam_many, takes_many); }

}  // namespace asap::cuda
