// A training step on several cards, on paper: what it computes, what it sends, and how much of that the backward pass hides.
// docs/scaling.md has the formulas and where the constants come from. Seconds and bytes throughout.
#pragma once

#include <cstdint>
#include <vector>

namespace asap::bench {

// A step of a message costs its latency; bandwidth is of one card, each way.
struct Link {
  double latency = 0, bandwidth = 1;
};

// Nodes of up to node_cards cards: inside a node one link, between nodes another.
struct Cluster {
  int64_t node_cards = 8;
  Link inside, between;
  double launch = 0;  // of one collective, on more than one card
};

// Sum of `bytes` over all cards: reduce-scatter inside each node, sum of each card's part over the nodes by a ring or by trees, whichever
// is sooner, all-gather inside. `cards` is at most node_cards or a multiple of it. Nothing for one card.
double all_reduce_seconds(const Cluster& cluster, int64_t cards, double bytes);

// One optimisation step of one network.
struct Pass {
  double before = 0;            // until the network's first gradient can be there: forward passes, and backward through what comes after it
  double backward = 0;          // of the network
  double after = 0;             // of the optimiser, which needs the sums
  std::vector<double> buckets;  // bytes, in the order of the backward pass; each is whole when its part of the backward pass is done
};

struct StepTime {
  double compute = 0;
  double sums = 0;     // all collectives, one behind the other
  double exposed = 0;  // what of them no backward pass hides
  double waiting = 0;  // for the slowest card
  double total() const { return compute + exposed + waiting; }
};

// jitter: standard deviation of one card's time for a step, as a share of it. The slowest of N takes sqrt(2 ln N) of it longer, where
// they are independent and normal.
StepTime step_time(const Cluster& cluster, int64_t cards, const std::vector<Pass>& passes, double jitter = 0);

// Parameters' bytes, in the order of registration, in buckets of at most `most` bytes, filled from the last one (nn/gradient_buckets.h).
std::vector<double> buckets_of(const std::vector<double>& parameters, double most);

}  // namespace asap::bench
