// NVIDIA's convolutions (cuDNN) as variants of conv2d_forward, conv2d_input_grad and conv2d_weight_grad, through the library's
// graph interface (cudnn_graph.h), which has its newest kernels:
//   cudnn       float32 without tensor cores
//   cudnn_tf32  the same with them
//   cudnn_bf16  operands and result bf16 in channels-last, which its tensor-core kernels want: the float32 tensors are cast there
//               and back, and the time for that is part of the variant's
// Bias and activation are passes of our own behind it, as PyTorch has them; other padding than with zeros it does not take.
// For each shape the algorithms that its heuristic proposes are timed once and the fastest is kept. See yardsticks.h.
#include <cudnn.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "bench/yardsticks/library.h"
#include "cuda/context.h"
#include "tensor/kernels.h"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

struct Cudnn {
  SharedLibrary library{str("libcudnn.so.", CUDNN_MAJOR)};
  ASAP_LIBRARY_FUNCTION(cudnnCreate);
  ASAP_LIBRARY_FUNCTION(cudnnSetStream);
  ASAP_LIBRARY_FUNCTION(cudnnGetErrorString);
  ASAP_LIBRARY_FUNCTION(cudnnBackendCreateDescriptor);
  ASAP_LIBRARY_FUNCTION(cudnnBackendDestroyDescriptor);
  ASAP_LIBRARY_FUNCTION(cudnnBackendSetAttribute);
  ASAP_LIBRARY_FUNCTION(cudnnBackendGetAttribute);
  ASAP_LIBRARY_FUNCTION(cudnnBackendFinalize);
  ASAP_LIBRARY_FUNCTION(cudnnBackendExecute);
  cudnnHandle_t handle = nullptr;

  Cudnn() {
    check(cudnnCreate(&handle), "cudnnCreate");
    check(cudnnSetStream(handle, stream()), "cudnnSetStream");
  }
  void check(cudnnStatus_t status, const char* what) const {
    ASAP_CHECK(status == CUDNN_STATUS_SUCCESS, "conv2d: ", what, " failed: ", cudnnGetErrorString(status));
  }
};

// One for the process; never destroyed.
const Cudnn& dnn() {
  static const auto* one = new Cudnn;
  return *one;
}

// An object of the graph interface: created, given its attributes, finalized.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    dnn().check(dnn().cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
  }
  Descriptor(Descriptor&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_) dnn().cudnnBackendDestroyDescriptor(raw_);
  }
  template <class T, class... More>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T first, More... more) {
    const T values[] = {first, static_cast<T>(more)...};
    dnn().check(dnn().cudnnBackendSetAttribute(raw_, name, type, 1 + sizeof...(more), values),
                "cudnnBackendSetAttribute");
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.raw_);
  }
  // At most `most` values; fewer where there are fewer. `values` holds descriptors that exist already where it is one.
  template <class T>
  int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t most, T* values) const {
    int64_t count = 0;
    dnn().check(dnn().cudnnBackendGetAttribute(raw_, name, type, most, &count, values), "cudnnBackendGetAttribute");
    return std::min(count, most);
  }
  bool is_possible() { return dnn().cudnnBackendFinalize(raw_) == CUDNN_STATUS_SUCCESS; }
  void finalize() { dnn().check(dnn().cudnnBackendFinalize(raw_), "cudnnBackendFinalize"); }
  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

enum Id : int64_t { kX = 1, kW, kY };  // of the tensors

// Of the three kernels: the operation, which tensor is its result, and the names of its parts.
struct Kind {
  cudnnBackendDescriptorType_t operation;
  Id result;
  cudnnBackendAttributeName_t alpha, beta, convolution, x, w, y;
};
constexpr Kind kForward{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                        kY,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
constexpr Kind kInputGrad{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                          kX,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY};
constexpr Kind kWeightGrad{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                           kW,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                           CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY};

// x, w and y of the forward pass or their gradients: one of the three is the result. [N,C,H,W] or [O,C,KH,KW] in any layout.
struct Convolution {
  Kind kind;
  Precision precision;
  Conv2dParams params;
  Tensor x, w, y, bias;
};

int64_t alignment_of(const Tensor& t) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(t.raw()) | 64;
  return static_cast<int64_t>(address & -address);
}

