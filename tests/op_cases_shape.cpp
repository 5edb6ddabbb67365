// Rows of op_cases.h: copies, views, joining, indexing; fill and random numbers.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

std::vector<OpCase> views_and_copies() {
  std::vector<OpCase> rows;
  auto row = [&rows](const char* name, std::vector<OpInput> inputs, Variable (*run)(const Inputs&),
                     std::vector<KernelSlotBase*> slots = {&kernels::copy}) {
    rows.push_back({.name = name, .inputs = std::move(inputs), .run = run, .slots = std::move(slots)});
  };
  // A view alone runs no kernel: the copy to contiguous memory behind it does.
  row("copy/permuted", {normal({3, 4, 5})}, [](const Inputs& in) { return reshape(permute(in[0], {1, 2, 0}), {20, 3}); });
  row("copy/nchw_to_nhwc", {normal({2, 17, 6, 9})},
      [](const Inputs& in) { return reshape(permute(in[0], {0, 2, 3, 1}), {108, 17}); });
  row("copy/transposed", {normal({33, 65})}, [](const Inputs& in) { return reshape(transpose(in[0], 0, 1), {65 * 33}); });
  row("copy/sliced_step_3", {normal({3, 11, 5})}, [](const Inputs& in) { return reshape(slice(in[0], 1, 1, 11, 3), {60}); });
  row("copy/expanded", {normal({3, 1, 5})}, [](const Inputs& in) { return reshape(expand(in[0], {2, 3, 4, 5}), {6, 20}); });
  row("copy/nchw_to_nhwc_parallel", {normal({2, 35, 37, 41})},
      [](const Inputs& in) { return reshape(permute(in[0], {0, 2, 3, 1}), {2 * 37 * 41, 35}); });
  row("copy/transposed_parallel", {normal({301, 257})},
      [](const Inputs& in) { return reshape(transpose(in[0], 0, 1), {257 * 301}); });
  row("copy/rank_6", {normal({2, 3, 2, 2, 3, 2})},
      [](const Inputs& in) { return reshape(permute(in[0], {5, 1, 3, 0, 4, 2}), {12, 12}); });
  row("copy/contiguous", {constant(normal({4099}))}, [](const Inputs& in) { return Variable(in[0].value().clone()); });
  row("copy/to_i32_and_back", {constant(normal({7, 9}, 20))},
      [](const Inputs& in) { return Variable(in[0].value().to(DType::i32).to(in[0].dtype())); });
  row("copy/to_u8_and_back", {indices({7, 9}, 256)},
      [](const Inputs& in) { return Variable(in[0].value().to(DType::u8).transpose(0, 1).to(DType::f32)); });
  row("copy/bytes_transposed", {indices({45, 39}, 256)}, [](const Inputs& in) {
    const Tensor bytes = in[0].value().to(DType::u8).transpose(0, 1);
    return Variable(add(bytes.to(DType::f32), bytes.contiguous().to(DType::f32)));
  });
  row("copy/to_bf16_and_back", {constant(normal({3, 43, 40}))}, [](const Inputs& in) {
    const DType dtype = in[0].dtype();
    const Tensor x = in[0].value(), half = x.to(DType::bf16), turned = x.transpose(1, 2).to(DType::bf16);
    return Variable(add(half.transpose(1, 2).to(dtype), add(half.to(dtype).transpose(1, 2), turned.to(dtype))));
  });
  rows.back().not_bf16 = "there is nothing to convert";
  row("copy/to_and_from_channels_last", {constant(normal({2, 7, 3, 5}))}, [](const Inputs& in) {
    const Tensor x = in[0].value().to(Layout::channels_last);
    return Variable(add(x.to(Layout::row_major), x.to(DType::bf16).to(x.dtype())));
  });
  rows.back().row_major = "the row chooses its layouts";
  row("copy/unaligned", {normal({4099})}, [](const Inputs& in) { return reshape(slice(in[0], 0, 3, 4099), {1024, 4}); });
  row("copy/columns_of_8", {normal({9, 24})}, [](const Inputs& in) { return reshape(slice(in[0], 1, 4, 12), {72}); });
  row("copy/columns_of_10", {normal({9, 24})}, [](const Inputs& in) { return reshape(slice(in[0], 1, 2, 12), {90}); });
  row("copy/columns_of_9", {normal({9, 24})}, [](const Inputs& in) { return reshape(slice(in[0], 1, 3, 12), {81}); });
  row("copy/into_strided", {constant(normal({5, 4})), constant(normal({4, 5}))}, [](const Inputs& in) {
    Tensor y = in[0].value().clone();
    y.transpose(0, 1).slice(0, 0, 4, 2).copy_from(in[1].value().slice(0, 1, 3));
    return Variable(y);
  });
  row("fill/strided", {constant(normal({5, 7}))}, [](const Inputs& in) {
    Tensor y = in[0].value().clone();
    y.slice(1, 1, 7, 2).fill(2.5);
    return Variable(y);
  }, {&kernels::fill});
  row("fill/parallel", {constant(normal({3, 301, 257}))}, [](const Inputs& in) {
    Tensor y = in[0].value().clone();
    y.transpose(0, 2).slice(0, 1, 257, 2).fill(-3);
    return Variable(add(y, Tensor::full(y.shape(), 0.25, y.dtype(), y.device())));
  }, {&kernels::fill});
  row("fill/channels_last", {constant(normal({2, 8, 3, 5})), constant(normal({2, 7, 3, 5}))}, [](const Inputs& in) {
    Tensor dense = channels_last(in[0]).value(), gaps = in[1].value().to(Layout::channels_last);
    dense.fill(2.5);
    gaps.fill(-3);
    return Variable(cat({dense, gaps}, 1));
  }, {&kernels::fill});
  row("fill/every_dtype", {constant(normal({1}))}, [](const Inputs& in) {
    const DType dtype = in[0].dtype();
    const Device device = in[0].device();
    return Variable(add(Tensor::full({3, 37}, 7, DType::i32, device).to(dtype),
                        add(Tensor::full({37}, 200, DType::u8, device).to(dtype), Tensor::full({37}, -0.5, dtype, device))));
  }, {&kernels::fill});
  row("slice/backward", {normal({4, 7})}, [](const Inputs& in) { return slice(in[0], 1, -5, -1, 2); },
      {&kernels::fill, &kernels::copy});
  row("slice/channels_last", {normal({2, 8, 3, 5})},
      [](const Inputs& in) { return slice(square(channels_last(in[0])), 1, 2, 5); }, {&kernels::fill, &kernels::copy});
  row("split/three", {normal({2, 7, 3})}, [](const Inputs& in) {
    const auto parts = split(in[0], {2, 1, 4}, 1);
    return parts[0] * parts[1] + slice(parts[2], 1, 1, 3);
  }, {&kernels::binary});
  row("cat/channels", {normal({2, 3, 4, 5}), normal({2, 1, 4, 5}), constant(normal({2, 2, 4, 5}))},
      [](const Inputs& in) { return cat(in, 1); });
  row("cat/batch", {normal({1, 3, 5}), normal({2, 3, 5})}, [](const Inputs& in) { return cat(in, 0); });
  row("cat/last", {normal({4, 3}), normal({4, 6})}, [](const Inputs& in) { return cat(in, -1); });
  row("cat/channels_last", {normal({2, 3, 4, 5}), normal({2, 8, 4, 5})},
      [](const Inputs& in) { return cat({in[0], square(channels_last(in[1]))}, 1); });
  row("cat/permuted", {normal({3, 4}), normal({2, 3})},
      [](const Inputs& in) { return cat({transpose(in[0], 0, 1), reshape(in[1], {2, 3})}, 0); });
  return rows;
}

