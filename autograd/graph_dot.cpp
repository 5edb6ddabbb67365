// A walk over the nodes. Declared in graph_dot.h.
#include "autograd/graph_dot.h"

#include <map>
#include <sstream>

#include "autograd/node.h"

namespace asap {
namespace {

// A string of DOT: within quotes, a quote or backslash of its own has a backslash before it.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + '"';
}

class DotWriter {
 public:
  explicit DotWriter(const std::vector<std::pair<std::string, Variable>>& names) {
    for (const auto& [name, variable] : names) names_.emplace(variable.impl().get(), name + " ");
  }
  // Without recursion: a graph may be deep.
  std::string write(const Node& root) {
    out_ << "digraph {\n  rankdir=BT\n";
    id_of(root);
    while (!pending_.empty()) {
      const Node& node = *pending_.back();
      pending_.pop_back();
      for (const Edge& edge : node.inputs) {
        if (!edge.needed()) continue;
        const size_t from = edge.node ? id_of(*edge.node) : id_of(*edge.leaf);  // which declares it
        out_ << "  n" << from << " -> n" << id_of(node) << '\n';
      }
    }
    out_ << "}\n";
    return out_.str();
  }

 private:
  // Numbers count from 0 in the order of the first visit, where the node is written.
  size_t id_of(const Node& node) {
    const auto [place, is_new] = ids_.try_emplace(&node, ids_.size());
    if (is_new) {
      pending_.push_back(&node);
      declare(place->second, str(node.op, " ", node.shape), "box");
    }
    return place->second;
  }
  size_t id_of(const VariableImpl& leaf) {
    const auto [place, is_new] = ids_.try_emplace(&leaf, ids_.size());
    if (is_new) {
      const auto name = names_.find(&leaf);
      declare(place->second, str(name == names_.end() ? "" : name->second, leaf.value.shape()), "ellipse");
    }
    return place->second;
  }
  void declare(size_t id, const std::string& label, const char* shape) {
    out_ << "  n" << id << " [label=" << quoted(label) << " shape=" << shape << "]\n";
  }

  std::ostringstream out_;
  std::map<const VariableImpl*, std::string> names_;
  std::map<const void*, size_t> ids_;
  std::vector<const Node*> pending_;
};

}  // namespace

std::string graph_dot(const Variable& result, const std::vector<std::pair<std::string, Variable>>& names) {
  ASAP_CHECK(!result.is_leaf(), "graph_dot: expected the result of a recorded op, got a value without history");
  return DotWriter(names).write(*result.impl()->node);
}

}  // namespace asap
