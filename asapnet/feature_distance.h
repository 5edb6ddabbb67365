// How far two sets of pictures are apart, by the features of each: f64 [n,d] and [m,d] on the CPU, one picture a row.
// The numbers depend on the network behind the features and on n and m: they compare only where these are equal.
// docs/evaluate.md says more. Computed by one thread in one order.
#pragma once

#include "tensor/tensor.h"

namespace asap::asapnet {

// Frechet distance (Heusel et al. 2017) of the normal distributions with the sets' means and unbiased covariances:
// |mx - my|^2 + tr(Sx + Sy - 2 (Sx Sy)^(1/2)). Biased upwards, the more the fewer pictures; more in docs/evaluate.md.
// asap::Error unless both have two rows and equal columns.
double frechet_distance(const Tensor& x, const Tensor& y);

// Squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, unbiased (Binkowski et al. 2018); may be negative.
double kernel_distance(const Tensor& x, const Tensor& y);

}  // namespace asap::asapnet
