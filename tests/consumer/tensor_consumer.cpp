// Links asap::tensor alone.
#include <cstdio>

#include "tensor/ops.h"

int main() {
  const asap::Tensor a = asap::Tensor::from<float>({1, 2, 3, 4}, {2, 2});
  const double trace_of_square = asap::sum(asap::mul(a, a.transpose(0, 1))).item();  // 1 + 2*2*3 + 16
  std::printf("%g\n", trace_of_square);
  return trace_of_square == 29 ? 0 : 1;
}
