// Planning and running inference of one size. Declared in session.h.
#include "asapnet/session.h"

#include <algorithm>

#include "nn/init.h"
#include "tensor/operands.h"

namespace asap::asapnet {
namespace {

// The first label outside 0..classes-1, with its place.
void check_labels(const Tensor& labels, int64_t classes) {
  const int64_t at = first_label_outside(labels, classes), height = labels.size(1), width = labels.size(2);
  ASAP_CHECK(at < 0, "session: expected labels 0..", classes - 1, ", got ", labels.reshape({-1}).select(0, at).item(),
             " at column ", at % width, ", row ", at / width % height, " of label map ", at / (width * height));
}

void copy_to_device(const Tensor& packed, Tensor& place) {
  backend(place.device()).copy_from_host(packed.raw(), place.raw(), place.bytes());
  place.bump_version();
}

void on_host(const char* what, const Tensor& x, const Shape& shape) {
  ASAP_CHECK(x.defined(), "session: expected ", what, " ", shape, ", got none");
  ASAP_CHECK(x.device() == Device::cpu, "session: expected ", what, " in host memory, got a tensor on ", x.device());
  ASAP_CHECK(x.shape() == shape, "session: expected ", what, " ", shape, ", got ", x.shape());
}

}  // namespace

Tensor session_weight(const Tensor& w, const SessionOptions& options) {
  const DType dtype = options.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  const Layout pictures = options.device == Device::cpu ? Layout::row_major : Layout::channels_last;
  const Tensor there = w.to(options.device);
  return w.rank() == 4 ? there.to(dtype).to(weight_layout(options.device, dtype, pictures)) : there.to(DType::f32);
}

InferenceSession::InferenceSession(const Generator& generator, const SessionOptions& options)
    : config_(generator.config()), options_(options), generator_((nn::init::Blank(), config_)) {
  ASAP_CHECK(options.batch >= 1, "session: expected a batch of at least 1, got ", options.batch);
  config_.check_size(options.height, options.width, "session");
  const Shape values{options.batch, config_.output_nc, options.height, options.width};
  const bool picture = options.output == SessionOutput::picture;
  result_ = picture ? buffer(picture_shape(values), DType::u8) : buffer(values, DType::f32);
  host_result_ = options.device == Device::cpu ? result_ : Tensor::empty(result_.shape(), result_.dtype());
  const DType label = config_.label_channels() <= 256 ? DType::u8 : DType::i32;
  labels_ = config_.no_one_hot ? buffer({options_.batch, 3, options_.height, options_.width}, DType::f32)
                               : buffer({options_.batch, options_.height, options_.width}, label);
  if (config_.instance_channel()) instance_ = buffer({options.batch, 1, options.height, options.width}, DType::f32);
  if (config_.condition_on_z) z_ = buffer({options_.batch, config_.z_dim}, DType::f32);
  take_weights(generator);
  if (options.device != Device::cpu) {
    if (config_.no_one_hot) forward();  // makes the tent's weights, which stay
    compute();                          // recorded now, so that the first run is no slower than the others
  }
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

void InferenceSession::take_weights(const Generator& generator) {
  const nn::NamedVariables given = generator.named_parameters();
  nn::NamedVariables own = generator_.named_parameters();
  for (size_t i = 0; i < own.size(); ++i) {
    const Tensor w = given[i].second.value();
    const Tensor taken = session_weight(w, options_);
    if (!taken.shares_storage(w)) bytes_ += taken.bytes();
    own[i].second.set_value(taken);
  }
}

void InferenceSession::load_f32(const char* what, const Tensor& given, Tensor& place) {
  on_host(what, given, place.shape());
  ASAP_CHECK(given.dtype() == DType::f32, "session: expected ", what, " to be f32, got ", given.dtype());
  copy_to_device(given.contiguous(), place);
}

void InferenceSession::load_labels(const Tensor& given) {
  on_host("labels", given, labels_.shape());
  ASAP_CHECK(given.dtype() == DType::u8 || given.dtype() == DType::i32,
             "session: expected labels to be u8 or i32, got ", given.dtype());
  const Tensor packed = given.contiguous();
  copy_to_device(packed.to(labels_.dtype()), labels_);
  check_labels(packed, config_.label_channels());  // while they are on their way
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

void InferenceSession::forward() {
  const NoGrad no_grad;
  const ScopedPrecision precision(options_.precision);
  const Tensor labels = config_.no_one_hot ? Tensor() : labels_;
  const Variable z = z_given_ ? z_ : Tensor();
  Tensor x = instance_;
  if (config_.no_one_hot) x = x.defined() ? cat({labels_, x}, 1) : labels_;
  result_.copy_from(options_.output == SessionOutput::picture ? generator_.picture(labels, x, z)
                                                              : generator_.forward(labels, x, z).y.value());
}

void InferenceSession::compute() {
  auto& graph = graphs_[z_given_];
  if (graph) return graph->replay();
  graph = backend(options_.device).capture([this] { forward(); }, graphs_[!z_given_].get());
}

size_t InferenceSession::bytes() const {
  size_t kept = 0;
  for (const auto& graph : graphs_) kept = std::max(kept, graph ? graph->bytes() : 0);
  return bytes_ + kept;
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
