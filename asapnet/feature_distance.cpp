// Frechet and kernel distance. Declared in feature_distance.h.
#define EIGEN_DONT_PARALLELIZE  // equal bits for any number of threads
#include "asapnet/feature_distance.h"

#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>

#include "tensor/error.h"

namespace asap::asapnet {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Rows = Eigen::Map<const Matrix>;

Rows rows_of(const Tensor& x) {
  ASAP_CHECK(x.dtype() == DType::f64 && x.rank() == 2 && x.is_contiguous() && x.size(0) >= 2,
             "distance of features: expected f64 (n,d) of at least two pictures, got ", x.shape());
  return {x.data<double>(), x.size(0), x.size(1)};
}

void check_columns(const Rows& x, const Rows& y) {
  ASAP_CHECK(x.cols() == y.cols(), "distance of features: expected equal dimensions, got ", x.cols(), " and ",
             y.cols());
}

// A with A^T A = the covariance, of at most d rows.
Matrix covariance_factor(const Rows& x) {
  const Eigen::RowVectorXd mean = x.colwise().mean();
  Matrix centred = (x.rowwise() - mean) / std::sqrt(static_cast<double>(x.rows() - 1));
  if (x.rows() <= x.cols()) return centred;
  const Eigen::HouseholderQR<Matrix> qr(centred);
  return qr.matrixQR().topRows(x.cols()).triangularView<Eigen::Upper>();
}

// The sum of (x.y / d + 1)^3 over all pairs, without those of a row with itself if `proper`. A few rows of x at a time.
double kernel_sum(const Rows& x, const Rows& y, bool proper) {
  constexpr Eigen::Index kRows = 128;
  double sum = 0;
  for (Eigen::Index first = 0; first < x.rows(); first += kRows) {
    const Eigen::Index count = std::min(kRows, x.rows() - first);
    Matrix k = x.middleRows(first, count) * y.transpose() / static_cast<double>(x.cols());
    k = (k.array() + 1).cube();
    if (proper) k.diagonal(first).setZero();
    sum += k.sum();
  }
  return sum;
}

}  // namespace

// Sx = A^T A and Sy = B^T B with the centred features A, B. The eigenvalues of Sx Sy are the squared singular values of
// A B^T, so that tr (Sx Sy)^(1/2) is their sum: no square root of a matrix, and nothing is lost where there are fewer
// pictures than dimensions and the covariances are singular.
double frechet_distance(const Tensor& x, const Tensor& y) {
  const Rows p = rows_of(x), q = rows_of(y);
  check_columns(p, q);
  const Matrix a = covariance_factor(p), b = covariance_factor(q);
  const Eigen::MatrixXd product = a * b.transpose();
  const double cross = Eigen::BDCSVD<Eigen::MatrixXd>(product).singularValues().sum();
  const double means = (p.colwise().mean() - q.colwise().mean()).squaredNorm();
  return means + a.squaredNorm() + b.squaredNorm() - 2 * cross;
}

double kernel_distance(const Tensor& x, const Tensor& y) {
  const Rows p = rows_of(x), q = rows_of(y);
  check_columns(p, q);
  const auto n = static_cast<double>(p.rows()), m = static_cast<double>(q.rows());
  return kernel_sum(p, p, true) / (n * (n - 1)) + kernel_sum(q, q, true) / (m * (m - 1)) -
         2 * kernel_sum(p, q, false) / (n * m);
}

}  // namespace asap::asapnet
