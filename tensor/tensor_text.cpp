// A tensor as text. Declared in tensor.h.
#include <algorithm>
#include <iomanip>

#include "tensor/tensor.h"

namespace asap {
namespace {

constexpr int64_t kShownWhole = 1000, kEdge = 3;  // numpy's threshold and edgeitems

// The places along a dimension that are shown; -1 stands for those between.
std::vector<int64_t> shown_places(int64_t size, bool whole) {
  std::vector<int64_t> places;
  for (int64_t i = 0; i < size; ++i) {
    const bool edge = whole || i < kEdge || i >= size - kEdge;
    if (!edge) i = size - kEdge - 1;
    places.push_back(edge ? i : -1);
  }
  return places;
}

class Printer {
 public:
  Printer(std::ostream& out, const Tensor& x) : out_(out), whole_(x.numel() <= kShownWhole) {
    visit(x, [this](double value) { width_ = std::max(width_, str(value).size()); });
  }
  // `indent` columns stand before the opening bracket.
  void print(const Tensor& x, size_t indent) {
    if (x.rank() == 0) {
      out_ << std::setw(static_cast<int>(width_)) << str(x.item());
      return;
    }
    const std::string gap =
        x.rank() == 1 ? ", "
                      : "," + std::string(static_cast<size_t>(x.rank() - 1), '\n') + std::string(indent + 1, ' ');
    const char* before = "";
    out_ << '[';
    for (const int64_t i : shown_places(x.size(0), whole_)) {
      out_ << before;
      before = gap.c_str();
      if (i < 0) {
        out_ << "...";
      } else {
        print(x.select(0, i), indent + 1);
      }
    }
    out_ << ']';
  }

 private:
  template <class Visit>
  void visit(const Tensor& x, const Visit& see) const {
    if (x.rank() == 0) return see(x.item());
    for (const int64_t i : shown_places(x.size(0), whole_)) {
      if (i >= 0) visit(x.select(0, i), see);
    }
  }

  std::ostream& out_;
  bool whole_;
  size_t width_ = 0;  // of the widest number
};

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& x) {
  if (!x.defined()) return out << "undefined tensor";
  out << "tensor " << x.shape() << ' ' << x.dtype() << ' ' << x.device() << '\n';
  const Tensor host = x.to(Device::cpu);
  Printer(out, host).print(host, 0);
  return out;
}

}  // namespace asap
