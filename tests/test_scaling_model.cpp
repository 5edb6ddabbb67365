// The model of a training step on several cards (bench/scaling_model.h), against numbers worked out by hand.
#include <doctest/doctest.h>

#include <cmath>

#include "bench/scaling_model.h"
#include "tests/support/scratch.h"

using namespace asap;
using namespace asap::bench;
using doctest::Approx;

namespace {

// 100 bytes a second and 1 s a step inside a node of 4, 10 bytes a second and 5 s between.
const Cluster kCluster{.node_cards = 4, .inside = {1, 100}, .between = {5, 10}, .launch = 0.5};

}  // namespace

TEST_CASE("a sum's seconds: ring inside a node, then over the nodes") {
  CHECK(all_reduce_seconds(kCluster, 1, 1000) == 0);
  CHECK(all_reduce_seconds(kCluster, 2, 1000) == Approx(0.5 + 2 * 1 + 10));      // half of the bytes, there and back
  CHECK(all_reduce_seconds(kCluster, 4, 1000) == Approx(0.5 + 6 * 1 + 15));      // 2 * 3/4 * 1000 bytes
  CHECK(all_reduce_seconds(kCluster, 8, 1000) == Approx(21.5 + 2 * 5 + 25));     // 250 bytes of each card, ring of two
  CHECK(all_reduce_seconds(kCluster, 4 * 64, 1) == Approx(0.5 + 6 + 0.015 + 12 * 5 + 0.05));  // trees: 6 levels up and down, not 63 steps
  CHECK(tests::contains(tests::error_of([] { all_reduce_seconds(kCluster, 6, 1); }), "whole nodes of 4 cards, got 6"));
}

TEST_CASE("a bucket is sent when it is whole and the one before is through") {
  const Cluster link{.node_cards = 2, .inside = {0, 1}, .between = {}};  // a sum over two cards takes as many seconds as it has bytes
  const auto exposed = [&](const Pass& pass) { return step_time(link, 2, {pass}).exposed; };
  CHECK(exposed(Pass{3, 10, 1, {4}}) == Approx(4));       // one bucket hides nothing
  CHECK(exposed({0, 10, 0, {2, 2}}) == Approx(2));                             // the first is through before the second is whole
  CHECK(exposed({0, 10, 0, {9, 1}}) == Approx(9));                             // ready at 9, sent until 18, then 1
  CHECK(exposed({0, 0, 0, {4, 4}}) == Approx(8));                              // nothing to hide behind
  CHECK(exposed({0, 10, 0, {}}) == 0);
  const StepTime step = step_time(link, 2, {Pass{3, 10, 1, {4}}, Pass{2, 5, 0, {1, 1}}});
  CHECK(step.compute == Approx(21));
  CHECK(step.sums == Approx(6));
  CHECK(step.exposed == Approx(5));
  CHECK(step.total() == Approx(26));
}

TEST_CASE("one card sends nothing and waits for nobody; more cards, bytes or latency never take less") {
  const std::vector<Pass> passes{{.before = 1, .backward = 2, .after = 0.1, .buckets = {50, 50, 20}}};
  const StepTime one = step_time(kCluster, 1, passes, 0.1);
  CHECK(one.sums == 0);
  CHECK(one.exposed == 0);
  CHECK(one.waiting == 0);
  double last = one.total();
  for (const int64_t cards : {2, 4, 8, 16, 64, 512}) {
    CAPTURE(cards);
    const double total = step_time(kCluster, cards, passes, 0.1).total();
    CHECK(total > last);
    CHECK(all_reduce_seconds(kCluster, cards, 200) > all_reduce_seconds(kCluster, cards, 100));
    last = total;
  }
  CHECK(step_time(kCluster, 8, passes, 0.1).waiting == Approx(0.1 * 3.1 * std::sqrt(2 * std::log(8))));
}

TEST_CASE("buckets are filled from the last parameter") {
  CHECK(buckets_of({5, 1, 2, 3}, 5) == std::vector<double>{5, 1, 5});  // 3+2, 1, 5
  CHECK(buckets_of({5, 1, 2, 30}, 8) == std::vector<double>{30, 8});   // a larger one is alone
}