std::vector<OpCase> indexing() {
  std::vector<OpCase> rows;
  auto gathers = [&rows](const char* name, const Shape& x, const Shape& index, int dim) {
    rows.push_back({.name = str("gather/", name), .inputs = {normal(x), indices(index, x[dim])},
                    .run = [dim](const Inputs& in) { return gather(in[0], dim, in[1].value()); },
                    .slots = {&kernels::gather_forward, &kernels::gather_backward}});
  };
  gathers("repeated", {4, 5, 3}, {4, 11, 3}, 1);  // 11 picks of 5: several gradients meet
  gathers("first", {6, 3, 2}, {9, 3, 2}, 0);
  gathers("last", {2, 3, 7}, {2, 3, 4}, 2);
  gathers("one_choice", {3, 1}, {3, 5}, 1);
  gathers("parallel", {9, 50, 101}, {9, 80, 101}, 1);
  gathers("rows_parallel", {700, 30}, {700, 111}, 1);
  gathers("one_line", {300}, {501}, 0);
  gathers("classes", {2, 35, 4, 5}, {2, 1, 4, 5}, 1);
  rows.push_back({.name = "gather/channels_last", .inputs = {normal({2, 8, 3, 5}), indices({2, 4, 3, 5}, 8)},
                  .run = [](const Inputs& in) { return gather(channels_last(in[0]), 1, in[1].value()); },
                  .slots = {&kernels::gather_forward, &kernels::gather_backward}});
  rows.push_back({.name = "gather/bf16", .inputs = {compact(normal({4, 5, 3})), indices({4, 11, 3}, 5)},
                  .run = [](const Inputs& in) {
                    const Tensor y = gather(in[0].value(), 1, in[1].value());
                    return Variable(gather_backward(y, 1, in[1].value(), in[0].shape()));
                  },
                  .slots = {&kernels::gather_forward, &kernels::gather_backward}, .tolerance = kBf16Rounding});
  rows.push_back({.name = "one_hot/i32", .inputs = {indices({2, 5, 7}, 4), constant(normal({1}))},
                  .run = [](const Inputs& in) { return Variable(one_hot(in[0].value(), 4, in[1].dtype())); },
                  .slots = {&kernels::label_planes}});
  rows.push_back({.name = "one_hot/parallel", .inputs = {indices({2, 97, 101}, 35), constant(normal({1}))},
                  .run = [](const Inputs& in) { return Variable(one_hot(in[0].value(), 35, in[1].dtype())); },
                  .slots = {&kernels::label_planes}});
  rows.push_back({.name = "one_hot/u8", .inputs = {indices({1, 9, 5}, 13), constant(normal({1}))},
                  .run = [](const Inputs& in) { return Variable(one_hot(in[0].value().to(DType::u8), 13, in[1].dtype())); },
                  .slots = {&kernels::label_planes}});
  return rows;
}