Descriptor tensor_descriptor(const Tensor& t, Id id) {
  const Shape &size = t.shape(), &stride = t.strides();
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
        t.dtype() == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT);
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, size[0], size[1], size[2], size[3]);
  d.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, stride[0], stride[1], stride[2], stride[3]);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, int64_t{id});
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, alignment_of(t));
  d.finalize();
  return d;
}

// Whether an algorithm computes as exactly as the variant's name says. Some forms round more coarsely than sums of products.
bool is_exact_enough(const Descriptor& config, Precision precision) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.raw();
  config.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
  const int64_t count =
      engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, std::size(notes), notes);
  return std::none_of(notes, notes + count, [&](cudnnBackendNumericalNote_t note) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: return precision == Precision::f32;
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return precision != Precision::bf16;
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return true;
      default: return false;
    }
  });
}

// A shape's algorithms, the likeliest first; once timed, the fastest alone.
class Plan {
 public:
  explicit Plan(const Convolution& c) {
    Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const Conv2dParams& p = c.params;
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, int64_t{2});
    convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, p.stride.h, p.stride.w);
    convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, p.padding.h, p.padding.w);
    convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, p.padding.h, p.padding.w);
    convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, p.dilation.h, p.dilation.w);
    convolution.finalize();
    Descriptor x = tensor_descriptor(c.x, kX), w = tensor_descriptor(c.w, kW), y = tensor_descriptor(c.y, kY);
    Descriptor operation(c.kind.operation), graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    operation.set(c.kind.alpha, CUDNN_TYPE_FLOAT, 1.0f);
    operation.set(c.kind.beta, CUDNN_TYPE_FLOAT, 0.0f);
    operation.set(c.kind.convolution, convolution);
    operation.set(c.kind.x, x);
    operation.set(c.kind.w, w);
    operation.set(c.kind.y, y);
    if (!operation.is_possible()) return;
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, dnn().handle);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
    if (!graph.is_possible()) return;
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) add_configs(graph, mode, c.precision);
    for (Descriptor* part : {&convolution, &x, &w, &y, &operation, &graph}) parts_.push_back(std::move(*part));
    while (!algorithms_.empty() && !algorithms_[0].build()) algorithms_.erase(algorithms_.begin());
  }

  bool can_run() const { return !algorithms_.empty(); }

  void run(const Convolution& c) {
    if (!timed_) {
      const size_t best = fastest(algorithms_.size(), [&](size_t i) {
        return algorithms_[i].build() && algorithms_[i].execute(c) == CUDNN_STATUS_SUCCESS;
      });
      std::swap(algorithms_[0], algorithms_[best]);
      algorithms_.erase(algorithms_.begin() + 1, algorithms_.end());
      timed_ = true;
    }
    dnn().check(algorithms_[0].execute(c), "cudnnBackendExecute");
  }

 private:
  struct Algorithm {
    explicit Algorithm(Descriptor of) : config(std::move(of)) {}
    Descriptor config, plan{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR};
    int64_t workspace_bytes = -1;  // until it is built

    // False if it cannot be, or wants too much memory.
    bool build() {
      constexpr int64_t kMostBytes = int64_t{1} << 30;
      if (workspace_bytes >= 0) return true;
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, dnn().handle);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (!plan.is_possible()) return false;
      int64_t bytes = 0;
      plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes);
      if (bytes > kMostBytes) return false;
      workspace_bytes = bytes;
      return true;
    }

    cudnnStatus_t execute(const Convolution& c) const {
      const Tensor workspace = scratch(workspace_bytes, DType::u8);
      Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
      pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, int64_t{kX}, kW, kY);
      pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, c.x.raw(), c.w.raw(), c.y.raw());
      pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace.raw());
      pack.finalize();
      return dnn().cudnnBackendExecute(dnn().handle, plan.raw(), pack.raw());
    }
  };

  void add_configs(const Descriptor& graph, cudnnBackendHeurMode_t mode, Precision precision) {
    constexpr int64_t kMost = 10;
    Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    if (!heuristic.is_possible()) return;
    std::vector<Descriptor> configs;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (int64_t i = 0; i < kMost; ++i) raw.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).raw());
    const int64_t count =
        heuristic.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, raw.data());
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      if (is_exact_enough(configs[i], precision)) algorithms_.emplace_back(std::move(configs[i]));
    }
  }

  std::vector<Descriptor> parts_;  // which the algorithms refer to
  std::vector<Algorithm> algorithms_;
  bool timed_ = false;
};

