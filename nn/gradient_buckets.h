// GradientBuckets: the sums of the ranks' gradients (World, tensor/kernels.h), sent in buckets of some megabytes while the rest of the
// backward pass is still at work (Li et al., PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020).
// Buckets are filled by the parameters from the last to the first, as a backward pass comes to them, and are sent in one order on
// all ranks: sums are the same bits for the same number of ranks. Used by asapnet/gan_step.cpp.
#pragma once

#include <vector>

#include "nn/module.h"
#include "tensor/kernels.h"

namespace asap::nn {

class GradientBuckets {
 public:
  // Parameters of one dtype and device, f32 or f64, which stay where they are. wire: their dtype, or bf16 (AllReduceFn). bytes: of
  // a bucket, at most, but for one of a single parameter.
  GradientBuckets(const NamedVariables& parameters, const World& world, DType wire, int64_t bytes = kBytes);
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // Before the last backward pass of a step: what parameters have for a gradient after it goes into the sum.
  void begin();
  // After it: waits, and every parameter that has a gradient now has the sum of the ranks', until the next begin().
  void finish();

  size_t count() const { return buckets_.size(); }
  // Seconds of all finish() calls: what the backward passes did not hide.
  double waited() const { return waited_; }

  static constexpr int64_t kBytes = int64_t{8} << 20;  // docs/scaling.md

 private:
  struct Place {
    Variable parameter;
    size_t bucket = 0;
    int64_t begin = 0;  // of its elements in the bucket
  };
  struct Bucket {
    Tensor sum;  // [elements of its parameters]
    int64_t parameters = 0, missing = 0;
  };
  void arrived(const Place& place);
  void send_whole_ones();
  Tensor part_of(const Place& place) const;

  const World world_;
  const DType wire_;
  std::vector<Place> places_;
  std::vector<Bucket> buckets_;
  std::vector<HookHandle> hooks_;
  size_t sent_ = 0;  // buckets of this step
  bool collecting_ = false;
  double waited_ = 0;
};

}  // namespace asap::nn
