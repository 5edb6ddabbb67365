// Pooling beside its gradients. The average's keeps only x's shape. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

Variable avg_pool2d(const Variable& x, const Pool2dParams& params) {
  return make_result("avg_pool2d", avg_pool2d(x.value(), params), x, [params, x_shape = x.shape()](const Tensor& dy) {
    return avg_pool2d_backward(dy, x_shape, params);
  });
}

// Windows of one size are plain pooling. Others are a product with the share that each pixel has in each window, axis by axis.
Variable adaptive_avg_pool2d(const Variable& x, Size2 size) {
  ASAP_CHECK(x.rank() == 4 && x.size(2) > 0 && x.size(3) > 0 && size.h > 0 && size.w > 0,
             "adaptive_avg_pool2d: expected pictures with pixels and a positive size, got shape ", x.shape(), " and (", size.h,
             ",", size.w, ")");
  const int64_t H = x.size(2), W = x.size(3);
  if (H % size.h == 0 && W % size.w == 0) {
    const Size2 window{H / size.h, W / size.w};
    return avg_pool2d(x, {.kernel = window, .stride = window});
  }
  const auto shares = [&x](int64_t n, int64_t windows) {
    std::vector<double> values(static_cast<size_t>(windows * n));
    for (int64_t i = 0; i < windows; ++i) {
      const int64_t begin = i * n / windows, end = ((i + 1) * n + windows - 1) / windows;
      for (int64_t k = begin; k < end; ++k) values[static_cast<size_t>(i * n + k)] = 1 / static_cast<double>(end - begin);
    }
    return Variable(Tensor::from(values, {windows, n}).to(x.dtype()).to(x.device()));
  };
  return matmul(matmul(shares(H, size.h), x), shares(W, size.w), false, true);
}

// The gradient of an output goes to the position its maximum came from.
Variable max_pool2d(const Variable& x, const Pool2dParams& params) {
  const MaxPoolResult result = max_pool2d(x.value(), params);
  return make_result("max_pool2d", result.y, x,
                     [params, index = Saved(result.index), x_shape = x.shape()](const Tensor& dy) {
                       return max_pool2d_backward(dy, index.get("max_pool2d"), x_shape, params);
                     });
}

}  // namespace asap
