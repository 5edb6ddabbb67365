// Sampling at a grid's positions beside its gradient. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

Variable grid_sample(const Variable& x, const Variable& grid, const GridSampleParams& params) {
  return make_result("grid_sample", grid_sample(x.value(), grid.value(), params), {x, grid},
                     [params, saved_x = Saved(x.value()), saved_grid = Saved(grid.value())](
                         const Tensor& dy, std::span<const bool> needs) -> std::vector<Tensor> {
                       GridSampleGrads grads = grid_sample_backward(saved_x.get("grid_sample"), saved_grid.get("grid_sample"),
                                                                    dy, params, needs[0], needs[1]);
                       return {std::move(grads.dx), std::move(grads.dgrid)};
                     });
}

}  // namespace asap
