// An interpreter of the ONNX operators that onnx_generator.cpp writes, one line or a few each on the tensor library: it executes a
// file's bytes as any runtime would, in f64 where the file says f32. Meanings: https://onnx.ai/onnx/operators/.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "nn/file_dtype.h"
#include "onnx.pb.h"
#include "tensor/ops.h"

namespace asap::tests {

using OnnxValues = std::map<std::string, Tensor>;

class OnnxNode {
 public:
  OnnxNode(const onnx_file::NodeProto& node, const OnnxValues& values) : node_(node), values_(values) {}

  const Tensor& operator[](int i) const { return values_.at(node_.input(i)); }
  int inputs() const { return node_.input_size(); }
  std::vector<int64_t> list(int i) const {
    const std::vector<int32_t> numbers = (*this)[i].to_vector<int32_t>();
    return {numbers.begin(), numbers.end()};
  }

  int64_t number(const std::string& name, int64_t fallback) const { return has(name) ? find(name).i() : fallback; }
  int64_t number(const std::string& name) const { return find(name).i(); }
  double real(const std::string& name) const { return find(name).f(); }
  std::string text(const std::string& name) const { return find(name).s(); }
  std::vector<int64_t> numbers(const std::string& name, std::vector<int64_t> fallback = {}) const {
    return has(name) ? std::vector<int64_t>(find(name).ints().begin(), find(name).ints().end()) : fallback;
  }

 private:
  bool has(const std::string& name) const {
    return std::ranges::any_of(node_.attribute(), [&](const auto& attribute) { return attribute.name() == name; });
  }
  const onnx_file::AttributeProto& find(const std::string& name) const {
    for (const auto& attribute : node_.attribute())
      if (attribute.name() == name) return attribute;
    fail(node_.op_type(), ": no attribute ", name);
  }

  const onnx_file::NodeProto& node_;
  const OnnxValues& values_;
};

inline DType dtype_of_onnx(int64_t type) {
  switch (type) {
    case 1: return DType::f64;
    case 2: return DType::u8;
    case 6: return DType::i32;
    default: fail("run_onnx: unexpected type ", type);
  }
}

inline Shape shape_of(const std::vector<int64_t>& sizes) {
  Shape shape;
  for (const int64_t size : sizes) shape.push_back(size);
  return shape;
}

inline Tensor onnx_reshape(const Tensor& x, std::vector<int64_t> sizes) {
  int64_t known = 1, unknown = -1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) sizes[i] = x.size(static_cast<int>(i));
    sizes[i] < 0 ? unknown = static_cast<int64_t>(i) : known *= sizes[i];
  }
  if (unknown >= 0) sizes[static_cast<size_t>(unknown)] = x.numel() / known;
  return x.contiguous().reshape(shape_of(sizes));
}

inline Tensor integer_tensor(const std::vector<int64_t>& values) {
  return Tensor::from(std::vector<int32_t>(values.begin(), values.end()), {std::ssize(values)});
}

inline Tensor run_conv(const OnnxNode& node) {
  const auto stride = node.numbers("strides", {1, 1}), pads = node.numbers("pads", {0, 0, 0, 0});
  return conv2d(node[0], node[1], {},
                {.stride = {stride[0], stride[1]}, .padding = {pads[0], pads[1]}, .groups = node.number("group", 1)});
}

inline Tensor run_mean(const OnnxNode& node) {
  const auto axes = node.numbers("axes");
  return mean(node[0], {axes.begin(), axes.end()}, node.number("keepdims", 1) == 1);
}

inline Tensor run_slice(const OnnxNode& node) {
  return node[0].slice(static_cast<int>(node.list(3)[0]), node.list(1)[0], node.list(2)[0]).contiguous();
}

inline Tensor run_shape(const OnnxNode& node) {
  const int64_t rank = node[0].rank();
  std::vector<int64_t> sizes;
  for (int64_t i = node.number("start", 0); i < node.number("end", rank); ++i)
    sizes.push_back(node[0].size(static_cast<int>(i)));
  return integer_tensor(sizes);
}

// Rows of a table.
inline Tensor run_gather(const OnnxNode& node) {
  const Tensor& table = node[0];
  std::vector<int64_t> sizes(node[1].shape().begin(), node[1].shape().begin() + node[1].rank());
  const int64_t count = node[1].numel(), width = table.size(1);
  const Tensor index = node[1].contiguous().reshape({count, 1}).expand({count, width}).contiguous();
  sizes.push_back(width);
  return gather(table, 0, index).reshape(shape_of(sizes));
}

inline Tensor run_space_to_depth(const OnnxNode& node) {
  const Tensor& x = node[0];
  const int64_t s = node.number("blocksize"), n = x.size(0), c = x.size(1), h = x.size(2) / s, w = x.size(3) / s;
  return x.contiguous()
      .reshape({n, c, h, s, w, s})
      .permute({0, 3, 5, 1, 2, 4})
      .contiguous()
      .reshape({n, s * s * c, h, w});
}

inline Tensor run_depth_to_space(const OnnxNode& node) {
  const Tensor& x = node[0];
  const int64_t s = node.number("blocksize"), n = x.size(0), c = x.size(1) / (s * s), h = x.size(2), w = x.size(3);
  return x.contiguous()
      .reshape({n, s, s, c, h, w})
      .permute({0, 3, 4, 1, 5, 2})
      .contiguous()
      .reshape({n, c, h * s, w * s});
}

