// Rows of op_cases.h: matrix products. Sizes around and off the block sizes of the fast variants.
#include <algorithm>

#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

Shape matrix(int64_t batch, int64_t rows, int64_t columns, bool transposed) {
  Shape shape = transposed ? Shape{columns, rows} : Shape{rows, columns};
  if (batch > 0) shape.insert(0, batch);
  return shape;
}

// batch 0: plain matrices.
struct Product {
  const char* name;
  int64_t m, n, k;
  int64_t batch_a = 0, batch_b = 0;
};

std::vector<OpCase> products() {
  std::vector<OpCase> rows;
  for (const Product& p : {Product{"odd", 5, 7, 3}, Product{"batched", 4, 3, 5, 3, 3}, Product{"batch_of_a_is_1", 4, 3, 5, 1, 3},
                           Product{"batch_of_b_is_1", 4, 3, 5, 3, 1}, Product{"blocks_and_rest", 33, 70, 130}}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        rows.push_back({.name = str("matmul/", p.name, ta ? "_t" : "_n", tb ? "t" : "n"),
                        .inputs = {normal(matrix(p.batch_a, p.m, p.k, ta)), normal(matrix(p.batch_b, p.k, p.n, tb))},
                        .run = [ta, tb](const Inputs& in) { return matmul(in[0], in[1], ta, tb); },
                        .slots = {&kernels::matmul}});
      }
    }
  }
  // More than one block of the inner dimension and of columns; the last more than one of rows. Too long for gradcheck.
  const auto blocks = [&rows](const Product& p, bool ta, bool tb) {
    rows.push_back({.name = str("matmul/", p.name, ta ? "_t" : "_n", tb ? "t" : "n"),
                    .inputs = {constant(normal(matrix(0, p.m, p.k, ta))), constant(normal(matrix(0, p.k, p.n, tb)))},
                    .run = [ta, tb](const Inputs& in) { return matmul(in[0], in[1], ta, tb); },
                    .slots = {&kernels::matmul}});
  };
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) blocks({"many_blocks", 45, 467, 531}, ta, tb);
  }
  blocks({"many_row_blocks", 271, 101, 531}, false, false);
  // Rows of whole fours, which the CUDA kernels copy 16 bytes at a time: tiles with a rest in each dimension; few rows.
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      blocks({"fours", 132, 136, 68}, ta, tb);
      blocks({"fours_few_rows", 12, 260, 148}, ta, tb);
    }
  }
  auto row = [&rows](const char* name, const Shape& a, const Shape& b) {
    rows.push_back({.name = str("matmul/", name), .inputs = {normal(a), normal(b)},
                    .run = [](const Inputs& in) { return matmul(in[0], in[1]); }, .slots = {&kernels::matmul}});
  };
  row("matrix_vector", {37, 19}, {19, 1});
  row("vector_matrix", {1, 19}, {19, 37});
  row("dot", {1, 67}, {67, 1});
  rows.back().tf32_tolerance = 1.5e-2;  // one sum, which cancels: 7.8e-3 measured
  row("outer", {13, 1}, {1, 17});
  row("outer_batched", {3, 5, 1}, {1, 1, 8});
  row("one_element", {1, 1}, {1, 1});
  row("tiles", {2, 64, 33}, {2, 33, 64});
  // A row or a column: a few of either length, sums longer than one block's piece, fours, and memory that begins at no four.
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const auto& [length, k] : {std::pair<int64_t, int64_t>{37, 19}, {3, 9001}, {36, 1100}, {260, 68}, {1, 8200}}) {
        const std::string size = str("_", length, "x", k);
        blocks({str("column", size).c_str(), length, 1, k}, ta, tb);
        blocks({str("row", size).c_str(), 1, length, k}, ta, tb);
      }
      const auto from_one = [](const Variable& x, const Shape& shape) { return reshape(slice(x, 0, 1, x.numel()), shape); };
      rows.push_back({.name = str("matmul/unaligned_column", ta ? "_t" : "_n", tb ? "t" : "n"),
                      .inputs = {normal({8 * 12 + 1}), normal({13})},
                      .run = [=](const Inputs& in) {
                        return matmul(from_one(in[0], matrix(0, 8, 12, ta)), from_one(in[1], matrix(0, 12, 1, tb)), ta, tb);
                      },
                      .slots = {&kernels::matmul}});
    }
  }
  rows.push_back({.name = "matmul/permuted", .inputs = {normal({5, 2, 7}), normal({2, 4, 5})},
                  .run = [](const Inputs& in) { return matmul(permute(in[0], {1, 2, 0}), transpose(in[1], 1, 2)); },
                  .slots = {&kernels::matmul}});
  rows.push_back({.name = "linear/bias", .inputs = {normal({5, 7}), normal({3, 7}), parameter(normal({3}))},
                  .run = [](const Inputs& in) { return linear(in[0], in[1], in[2]); }, .slots = {&kernels::matmul}});
  rows.push_back({.name = "linear/no_bias", .inputs = {normal({5, 7}), normal({3, 7})},
                  .run = [](const Inputs& in) { return linear(in[0], in[1], {}); }, .slots = {&kernels::matmul}});
  return rows;
}

OpCase large(const Product& p, bool ta, bool tb) {
  return {.name = str("matmul/", p.name, ta ? "_t" : "_n", tb ? "t" : "n"),
          .inputs = {constant(normal(matrix(p.batch_a, p.m, p.k, ta))), constant(normal(matrix(p.batch_b, p.k, p.n, tb)))},
          .run = [ta, tb](const Inputs& in) { return Variable(matmul(in[0].value(), in[1].value(), ta, tb)); },
          .slots = {&kernels::matmul},
          .tolerance = 1e-5,  // up to 9216 products a sum
          .large = true,
          .flops = 2.0 * static_cast<double>(p.m * p.n * p.k * std::max<int64_t>(1, std::max(p.batch_a, p.batch_b)))};
}

}  // namespace

std::vector<OpCase> matmul_cases() {
  std::vector<OpCase> rows = products();
  rows.push_back(large({"2048x2048x2048", 2048, 2048, 2048}, false, false));
  rows.push_back(large({"256_tiles_1024x64x64", 1024, 64, 64, 256, 256}, false, false));
  rows.push_back(large({"1024x256x9216", 1024, 256, 9216}, false, false));  // the 3x3 conv 1024 -> 1024 at 16x16
  rows.push_back(large({"1024x256x9216", 1024, 256, 9216}, false, true));
  rows.push_back(large({"1024x256x9216", 1024, 256, 9216}, true, false));
  rows.push_back(large({"matrix_vector_1024x9216", 1024, 1, 9216}, false, false));
  for (const bool turned : {false, true}) rows.push_back(large({"matrix_vector_512x4096", 512, 1, 4096}, turned, false));  // D's
  rows.push_back(large({"outer_512x4096", 512, 4096, 1}, false, false));
  return rows;
}

}  // namespace asap::tests
