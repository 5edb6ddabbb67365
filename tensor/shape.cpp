// Shape arithmetic: sizes, strides, broadcasting. Declared in shape.h.
#include "tensor/shape.h"

#include <algorithm>

namespace asap {

Shape::Shape(const int64_t* first, const int64_t* last) {
  for (; first != last; ++first) push_back(*first);
}

int Shape::index(int d) const {
  const int i = d < 0 ? d + rank_ : d;
  ASAP_CHECK(i >= 0 && i < rank_, "Shape: dimension ", d, " is out of range for ", str());
  return i;
}

int64_t Shape::numel() const {
  int64_t n = 1;
  bool empty = false;
  for (int64_t size : *this) {
    empty |= size == 0;
    ASAP_CHECK(size == 0 || !__builtin_mul_overflow(n, size, &n), "Shape: ", *this,
               ": the sizes multiply to more than 63 bits hold");
  }
  return empty ? 0 : n;
}

void Shape::push_back(int64_t size) {
  ASAP_CHECK(rank_ < kMaxRank, "Shape: at most ", kMaxRank, " dimensions");
  ASAP_CHECK(size >= 0, "Shape: a size is negative: ", size);
  sizes_[rank_++] = size;
}

void Shape::insert(int d, int64_t size) {
  ASAP_CHECK(d >= 0 && d <= rank_, "Shape: cannot insert at ", d, " into ", str());
  push_back(size);
  std::rotate(sizes_.begin() + d, sizes_.begin() + rank_ - 1, sizes_.begin() + rank_);
}

void Shape::erase(int d) {
  const int i = index(d);
  std::copy(sizes_.begin() + i + 1, sizes_.begin() + rank_, sizes_.begin() + i);
  --rank_;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

std::string Shape::str() const {
  std::string text = "(";
  for (int d = 0; d < rank_; ++d) text += (d ? "," : "") + std::to_string(sizes_[d]);
  return text + ")";
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t step = 1;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

int64_t add_sizes(int64_t a, int64_t b, const char* op) {
  int64_t sum = 0;
  ASAP_CHECK(!__builtin_add_overflow(a, b, &sum), op, ": a size of ", a, " + ", b, " is more than 63 bits hold");
  return sum;
}

int64_t multiply_sizes(int64_t a, int64_t b, const char* op) {
  int64_t product = 0;
  ASAP_CHECK(!__builtin_mul_overflow(a, b, &product), op, ": a size of ", a, " * ", b, " is more than 63 bits hold");
  return product;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  Shape result = longer;
  for (int d = 1; d <= shorter.rank(); ++d) {
    const int64_t m = longer[-d], n = shorter[-d];
    ASAP_CHECK(m == n || m == 1 || n == 1, op, ": shapes ", a, " and ", b, " do not broadcast");
    result[-d] = m == 1 ? n : m;
  }
  return result;
}

int normalize_dim(int dim, int rank, const char* op) {
  const int d = dim < 0 ? dim + rank : dim;
  ASAP_CHECK(d >= 0 && d < rank, op, ": dimension ", dim, " is out of range for rank ", rank);
  return d;
}

}  // namespace asap