inline Tensor run_concat(const OnnxNode& node) {
  std::vector<Tensor> parts;
  for (int i = 0; i < node.inputs(); ++i) parts.push_back(node[i]);
  return cat(parts, static_cast<int>(node.number("axis")));
}

inline Tensor run_pad(const OnnxNode& node) {
  const int64_t border = node.list(1)[2];
  return pad2d(node[0], {.mode = node.text("mode") == "reflect" ? PadMode::reflect : PadMode::replicate,
                         .left = border,
                         .right = border,
                         .top = border,
                         .bottom = border});
}

// Of integers: the library compares none.
inline Tensor run_equal(const OnnxNode& node) {
  std::vector<uint8_t> same;
  for (const int32_t value : node[0].to_vector<int32_t>()) same.push_back(value == node.list(1)[0]);
  return Tensor::from(same, node[0].shape());
}

inline Tensor run_where(const OnnxNode& node) {
  const auto wide = [&](int i) { return node[i].to(DType::f64).expand(node[0].shape()).contiguous(); };
  return where(node[0].to(DType::f64), wide(1), wide(2)).to(node[2].dtype());
}

inline Tensor run_transpose(const OnnxNode& node) {
  const auto perm = node.numbers("perm");
  return node[0].permute({perm.begin(), perm.end()}).contiguous();
}

inline const std::map<std::string, std::function<Tensor(const OnnxNode&)>>& onnx_operators() {
  static const std::map<std::string, std::function<Tensor(const OnnxNode&)>> table{
      {"Identity", [](const OnnxNode& n) { return n[0]; }},
      {"Cast", [](const OnnxNode& n) { return n[0].to(dtype_of_onnx(n.number("to"))); }},
      {"Add", [](const OnnxNode& n) { return add(n[0], n[1]); }},
      {"Sub", [](const OnnxNode& n) { return sub(n[0], n[1]); }},
      {"Mul", [](const OnnxNode& n) { return mul(n[0], n[1]); }},
      {"Div", [](const OnnxNode& n) { return div(n[0], n[1]); }},
      {"Sqrt", [](const OnnxNode& n) { return unary(UnaryOp::sqrt, n[0]); }},
      {"MatMul", [](const OnnxNode& n) { return matmul(n[0], n[1]); }},
      {"Gemm", [](const OnnxNode& n) { return add(matmul(n[0], n[1], false, n.number("transB") == 1), n[2]); }},
      {"Relu", [](const OnnxNode& n) { return unary(UnaryOp::leaky_relu, n[0], {.a = 0}); }},
      {"LeakyRelu", [](const OnnxNode& n) { return unary(UnaryOp::leaky_relu, n[0], {.a = n.real("alpha")}); }},
      {"Tanh", [](const OnnxNode& n) { return unary(UnaryOp::tanh, n[0]); }},
      {"Reshape", [](const OnnxNode& n) { return onnx_reshape(n[0], n.list(1)); }},
      {"Unsqueeze", [](const OnnxNode& n) { return n[0].unsqueeze(static_cast<int>(n.list(1)[0])); }},
      {"Expand", [](const OnnxNode& n) { return add(n[0], Tensor::zeros(shape_of(n.list(1)), n[0].dtype())); }},
      {"OneHot", [](const OnnxNode& n) { return one_hot(n[0], n.list(1)[0], DType::f64); }},
      {"Transpose", run_transpose},
      {"Conv", run_conv},
      {"ReduceMean", run_mean},
      {"Pad", run_pad},
      {"Slice", run_slice},
      {"Shape", run_shape},
      {"Gather", run_gather},
      {"SpaceToDepth", run_space_to_depth},
      {"DepthToSpace", run_depth_to_space},
      {"Concat", run_concat},
      {"Equal", run_equal},
      {"Where", run_where}};
  return table;
}

inline Tensor onnx_constant(const onnx_file::TensorProto& from) {
  using nn::FileDType;
  static const std::map<int32_t, FileDType> types{{1, FileDType::f32}, {2, FileDType::u8},   {6, FileDType::i32},
                                                  {7, FileDType::i64}, {10, FileDType::f16}, {16, FileDType::bf16}};
  const std::string& raw = from.raw_data();
  const Shape shape = shape_of({from.dims().begin(), from.dims().end()});
  const nn::FileView view{.dtype = types.at(from.data_type()), .shape = shape, .strides = contiguous_strides(shape)};
  const Tensor value = nn::read_view({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()}, view);
  return value.dtype() == DType::f32 ? value.to(DType::f64) : value;
}

inline onnx_file::ModelProto parse_onnx(const std::string& bytes) {
  onnx_file::ModelProto model;
  ASAP_CHECK(model.ParseFromString(bytes), "run_onnx: no ONNX model");
  return model;
}

// The one output, f64 for f32. Inputs by name, floating ones in any type.
inline Tensor run_onnx(const onnx_file::ModelProto& model, const OnnxValues& inputs) {
  const auto& graph = model.graph();
  OnnxValues values;
  for (const auto& input : graph.input())
    values[input.name()] = inputs.at(input.name()).to(dtype_of_onnx(input.type().tensor_type().elem_type()));
  for (const auto& constant : graph.initializer()) values[constant.name()] = onnx_constant(constant);
  for (const auto& node : graph.node()) {
    const auto op = onnx_operators().find(node.op_type());
    ASAP_CHECK(op != onnx_operators().end(), "run_onnx: no operator ", node.op_type());
    values[node.output(0)] = op->second(OnnxNode(node, values));
  }
  return values.at(graph.output(0).name());
}

}  // namespace asap::tests
