// Building a graph, and its messages of Protocol Buffers. Declared in onnx_graph.h.
#include "train/export/onnx_graph.h"

#include <algorithm>
#include <limits>

#include "nn/file_io.h"

#if ASAP_PROTOBUF
#include "onnx.pb.h"
#endif

namespace asap::train {
namespace {

OnnxType onnx_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return OnnxType::f32;
    case DType::i32: return OnnxType::i32;
    case DType::u8: return OnnxType::u8;
    default: fail("onnx: expected a constant of f32, i32 or u8, got ", dtype);
  }
}

std::string bytes_of(const void* data, size_t size) { return {static_cast<const char*>(data), size}; }
std::vector<int64_t> sizes_of(const Tensor& x) { return {x.shape().begin(), x.shape().begin() + x.rank()}; }

}  // namespace

OnnxValue OnnxGraph::input(const std::string& name, OnnxType type, std::vector<OnnxDim> sizes) {
  inputs_.push_back({name, type, std::move(sizes)});
  return name;
}

OnnxValue OnnxGraph::node(const std::string& op, std::vector<OnnxValue> inputs, OnnxAttributes attributes) {
  nodes_.push_back({op, std::move(inputs), str(op, "_", nodes_.size()), std::move(attributes)});
  return nodes_.back().output;
}

void OnnxGraph::output(const std::string& name, const OnnxValue& value, OnnxType type, std::vector<OnnxDim> sizes) {
  nodes_.push_back({"Identity", {value}, name, {}});
  outputs_.push_back({name, type, std::move(sizes)});
}

OnnxValue OnnxGraph::store(std::string name, OnnxType type, std::vector<int64_t> sizes, std::string bytes) {
  constants_.push_back({std::move(name), type, std::move(sizes), std::move(bytes)});
  return constants_.back().name;
}

OnnxValue OnnxGraph::constant(const std::string& name, const Tensor& value) {
  const Tensor packed = value.to(Device::cpu).contiguous();
  return store(name, onnx_type(value.dtype()), sizes_of(value), bytes_of(packed.raw(), packed.bytes()));
}

OnnxValue OnnxGraph::integers(const std::vector<int64_t>& values) {
  std::string name = "integers";
  for (const int64_t value : values) name += str("_", value);
  if (std::ranges::any_of(constants_, [&](const Constant& constant) { return constant.name == name; })) return name;
  return store(name, OnnxType::i64, {std::ssize(values)}, bytes_of(values.data(), values.size() * sizeof(int64_t)));
}

OnnxValue OnnxGraph::weight(const std::string& name, const Tensor& value, nn::FileDType stored) {
  if (stored == nn::FileDType::f32) return constant(name, value);
  const std::vector<uint8_t> bytes = nn::with_prefix(name, [&] { return nn::pack_values(value, stored); });
  const OnnxType type = stored == nn::FileDType::f16 ? OnnxType::f16 : OnnxType::bf16;
  store(name, type, sizes_of(value), bytes_of(bytes.data(), bytes.size()));
  return node("Cast", {name}, {{"to", static_cast<int64_t>(OnnxType::f32)}});
}

#if ASAP_PROTOBUF

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

void write_port(onnx_file::ValueInfoProto& port, const std::string& name, OnnxType type,
                const std::vector<OnnxDim>& sizes) {
  port.set_name(name);
  auto* tensor = port.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(static_cast<int32_t>(type));
  for (const OnnxDim& size : sizes) {
    auto* dim = tensor->mutable_shape()->add_dim();
    std::visit(Overloaded{[&](int64_t known) { dim->set_dim_value(known); },
                          [&](const std::string& named) { dim->set_dim_param(named); }},
               size);
  }
}

void write_attribute(onnx_file::AttributeProto& attribute, const std::string& name, const OnnxAttribute& value) {
  using Type = onnx_file::AttributeProto;
  attribute.set_name(name);
  std::visit(Overloaded{[&](int64_t i) { attribute.set_type(Type::INT), attribute.set_i(i); },
                        [&](float f) { attribute.set_type(Type::FLOAT), attribute.set_f(f); },
                        [&](const std::string& s) { attribute.set_type(Type::STRING), attribute.set_s(s); },
                        [&](const std::vector<int64_t>& ints) {
                          attribute.set_type(Type::INTS);
                          for (const int64_t i : ints) attribute.add_ints(i);
                        }},
             value);
}

}  // namespace

void check_onnx_is_here() {}

std::string OnnxGraph::serialize(const std::map<std::string, std::string>& metadata) && {
  constexpr size_t kMost = std::numeric_limits<int32_t>::max();
  onnx_file::ModelProto model;
  model.set_ir_version(8);  // what belongs to opset 17
  model.set_producer_name("asapnet");
  model.add_opset_import()->set_version(17);
  for (const auto& [key, text] : metadata) {
    auto* entry = model.add_metadata_props();
    entry->set_key(key);
    entry->set_value(text);
  }
  auto& graph = *model.mutable_graph();
  graph.set_name("generator");
  for (const Port& port : inputs_) write_port(*graph.add_input(), port.name, port.type, port.sizes);
  for (const Port& port : outputs_) write_port(*graph.add_output(), port.name, port.type, port.sizes);
  for (const Node& from : nodes_) {
    auto& node = *graph.add_node();
    node.set_op_type(from.op);
    node.set_name(from.output);
    for (const OnnxValue& input : from.inputs) node.add_input(input);
    node.add_output(from.output);
    for (const auto& [name, value] : from.attributes) write_attribute(*node.add_attribute(), name, value);
  }
  for (Constant& from : constants_) {
    auto& tensor = *graph.add_initializer();
    tensor.set_name(from.name);
    tensor.set_data_type(static_cast<int32_t>(from.type));
    for (const int64_t size : from.sizes) tensor.add_dims(size);
    tensor.set_raw_data(std::move(from.bytes));
  }
  const size_t bytes = model.ByteSizeLong();
  ASAP_CHECK(bytes <= kMost, "onnx: the file would have ", bytes, " bytes, and Protocol Buffers end at ", kMost,
             "; weights of two bytes (--dtype f16 or bf16) make it half as large");
  return model.SerializeAsString();
}

#else

void check_onnx_is_here() {
  fail(
      "this build writes no ONNX files: Protocol Buffers were missing (protobuf-compiler and libprotobuf-dev) when it "
      "was configured");
}

std::string OnnxGraph::serialize(const std::map<std::string, std::string>&) && {
  check_onnx_is_here();
  return {};
}

#endif

}  // namespace asap::train