Plan& plan_of(const Convolution& c) {
  static std::map<std::vector<int64_t>, Plan> plans;
  const Conv2dParams& p = c.params;
  std::vector<int64_t> key{c.kind.operation, static_cast<int64_t>(c.precision),
                           p.stride.h,       p.stride.w,
                           p.padding.h,      p.padding.w,
                           p.dilation.h,     p.dilation.w};
  for (const Tensor* t : {&c.x, &c.w, &c.y}) {
    for (size_t i = 0; i < 4; ++i) key.insert(key.end(), {t->shape()[i], t->strides()[i]});
    key.insert(key.end(), {alignment_of(*t), static_cast<int64_t>(t->dtype())});
  }
  const auto known = plans.find(key);
  return known != plans.end() ? known->second : plans.emplace(key, Plan(c)).first->second;
}

// The convolution that the library is given for the tensors of a call: in bf16, new ones in channels-last, yet to be filled.
Convolution given_to_library(Convolution c) {
  if (c.precision != Precision::bf16) return c;
  for (Tensor* t : {&c.x, &c.w, &c.y}) {
    const Shape channels_last{t->size(0), t->size(2), t->size(3), t->size(1)};
    *t = Tensor::empty(channels_last, DType::bf16, Device::cuda).permute({0, 3, 1, 2});
  }
  return c;
}

void run(const Convolution& ours) {
  Convolution theirs = given_to_library(ours);
  const auto copy = [](const Tensor& from, Tensor to) {
    if (from.raw() != to.raw()) kernels::copy.run(Device::cuda, from, to);
  };
  const Kind& kind = ours.kind;
  if (kind.result != kX) copy(ours.x, theirs.x);
  if (kind.result != kW) copy(ours.w, theirs.w);
  if (kind.result != kY) copy(ours.y, theirs.y);
  plan_of(theirs).run(theirs);
  if (kind.result == kX) copy(theirs.x, ours.x);
  if (kind.result == kW) copy(theirs.w, ours.w);
  if (kind.result != kY) return;
  copy(theirs.y, ours.y);
  Tensor y = ours.y;
  if (ours.bias.defined()) {
    kernels::binary.run(Device::cuda, BinaryOp::add, y, ours.bias.reshape({1, y.size(1), 1, 1}).expand(y.shape()), y);
  }
  const double slope = ours.params.activation_slope;
  if (slope != 1) kernels::unary.run(Device::cuda, UnaryOp::leaky_relu, y, {.a = slope}, y);
}

bool takes(const Convolution& c) {
  const bool f32 = c.x.dtype() == DType::f32 && c.w.dtype() == DType::f32 && c.y.dtype() == DType::f32;
  return f32 && c.params.pad_mode == PadMode::zero && precision_allows(c.precision) &&
         plan_of(given_to_library(c)).can_run();
}

}  // namespace

void register_cudnn() {
  dnn();  // so that nothing is registered without the library
  for (const auto& [name, precision] : {std::pair{"cudnn_bf16", Precision::bf16},
                                        std::pair{"cudnn_tf32", Precision::tf32}, std::pair{"cudnn", Precision::f32}}) {
    using Params = Conv2dParams;
    const auto forward = [=](const Tensor& x, const Tensor& w, const Tensor& bias, const Params& p, const Tensor& y) {
      return Convolution{kForward, precision, p, x, w, y, bias};
    };
    const auto input_grad = [=](const Tensor& dy, const Tensor& w, const Params& p, const Tensor& dx) {
      return Convolution{kInputGrad, precision, p, dx, w, dy, {}};
    };
    const auto weight_grad = [=](const Tensor& x, const Tensor& dy, const Params& p, const Tensor& dw) {
      return Convolution{kWeightGrad, precision, p, x, dw, dy, {}};
    };
    const auto add = [&](auto& slot, const auto& convolution) {
      slot.add(
          Device::cuda, name, [=](const auto&... arguments) { run(convolution(arguments...)); },
          [=](const auto&... arguments) { return takes(convolution(arguments...)); });
    };
    add(kernels::conv2d_forward, forward);
    add(kernels::conv2d_input_grad, input_grad);
    add(kernels::conv2d_weight_grad, weight_grad);
  }
}

}  // namespace asap::cuda
