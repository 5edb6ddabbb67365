// Inception-v3 with pytorch-fid's keys (Conv2d_1a_3x3.conv.weight, Mixed_5b.branch1x1.bn.bias, ...). Declared in backbones.h.
#include "asapnet/backbones.h"
#include "tensor/ops.h"

namespace asap::asapnet {
namespace {

FrozenPath max_pool(int64_t channels, int64_t stride) {
  return {
      [=](const Tensor& x) { return max_pool2d(x, {.kernel = 3, .stride = stride, .padding = stride == 1 ? 1 : 0}).y; },
      channels};
}

FrozenPath average_pool(int64_t channels) {
  return {[](const Tensor& x) {
            return avg_pool2d(x, {.kernel = 3, .stride = 1, .padding = 1, .count_include_pad = false});
          },
          channels};
}

// The branches of one block "Mixed_5b".
struct Block {
  PretrainedConvs& file;
  std::string name;
  FrozenPath input;

  // A convolution behind `before`; with stride 1 it keeps the size.
  FrozenPath conv(const FrozenPath& before, const std::string& key, Size2 kernel, int64_t stride = 1) {
    const Size2 padding = stride == 1 ? Size2{(kernel.h - 1) / 2, (kernel.w - 1) / 2} : Size2(0);
    return file.conv(before, name + "." + key + ".conv", kernel, {.stride = stride, .padding = padding}, kRelu);
  }
  // Convolutions KEY_1, KEY_2, ... of these kernels; the last with that stride.
  FrozenPath chain(const std::string& key, const std::vector<Size2>& kernels, int64_t stride = 1) {
    FrozenPath path = input;
    for (size_t i = 0; i < kernels.size(); ++i)
      path = conv(path, key + "_" + std::to_string(i + 1), kernels[i], i + 1 < kernels.size() ? 1 : stride);
    return path;
  }
  // 1x3 and 3x1 side by side behind `before`.
  FrozenPath split(const FrozenPath& before, const std::string& key) {
    const FrozenPath begin = path_from(before.channels);
    return then(before, side_by_side({conv(begin, key + "a", {1, 3}), conv(begin, key + "b", {3, 1})}));
  }
  FrozenPath pooled(const FrozenPath& pool) { return conv(pool, "branch_pool", 1); }
};

FrozenPath block_a(Block b) {
  return side_by_side({b.conv(b.input, "branch1x1", 1), b.chain("branch5x5", {1, 5}),
                       b.chain("branch3x3dbl", {1, 3, 3}), b.pooled(average_pool(b.input.channels))});
}

FrozenPath block_b(Block b) {
  return side_by_side(
      {b.conv(b.input, "branch3x3", 3, 2), b.chain("branch3x3dbl", {1, 3, 3}, 2), max_pool(b.input.channels, 2)});
}

FrozenPath block_c(Block b) {
  const Size2 row{1, 7}, column{7, 1};
  return side_by_side({b.conv(b.input, "branch1x1", 1), b.chain("branch7x7", {1, row, column}),
                       b.chain("branch7x7dbl", {1, column, row, column, row}),
                       b.pooled(average_pool(b.input.channels))});
}

FrozenPath block_d(Block b) {
  return side_by_side({b.chain("branch3x3", {1, 3}, 2), b.chain("branch7x7x3", {1, {1, 7}, {7, 1}, 3}, 2),
                       max_pool(b.input.channels, 2)});
}

FrozenPath block_e(Block b, const FrozenPath& pool) {
  return side_by_side({b.conv(b.input, "branch1x1", 1), b.split(b.chain("branch3x3", {1}), "branch3x3_2"),
                       b.split(b.chain("branch3x3dbl", {1, 3}), "branch3x3dbl_3"), b.pooled(pool)});
}

}  // namespace

Backbone inception_v3(PretrainedConvs& file) {
  Backbone net{.name = "Inception-v3 (2015-12-05)"};
  const auto conv = [&](const char* key, int64_t kernel, int64_t stride, int64_t padding) {
    net.layers.push_back(
        file.conv(path_from(net.channels()), str(key, ".conv"), kernel, {.stride = stride, .padding = padding}, kRelu));
  };
  const auto block = [&](const char* name) { return Block{file, name, path_from(net.channels())}; };
  conv("Conv2d_1a_3x3", 3, 2, 0);
  conv("Conv2d_2a_3x3", 3, 1, 0);
  conv("Conv2d_2b_3x3", 3, 1, 1);
  net.layers.push_back(max_pool(net.channels(), 2));
  conv("Conv2d_3b_1x1", 1, 1, 0);
  conv("Conv2d_4a_3x3", 3, 1, 0);
  net.layers.push_back(max_pool(net.channels(), 2));
  for (const char* name : {"Mixed_5b", "Mixed_5c", "Mixed_5d"}) net.layers.push_back(block_a(block(name)));
  net.layers.push_back(block_b(block("Mixed_6a")));
  for (const char* name : {"Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"}) net.layers.push_back(block_c(block(name)));
  net.layers.push_back(block_d(block("Mixed_7a")));
  net.layers.push_back(block_e(block("Mixed_7b"), average_pool(net.channels())));
  net.layers.push_back(block_e(block("Mixed_7c"), max_pool(net.channels(), 1)));
  return net;
}

}  // namespace asap::asapnet
