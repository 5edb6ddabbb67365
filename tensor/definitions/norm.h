// Instance and batch norm with their activation, and the gradients (Ioffe & Szegedy 2015); instance norm of a convolution.
// Contract: kernels.h. Next: pad.h.
#pragma once

#include <cmath>

#include "tensor/definitions/conv2d.h"
#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// Which elements of x [N,C,...] share a statistic: group s is one plane of one picture, or, where there are as many groups as
// channels, a channel's planes in all pictures. Its channel is s % channels.
struct NormGroups {
  int64_t channels, plane;  // plane: elements of one channel of one picture
  int64_t count, planes;    // groups; planes of each
  NormGroups(const Tensor& x, const Tensor& mean)
      : channels(x.size(1)),
        plane(x.numel() / (x.size(0) * x.size(1))),
        count(mean.numel()),
        planes(x.size(0) * channels / count) {}
  ASAP_HOST_DEVICE int64_t size() const { return planes * plane; }
  // Where plane k of group s begins; element j of group s; the group of element i. Elements count in row-major order.
  ASAP_HOST_DEVICE int64_t start(int64_t s, int64_t k) const { return (k * count + s) * plane; }
  ASAP_HOST_DEVICE int64_t at(int64_t s, int64_t j) const { return start(s, j / plane) + j % plane; }
  ASAP_HOST_DEVICE int64_t of(int64_t i) const { return i / plane % count; }
};

struct NormStatistics {
  View x, mean, rstd;
  NormGroups groups;
  double eps;

  ASAP_HOST_DEVICE void operator()(int64_t s) const {
    const auto size = static_cast<double>(groups.size());
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < groups.size(); ++j) sum += x[groups.at(s, j)];
    for (int64_t j = 0; j < groups.size(); ++j) {
      const double difference = x[groups.at(s, j)] - sum / size;
      squares += difference * difference;
    }
    mean.set(s, sum / size);
    rstd.set(s, 1 / std::sqrt(squares / size + eps));
  }
};

// y = act(gamma * xhat + beta), xhat = (x - mean) * rstd.
struct NormForward {
  View x, gamma, beta, mean, rstd;
  NormGroups groups;
  double slope;

  ASAP_HOST_DEVICE double xhat(int64_t i) const { return (x[i] - mean[groups.of(i)]) * rstd[groups.of(i)]; }
  ASAP_HOST_DEVICE double scale(int64_t s) const { return gamma.defined() ? gamma[s % groups.channels] : 1; }
  ASAP_HOST_DEVICE double before_activation(int64_t i) const {
    const int64_t s = groups.of(i);
    return scale(s) * xhat(i) + (beta.defined() ? beta[s % groups.channels] : 0);
  }
  ASAP_HOST_DEVICE double operator()(int64_t i) const { return activate(before_activation(i), slope); }
};

// The gradient at gamma * xhat + beta: u = act'(.) * dy.
struct NormCotangent {
  NormForward forward;
  View dy;
  ASAP_HOST_DEVICE double operator()(int64_t i) const {
    return forward.before_activation(i) > 0 ? dy[i] : forward.slope * dy[i];
  }
};

// sums [2,groups]: of u, of u * xhat.
struct NormGradientSums {
  NormCotangent u;
  View sums;

  ASAP_HOST_DEVICE void operator()(int64_t s) const {
    const NormGroups& groups = u.forward.groups;
    double sum = 0, with_xhat = 0;
    for (int64_t j = 0; j < groups.size(); ++j) {
      const int64_t i = groups.at(s, j);
      sum += u(i);
      with_xhat += u(i) * u.forward.xhat(i);
    }
    sums.set(s, sum);
    sums.set(groups.count + s, with_xhat);
  }
};

// dx = gamma * rstd * (u - mean(u) - xhat * mean(u * xhat)).
struct NormInputGrad {
  NormCotangent u;
  View sums;

  ASAP_HOST_DEVICE double operator()(int64_t i) const {
    const NormForward& f = u.forward;
    const int64_t s = f.groups.of(i);
    const auto size = static_cast<double>(f.groups.size());
    return f.scale(s) * f.rstd[s] * (u(i) - sums(0, s) / size - f.xhat(i) * (sums(1, s) / size));
  }
};

// dbeta = the sum of u over the channel's groups, dgamma that of u * xhat: rows 0 and 1 of `sums`.
struct NormParameterGrad {
  View sums;
  int64_t row, channels;

  ASAP_HOST_DEVICE double operator()(int64_t channel) const {
    double sum = 0;
    for (int64_t s = channel; s < sums.size(1); s += channels) sum += sums(row, s);
    return sum;
  }
};

template <class Run>
void add_norm(Device device) {
  kernels::norm_forward.add_definition(device, [](const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                                  const NormParams& p, Tensor& y, Tensor& mean, Tensor& rstd) {
    const NormGroups groups(x, mean);
    Run::lines(groups.count, NormStatistics{x, mean, rstd, groups, p.eps});
    Run::each(y, NormForward{x, gamma, beta, mean, rstd, groups, p.activation_slope});
  });
  kernels::norm_backward.add_definition(device, [](const Tensor& x, const Tensor& gamma, const Tensor& beta,
                                                   const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                                                   const NormParams& p, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
    const NormGroups groups(x, mean);
    const NormCotangent u{{x, gamma, beta, mean, rstd, groups, p.activation_slope}, dy};
    const Tensor sums = Tensor::empty({2, groups.count}, DType::f64, x.device());
    Run::lines(groups.count, NormGradientSums{u, sums});
    Run::each(dx, NormInputGrad{u, sums});
    if (dgamma.defined()) Run::each(dgamma, NormParameterGrad{sums, 1, groups.channels});
    if (dbeta.defined()) Run::each(dbeta, NormParameterGrad{sums, 0, groups.channels});
  });
  kernels::conv2d_instance_norm.add_definition(
      device, [](const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& conv_params,
                 const NormParams& p, Tensor& y) {
        const auto scratch = [&](const Shape& shape) { return Tensor::empty(shape, DType::f64, y.device()); };
        const Shape statistics{y.size(0), y.size(1)};
        const Tensor h = scratch(y.shape()), mean = scratch(statistics), rstd = scratch(statistics);
        const NormGroups groups(y, mean);
        Run::each(h, Conv2dForward{x, w, {}, conv_params});
        Run::lines(groups.count, NormStatistics{h, mean, rstd, groups, p.eps});
        Run::each(y, NormForward{h, gamma, beta, mean, rstd, groups, p.activation_slope});
      });
}

}  // namespace asap::definitions
