// Edges of an instance map and the exact Euclidean distance transform. See instance_maps.h.
#include "train/data/instance_maps.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace asap::train {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

// out[q] = min over p of (q - p)^2 + f[p]: the lower envelope of parabolas, in one pass over n values.
// Source: Felzenszwalb, Huttenlocher: Distance Transforms of Sampled Functions, 2012, algorithm 1.
class ParabolaEnvelope {
 public:
  explicit ParabolaEnvelope(int most) : vertex_(most), from_(most + 1) {}

  void transform(const double* f, int n, double* out) {
    int last = -1;  // parabolas in the envelope, less one
    for (int q = 0; q < n; ++q) {
      if (f[q] == kFar) continue;
      while (last >= 0 && crossing(f, vertex_[last], q) <= from_[last]) --last;
      from_[last + 1] = last >= 0 ? crossing(f, vertex_[last], q) : -kFar;
      vertex_[++last] = q;
    }
    if (last < 0) {
      std::fill_n(out, n, kFar);
      return;
    }
    for (int q = 0, k = 0; q < n; ++q) {
      while (k < last && from_[k + 1] < q) ++k;
      const double d = q - vertex_[k];
      out[q] = d * d + f[vertex_[k]];
    }
  }

 private:
  // Where the parabola of vertex q begins to lie below that of p < q.
  static double crossing(const double* f, int p, int q) {
    return ((f[q] + double(q) * q) - (f[p] + double(p) * p)) / (2.0 * (q - p));
  }

  std::vector<int> vertex_;
  std::vector<double> from_;  // parabola k is lowest from from_[k] to from_[k + 1]
};

}  // namespace

std::vector<float> instance_edges(const LabelMap& instances) {
  const int width = instances.width, height = instances.height;
  std::vector<float> edges(instances.values.size(), 0.0f);
  for (int y = 0; y < height; ++y) {
    const int32_t* row = instances.row(y);
    float* out = edges.data() + size_t(y) * width;
    for (int x = 0; x + 1 < width; ++x)
      if (row[x] != row[x + 1]) out[x] = out[x + 1] = 1.0f;
    if (y + 1 == height) break;
    for (int x = 0; x < width; ++x)
      if (row[x] != row[x + width]) out[x] = out[x + width] = 1.0f;
  }
  return edges;
}

std::vector<float> instance_distance(const LabelMap& instances) {
  const int width = instances.width, height = instances.height;
  std::vector<float> distance = instance_edges(instances);
  std::vector<double> squared(distance.size());
  ParabolaEnvelope envelope(std::max(width, height));
  std::vector<double> line(std::max(width, height)), result(line.size());
  for (int x = 0; x < width; ++x) {  // along columns: 0 on edges, far elsewhere
    for (int y = 0; y < height; ++y) line[y] = distance[size_t(y) * width + x] > 0 ? 0.0 : kFar;
    envelope.transform(line.data(), height, result.data());
    for (int y = 0; y < height; ++y) squared[size_t(y) * width + x] = result[y];
  }
  const double diagonal = std::sqrt(double(width) * width + double(height) * height);
  for (int y = 0; y < height; ++y) {  // then along rows
    envelope.transform(squared.data() + size_t(y) * width, width, result.data());
    for (int x = 0; x < width; ++x) distance[size_t(y) * width + x] = float(std::min(std::sqrt(result[x]), diagonal));
  }
  return distance;
}

}  // namespace asap::train
