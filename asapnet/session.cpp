// Planning and running inference of one size. Declared in session.h.
#include "asapnet/session.h"

#include <algorithm>

#include "asapnet/highres_stream.h"

namespace asap::asapnet {
namespace {

constexpr int64_t kMostClasses = 256;  // a label is a byte

int64_t padded_to(int64_t channels, Layout layout) {
  return layout == Layout::row_major ? channels : (channels + 7) / 8 * 8;
}

// w [O,C,K,K] as conv_layer takes it: nhwc [O,K,K,C], output and input channels filled up with zeros.
Tensor pack_weights(const Tensor& w, int64_t inputs, Layout layout, DType dtype) {
  if (layout == Layout::row_major) return w.to(dtype);
  Tensor packed = Tensor::zeros({padded_to(w.size(0), layout), w.size(2), w.size(3), inputs}, dtype, w.device());
  packed.slice(0, 0, w.size(0)).slice(3, 0, w.size(1)).copy_from(w.permute({0, 2, 3, 1}));
  return packed;
}

// Of a channel that only fills up, scale and shift are 0, and so is its value.
Tensor pack_vector(const Tensor& x, Layout layout) {
  const int64_t channels = padded_to(x.size(0), layout);
  if (channels == x.size(0)) return x.to(DType::f32);
  Tensor packed = Tensor::zeros({channels}, DType::f32, x.device());
  packed.slice(0, 0, x.size(0)).copy_from(x);
  return packed;
}

// The first label outside 0..classes-1, with its place. The pass that finds none is one the compiler vectorises: a search that
// stops at the first would take longer than a card takes for the picture.
template <class T>
void check_labels(const Tensor& labels, int64_t classes) {
  using Word = std::make_unsigned_t<T>;  // negative labels become large ones
  const T* first = labels.data<T>();
  const T* last = first + labels.numel();
  Word largest = 0;
  for (const T* label = first; label != last; ++label) largest = std::max(largest, static_cast<Word>(*label));
  if (static_cast<int64_t>(largest) < classes) return;
  const T* bad =
      std::find_if(first, last, [&](T label) { return static_cast<int64_t>(label) < 0 || label >= classes; });
  const int64_t at = bad - first, width = labels.size(2), height = labels.size(1);
  fail("session: expected labels 0..", classes - 1, ", came ", static_cast<int64_t>(*bad), " at column ", at % width,
       ", row ", at / width % height, " of label map ", at / (width * height));
}

void on_host(const char* what, const Tensor& x, const Shape& shape) {
  ASAP_CHECK(x.defined(), "session: expected ", what, " ", shape, ", came none");
  ASAP_CHECK(x.device() == Device::cpu, "session: expected ", what, " in host memory, came a tensor on ", x.device());
  ASAP_CHECK(x.shape() == shape, "session: expected ", what, " ", shape, ", came ", x.shape());
}

bool covered_by_kernels(const Config& config) {
  return !config.no_one_hot && !config.condition_on_z && config.label_channels() <= kMostClasses;
}

}  // namespace

InferenceSession::InferenceSession(const Generator& generator, const SessionOptions& options)
    : config_(generator.config()), options_(options) {
  ASAP_CHECK(options.batch >= 1, "session: expected a batch of at least 1, came ", options.batch);
  config_.check_size(options.height, options.width, "session");
  const Shape values{options.batch, config_.output_nc, options.height, options.width};
  const bool picture = options.output == SessionOutput::picture;
  result_ = picture ? buffer(picture_shape(values), DType::u8) : buffer(values, DType::f32);
  host_result_ = options.device == Device::cpu ? result_ : Tensor::empty(result_.shape(), result_.dtype());
  if (config_.instance_channel()) instance_ = buffer({options.batch, 1, options.height, options.width}, DType::f32);
  covered_by_kernels(config_) ? plan_kernels(generator) : plan_generator(generator);
  result_locked_ = backend(options_.device).page_lock(host_result_.raw(), host_result_.bytes());
}

InferenceSession::~InferenceSession() {
  if (result_locked_) backend(options_.device).page_unlock(host_result_.raw());
}

Tensor InferenceSession::buffer(const Shape& shape, DType dtype) {
  Tensor x = Tensor::zeros(shape, dtype, options_.device);  // zeros: recording runs on it before labels have come
  bytes_ += x.bytes();
  return x;
}

void InferenceSession::plan_kernels(const Generator& generator) {
  const bool on_cpu = options_.device == Device::cpu;
  const Layout layout = on_cpu ? Layout::row_major : Layout::channels_last;
  const DType dtype = !on_cpu && options_.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  labels_ = buffer({options_.batch, options_.height, options_.width}, DType::u8);
  planes_params_ = {.classes = config_.label_channels(),
                    .factor = config_.fixed_downsampling(),
                    .channels = padded_to(config_.input_channels(), layout),
                    .layout = layout};
  mlp_params_ = {.mlp = mlp_params(config_), .classes = config_.label_channels(), .phi_layout = layout};
  planes_ = buffer(label_planes_shape(labels_.shape(), planes_params_), dtype);
  plan_layers(generator, planes_.shape(), dtype);
  if (!on_cpu) compute();  // recorded now, so that the first run is no slower than the others
}

// Layers write alternately into two buffers, phi into its own.
void InferenceSession::plan_layers(const Generator& generator, const Shape& planes, DType dtype) {
  const LowresStream& stream = generator.lowres_stream();
  const Layout layout = planes_params_.layout;
  int64_t channels = planes_params_.channels;
  // The weights are packed on the device. What is used as it is stays the generator's.
  const auto count = [&](const Tensor& packed, const Variable& original) {
    if (!packed.shares_storage(original.value())) bytes_ += packed.bytes();
    return packed;
  };
  const auto vector = [&](const Variable& x) {
    return x.defined() ? count(pack_vector(x.value().to(options_.device), layout), x) : Tensor();
  };
  const auto add = [&](const Variable& w, const Variable& scale, const Variable& shift, const ConvLayerParams& params) {
    layers_.push_back({.w = count(pack_weights(w.value().to(options_.device), channels, layout, dtype), w),
                       .scale = vector(scale),
                       .shift = vector(shift),
                       .params = params,
                       .y = {}});
    channels = padded_to(w.size(0), layout);
  };
  for (const ConvNormRelu* conv : stream.convs()) {
    add(conv->conv().weight, conv->norm().weight, conv->norm().bias,
        {.pad_mode = conv->pad_mode(),
         .pad = 1,
         .stride = conv->stride(),
         .layout = layout,
         .norm_params = conv->norm().params()});
  }
  add(stream.to_phi().weight, {}, stream.to_phi().bias, {.layout = layout, .norm = false});

  Shape shape = planes;
  std::vector<Shape> shapes;
  int64_t largest[2] = {0, 0};
  for (size_t i = 0; i < layers_.size(); ++i) {
    shapes.push_back(shape = conv_layer_shape(shape, layers_[i].w.shape(), layers_[i].params));
    if (i + 1 < layers_.size()) largest[i % 2] = std::max(largest[i % 2], shape.numel());
  }
  const Tensor turns[2] = {buffer({largest[0]}, dtype), buffer({largest[1]}, dtype)};
  for (size_t i = 0; i + 1 < layers_.size(); ++i)
    layers_[i].y = turns[i % 2].slice(0, 0, shapes[i].numel()).reshape(shapes[i]);
  layers_.back().y = buffer(shapes.back(), dtype);
}

void InferenceSession::run_kernels() {
  const ScopedPrecision precision(options_.precision);
  label_planes(labels_, instance_, planes_params_, planes_);
  const Tensor* x = &planes_;
  for (Layer& layer : layers_) {
    conv_layer(*x, layer.w, layer.scale, layer.shift, layer.params, layer.y);
    x = &layer.y;
  }
  tile_mlp_labels(labels_, config_.lr_instance ? Tensor() : instance_, *x, mlp_params_, result_);
}

// A generator of the session's own, since no weight is repacked here and training may go on with the given one.
void InferenceSession::plan_generator(const Generator& generator) {
  generator_ = std::make_unique<Generator>(config_);
  generator_->load_state_dict(generator.state_dict());
  generator_->to(options_.device);
  labels_ = config_.no_one_hot ? buffer({options_.batch, 3, options_.height, options_.width}, DType::f32)
                               : buffer({options_.batch, options_.height, options_.width}, DType::i32);
  if (config_.condition_on_z) z_ = buffer({options_.batch, config_.z_dim}, DType::f32);
}

void InferenceSession::run_generator() {
  const NoGrad no_grad;
  const ScopedPrecision precision(options_.precision);
  std::vector<Tensor> parts{config_.no_one_hot ? labels_ : one_hot(labels_, config_.label_channels())};
  if (instance_.defined()) parts.push_back(instance_);
  const Tensor y = generator_->forward(cat(parts, 1), z_given_ ? Variable(z_) : Variable()).y.value();
  if (options_.output == SessionOutput::values) {
    result_.copy_from(y);
    return;
  }
  // Step by step as the kernels do it: (v + 1) / 2 * 255, clipped, and the copy cuts off the fraction.
  const Tensor scaled = affine(affine(affine(y, 1, 1), 0.5, 0), 255, 0);
  result_.copy_from(unary(UnaryOp::clamp, scaled, {.a = 0, .b = 255}).permute({0, 2, 3, 1}));
}

void InferenceSession::load_f32(const char* what, const Tensor& given, Tensor& place) {
  on_host(what, given, place.shape());
  ASAP_CHECK(given.dtype() == DType::f32, "session: expected ", what, " to be f32, came ", given.dtype());
  const Tensor packed = given.contiguous();
  backend(options_.device).copy_from_host(packed.raw(), place.raw(), place.bytes());
  place.bump_version();
}

void InferenceSession::load_labels(const Tensor& given) {
  on_host("labels", given, labels_.shape());
  ASAP_CHECK(given.dtype() == DType::u8 || given.dtype() == DType::i32,
             "session: expected labels to be u8 or i32, came ", given.dtype());
  const Tensor packed = given.contiguous();
  given.dtype() == DType::u8 ? check_labels<uint8_t>(packed, config_.label_channels())
                             : check_labels<int32_t>(packed, config_.label_channels());
  const Tensor converted = packed.to(labels_.dtype());
  backend(options_.device).copy_from_host(converted.raw(), labels_.raw(), labels_.bytes());
  labels_.bump_version();
}

void InferenceSession::load(const SessionInput& input) {
  config_.no_one_hot ? load_f32("the picture", input.labels, labels_) : load_labels(input.labels);
  if (instance_.defined()) {
    load_f32("the instance channel", input.instance, instance_);
  } else {
    ASAP_CHECK(!input.instance.defined(), "session: the configuration has no instance channel, but one came");
  }
  z_given_ = z_.defined() && input.z.defined();
  if (z_given_) load_f32("z", input.z, z_);
}

void InferenceSession::compute() {
  if (generator_) return run_generator();
  if (graph_) return graph_->replay();
  graph_ = backend(options_.device).capture([this] { run_kernels(); });
}

const Tensor& InferenceSession::fetch() {
  if (options_.device == Device::cpu) return result_;
  backend(options_.device).copy_to_host(result_.raw(), host_result_.raw(), result_.bytes());
  return host_result_;
}

const Tensor& InferenceSession::run(const SessionInput& input) {
  load(input);
  compute();
  return fetch();
}

}  // namespace asap::asapnet
