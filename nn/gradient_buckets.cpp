// Declared in gradient_buckets.h.
#include "nn/gradient_buckets.h"

#include <chrono>

namespace asap::nn {

GradientBuckets::GradientBuckets(const NamedVariables& parameters, const World& world, DType wire, int64_t bytes)
    : world_(world), wire_(wire) {
  ASAP_CHECK(!parameters.empty(), "GradientBuckets: expected parameters, got none");
  const Tensor& first = parameters.front().second.value();
  const int64_t most = bytes / static_cast<int64_t>(size_of(first.dtype()));
  std::vector<int64_t> elements;
  places_.reserve(parameters.size());  // hooks hold their addresses
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    const Variable& parameter = p->second;
    ASAP_CHECK(parameter.dtype() == first.dtype() && parameter.device() == first.device(), "GradientBuckets: expected ", p->first,
               " to be ", first.dtype(), " on ", first.device(), " as the others, got ", parameter.dtype(), " on ", parameter.device());
    if (elements.empty() || elements.back() + parameter.numel() > most) {
      elements.push_back(0);
      buckets_.emplace_back();
    }
    places_.push_back({parameter, buckets_.size() - 1, elements.back()});
    elements.back() += parameter.numel();
    ++buckets_.back().parameters;
  }
  for (size_t i = 0; i < buckets_.size(); ++i)
    buckets_[i].sum = Tensor::zeros({elements[i]}, first.dtype(), first.device());
  for (Place& place : places_)
    hooks_.push_back(place.parameter.add_accumulated_hook([this, &place] { arrived(place); }));
}

Tensor GradientBuckets::part_of(const Place& place) const {
  return buckets_[place.bucket].sum.slice(0, place.begin, place.begin + place.parameter.numel()).reshape(place.parameter.shape());
}

void GradientBuckets::begin() {
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
  sent_ = 0;
  collecting_ = true;
}

void GradientBuckets::arrived(const Place& place) {
  if (!collecting_) return;
  part_of(place).copy_from(place.parameter.grad());
  --buckets_[place.bucket].missing;
  send_whole_ones();
}

void GradientBuckets::send_whole_ones() {
  for (; sent_ < buckets_.size() && buckets_[sent_].missing == 0; ++sent_) {
    Tensor sum = buckets_[sent_].sum;
    backend(sum.device()).beside([this, sum]() mutable { all_reduce(world_, wire_, sum); });
  }
}

// A parameter that this backward pass did not reach has what earlier ones left, or counts as zeros.
void GradientBuckets::finish() {
  const auto begin = std::chrono::steady_clock::now();
  for (const Place& place : places_) {
    if (buckets_[place.bucket].missing == 0) continue;
    const Tensor& grad = place.parameter.grad();
    if (!grad.defined()) {
      part_of(place).fill(0);
    } else {
      part_of(place).copy_from(grad);
    }
  }
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  send_whole_ones();
  collecting_ = false;
  backend(buckets_[0].sum.device()).join();
  for (Place& place : places_) {
    if (place.parameter.grad().defined()) place.parameter.set_grad(part_of(place));
  }
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace asap::nn