OpCase large(const char* name, std::vector<OpInput> inputs, KernelSlotBase& slot, Variable (*run)(const Inputs&)) {
  for (OpInput& input : inputs) input.differentiable = false;
  return {.name = name, .inputs = std::move(inputs), .run = run, .slots = {&slot}, .large = true};
}

}  // namespace

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> rows = views_and_copies();
  for (OpCase& row : indexing()) rows.push_back(std::move(row));
  rows.push_back({.name = "random/uniform", .inputs = {constant(normal({1}))},
                  .run = [](const Inputs& in) {
                    return Variable(random_uniform({40037}, {.seed = 7, .offset = 5, .a = -1, .b = 3}, in[0].dtype(), in[0].device()));
                  },
                  .slots = {&kernels::random_uniform}});
  rows.push_back({.name = "random/bf16", .inputs = {compact(normal({1}))},
                  .run = [](const Inputs& in) {
                    const RandomParams p{.seed = 7, .offset = 5, .a = 1, .b = 2};
                    return Variable(add(random_uniform({4099}, p, in[0].dtype(), in[0].device()),
                                        random_normal({4099}, p, in[0].dtype(), in[0].device())));
                  },
                  .slots = {&kernels::random_uniform, &kernels::random_normal}, .tolerance = kBf16Roundings});
  rows.push_back({.name = "random/normal", .inputs = {constant(normal({1}))},
                  .run = [](const Inputs& in) {
                    return Variable(random_normal({40037}, {.seed = 7, .offset = 5, .a = 1, .b = 2}, in[0].dtype(), in[0].device()));
                  },
                  .slots = {&kernels::random_normal}});
  rows.push_back(large("copy/nchw_to_nhwc_64x256x256", {normal({1, 64, 256, 256})}, kernels::copy,
                       [](const Inputs& in) { return Variable(in[0].value().permute({0, 2, 3, 1}).contiguous()); }));
  rows.push_back(large("copy/contiguous_64x256x256", {normal({1, 64, 256, 256})}, kernels::copy,
                       [](const Inputs& in) { return Variable(in[0].value().clone()); }));
  rows.push_back(large("one_hot/35x256x512", {indices({1, 256, 512}, 35)}, kernels::label_planes,
                       [](const Inputs& in) { return Variable(one_hot(in[0].value(), 35)); }));
  return rows;
}

}  // namespace asap::tests
