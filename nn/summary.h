// A module as text: its tree, and what each layer makes of an example and costs. Next: profiler.h, for the time it takes.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "nn/module.h"

namespace asap::nn {

// The tree, a line for each module: name, class, and the shapes of its own parameters and buffers.
std::ostream& operator<<(std::ostream& out, const Module& module);

// What an example shows of a layer.
struct LayerSummary {
  std::string path = {}, type = {};  // path from the summarised layer on; "" is that layer
  Shape output = {};                 // of its last call
  int64_t calls = 0;
  int64_t parameters = 0;  // in it and below it
  int64_t macs = 0;        // multiply-accumulates of products and convolutions, in it and below it, in all calls
};

// Layers in the order of the tree; those that the example did not come to have no calls.
std::vector<LayerSummary> summarize(Layer& layer, const Variable& example);
// The same as a table, whose first line is the whole layer.
std::string summary(Layer& layer, const Variable& example);

}  // namespace asap::nn
