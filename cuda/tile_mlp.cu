// The variants of the per-tile MLP, fastest first, and the tensors that they take. Next: tile_mlp.cuh; tile_mlp_fused.cu.
#include "cuda/register.h"
#include "cuda/tile_mlp.cuh"

namespace asap::cuda {
namespace {

bool in_rows(const Tensor& x, DType dtype) { return x.dtype() == dtype && x.is_contiguous(); }

}  // namespace

bool takes_tile_mlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& y) {
  return (!labels.defined() || labels.is_contiguous()) && (!x.defined() || in_rows(x, DType::f32)) &&
         phi.dtype() != DType::f64 &&
         (in_rows(y, DType::f32) || in_rows(y, DType::u8));
}

void add_tile_mlp_forward(const char* variant,
                          void (*run)(const MlpInput&, const Tensor& phi, const TileMlpSizes&, Tensor& y),
                          bool (*fits)(const TileMlpSizes&)) {
  kernels::tile_mlp_forward.add(
      Device::cuda, variant,
      [run](const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
        run(MlpInput(labels, x), phi, TileMlpSizes(labels, x, params), y);
      },
      [fits](const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, const Tensor& y) {
        return takes_tile_mlp(labels, x, phi, y) && fits(TileMlpSizes(labels, x, params));
      },
      {.strided = true, .bf16 = true});
}

void register_tile_mlp() {
  add_tile_mlp_wgmma();
  add_tile_mlp_fused();
  add_tile_mlp_backward();
}

}  // namespace asap::cuda
