// What memory a training run needs, before it begins: two of its steps are done dry. All ops of forward pass, backward pass
// and optimiser are called as in training and allocate what they return, but the kernels do nothing, so that no page of it is
// touched. Thus the estimate follows from the code that trains, whatever the options. It lacks what kernels allocate for
// themselves. Used by memory_advice.h.
#pragma once

#include "train/options/options.h"

namespace asap::train {

// Bytes. The first three are what tensors hold at the peak of a step (the peak of memory_use).
struct MemoryEstimate {
  double weights = 0;      // of all networks, the perceptual one too, and the average
  double optimizer = 0;    // gradients and Adam's moments
  double activations = 0;  // the rest: what forward and backward pass keep, the batch
  double reuse = 0;  // freed blocks that the allocator keeps, of which it gives back what another allocation lacks
  double peak() const { return weights + optimizer + activations; }
  double total() const { return peak() + reuse; }
};

// The widths of the perceptual network are those of the file --vgg, without one those of VGG-19. Options need not be resolved.
// Not while another thread computes. std::bad_alloc where the process may not even have the addresses (ulimit -v).
MemoryEstimate estimate_memory(const Options& options);

}  // namespace asap::train
