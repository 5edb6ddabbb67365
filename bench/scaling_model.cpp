// Declared in scaling_model.h.
#include "bench/scaling_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/error.h"

namespace asap::bench {

double all_reduce_seconds(const Cluster& cluster, int64_t cards, double bytes) {
  ASAP_CHECK(cards >= 1 && (cards <= cluster.node_cards || cards % cluster.node_cards == 0), "all_reduce_seconds: expected whole nodes of ",
             cluster.node_cards, " cards, got ", cards, " cards");
  if (cards == 1) return 0;
  const int64_t in_node = std::min(cards, cluster.node_cards);
  const auto g = static_cast<double>(in_node), nodes = static_cast<double>(cards / in_node);
  double seconds = cluster.launch + 2 * (g - 1) * cluster.inside.latency + 2 * (g - 1) / g * bytes / cluster.inside.bandwidth;
  if (nodes == 1) return seconds;
  const double part = bytes / g / cluster.between.bandwidth;
  const double ring = 2 * (nodes - 1) * cluster.between.latency + 2 * (nodes - 1) / nodes * part;
  const double trees = 2 * std::ceil(std::log2(nodes)) * cluster.between.latency + 2 * part;
  return seconds + std::min(ring, trees);
}

StepTime step_time(const Cluster& cluster, int64_t cards, const std::vector<Pass>& passes, double jitter) {
  StepTime time;
  for (const Pass& pass : passes) {
    const double all = std::accumulate(pass.buckets.begin(), pass.buckets.end(), 0.0);
    double done = 0, sent = 0;  // of the backward pass's bytes; when the last sum was there, from the backward pass's beginning
    for (const double bytes : pass.buckets) {
      done += bytes;
      const double seconds = all_reduce_seconds(cluster, cards, bytes);
      sent = std::max(sent, pass.backward * done / all) + seconds;
      time.sums += seconds;
    }
    time.exposed += std::max(0.0, sent - pass.backward);
    time.compute += pass.before + pass.backward + pass.after;
  }
  time.waiting = jitter * time.compute * std::sqrt(2 * std::log(static_cast<double>(cards)));
  return time;
}

std::vector<double> buckets_of(const std::vector<double>& parameters, double most) {
  std::vector<double> buckets;
  for (auto bytes = parameters.rbegin(); bytes != parameters.rend(); ++bytes) {
    if (buckets.empty() || buckets.back() + *bytes > most) buckets.push_back(0);
    buckets.back() += *bytes;
  }
  return buckets;
}

}  // namespace asap::bench
