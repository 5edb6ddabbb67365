// The graph below a Variable in the DOT language, for Graphviz: dot -Tsvg graph.dot > graph.svg
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "autograd/variable.h"

namespace asap {

// A box for each op, with the shape of its result, and an ellipse for each leaf that gets a gradient, with its shape and,
// where `names` (such as a module's named_parameters()) has it, its name. Arrows point from inputs to results; what needs no
// gradient is not in the graph. asap::Error if `result` was not recorded.
std::string graph_dot(const Variable& result, const std::vector<std::pair<std::string, Variable>>& names = {});

}  // namespace asap
