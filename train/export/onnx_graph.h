// A graph of ONNX's operators as it is built, node by node, and the file that it becomes. Operators and their attributes are those of
// https://onnx.ai/onnx/operators/, opset 17; nothing here knows a model. Next: onnx_generator.h; onnx.proto for the file's format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "nn/file_dtype.h"
#include "tensor/tensor.h"

namespace asap::train {

enum class OnnxType : int32_t { f32 = 1, u8 = 2, i32 = 6, i64 = 7, f16 = 10, bf16 = 16 };  // TensorProto.DataType

using OnnxValue = std::string;  // what an input, a constant or a node gives, by its name in the graph
using OnnxDim = std::variant<int64_t, std::string>;  // a size, or the name of one that is known when the graph is run
using OnnxAttribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;
using OnnxAttributes = std::vector<std::pair<std::string, OnnxAttribute>>;

class OnnxGraph {
 public:
  OnnxValue input(const std::string& name, OnnxType type, std::vector<OnnxDim> sizes);
  // Under a name of its own: "Conv_3".
  OnnxValue node(const std::string& op, std::vector<OnnxValue> inputs, OnnxAttributes attributes = {});
  void output(const std::string& name, const OnnxValue& value, OnnxType type, std::vector<OnnxDim> sizes);

  // A constant, of the tensor's type. i32 stays i32.
  OnnxValue constant(const std::string& name, const Tensor& value);
  // A list of int64, which is how operators take shapes, axes and paddings; equal lists are one constant.
  OnnxValue integers(const std::vector<int64_t>& values);
  // A floating constant that is stored as f16 or bf16 and widened to f32 by a Cast; with f32, constant(). asap::Error naming it: a
  // value that float16 cannot hold.
  OnnxValue weight(const std::string& name, const Tensor& value, nn::FileDType stored);

  // The file's bytes, which take the constants' place in memory. asap::Error: this build has no Protocol Buffers; 2 GiB or more, which
  // they cannot hold.
  std::string serialize(const std::map<std::string, std::string>& metadata) &&;

 private:
  struct Port {
    std::string name;
    OnnxType type;
    std::vector<OnnxDim> sizes;
  };
  struct Node {
    std::string op;
    std::vector<OnnxValue> inputs;
    OnnxValue output;
    OnnxAttributes attributes;
  };
  struct Constant {
    std::string name;
    OnnxType type;
    std::vector<int64_t> sizes;
    std::string bytes;
  };
  OnnxValue store(std::string name, OnnxType type, std::vector<int64_t> sizes, std::string bytes);

  std::vector<Port> inputs_, outputs_;
  std::vector<Node> nodes_;
  std::vector<Constant> constants_;
};

// asap::Error unless this build can write such files.
void check_onnx_is_here();

}  // namespace asap::train
