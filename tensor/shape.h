// Shape: up to 8 sizes, outermost first; a plain value without heap memory. Strides use the same type.
// Next: tensor.h.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace asap {

struct Shape {
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(sizes.begin(), sizes.end()) {}
  explicit Shape(const std::vector<int64_t>& sizes) : Shape(sizes.data(), sizes.data() + sizes.size()) {}
  Shape(const int64_t* first, const int64_t* last);

  int rank() const { return rank_; }
  // Product of the sizes; 1 for rank 0. Throws where the sizes, those of 0 left out, multiply to more than 63 bits hold.
  int64_t numel() const;
  // Negative indices count from the end: s[-1] is the innermost size.
  int64_t operator[](int d) const { return sizes_[index(d)]; }
  int64_t& operator[](int d) { return sizes_[index(d)]; }
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return sizes_.data() + rank_; }

  void push_back(int64_t size);
  void insert(int d, int64_t size);
  void erase(int d);

  bool operator==(const Shape& other) const;
  std::string str() const;  // "(2,3,4)"

 private:
  int index(int d) const;
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// Row-major strides, in elements.
Shape contiguous_strides(const Shape& shape);

// a + b and a * b, neither negative; throw naming `op` where the result is more than 63 bits hold.
int64_t add_sizes(int64_t a, int64_t b, const char* op);
int64_t multiply_sizes(int64_t a, int64_t b, const char* op);

// The shape two operands broadcast to (trailing sizes equal or 1); throws naming `op` if there is none.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);

// Turns a possibly negative dimension into 0..rank-1; throws naming `op` if it is out of range.
int normalize_dim(int dim, int rank, const char* op);

// Height and width (or rows and columns) of a stride, padding, kernel...; one number sets both.
struct Size2 {
  int64_t h = 0, w = 0;
  constexpr Size2() = default;
  constexpr Size2(int64_t both) : h(both), w(both) {}
  constexpr Size2(int64_t height, int64_t width) : h(height), w(width) {}
  bool operator==(const Size2&) const = default;
};

}  // namespace asap
