// InferenceSession against the generator's own ops in float64: values, pictures and refusals, on the device of
// test_device(). The generators are those of the goldens, which test_golden_model.cpp compares with the published model.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>

#include "asapnet/model.h"
#include "asapnet/session.h"
#include "nn/init.h"
#include "nn/network_weights.h"
#include "nn/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::asapnet;
using namespace asap::tests;

namespace {

// Of float32 against float64 in the small models: up to 3.2e-6 measured, as much with the generator's own ops.
constexpr double kFloat32 = 1e-5;

// A small facades model; fresh generators (not AsapNet's initial weights) make pictures of some contrast.
Config tiny() {
  nn::manual_seed(1);
  Config config = preset("quick");
  config.label_nc = 4;
  config.crop_size = 64;
  config.learned_ds_factor = 2;
  config.lr_width = 4;
  config.lr_max_width = 12;
  config.lr_depth = 1;
  config.hr_width = 4;
  config.hr_depth = 2;
  return config;
}

// Inputs of the given size: labels as i32, which both sides take, and the instance channel if there is one.
Batch random_batch(const Config& config, int64_t count, int64_t height, int64_t width, uint64_t seed = 1) {
  Batch batch;
  const double classes = static_cast<double>(config.label_channels());
  batch.labels = random_uniform({count, height, width}, {.seed = seed, .b = classes}).to(DType::i32);
  if (config.no_one_hot) batch.labels = random_uniform({count, 3, height, width}, {.seed = seed, .a = -1});
  if (config.instance_channel()) {
    batch.instance =
        random_uniform({count, 1, height, width}, {.seed = seed + 1, .b = 2}).to(DType::i32).to(DType::f32);
  }
  return batch;
}

SessionInput input_of(const Batch& batch, const Tensor& z = {}) {
  return {.labels = batch.labels, .instance = batch.instance, .z = z};
}

// What AsapNet::inference gives, computed in float64.
Tensor expected_values(Generator& generator, const Batch& batch, const Tensor& z = {}) {
  const NoGrad no_grad;
  Generator exact(generator.config());
  exact.load_state_dict(generator.state_dict());
  exact.to(DType::f64);
  const Tensor x = encode_input(generator.config(), batch, DType::f64);
  return exact.forward(x, z.defined() ? Variable(z.to(DType::f64)) : Variable()).y.value();
}

// Every byte of the picture [N,H,W,C] is (v + 1) / 2 * 255 of its value [N,C,H,W] without the fraction, except where the
// value lies within `slack` (of 2, the range of the values) of a whole number.
void check_picture(const Tensor& picture, const Tensor& values, double slack) {
  REQUIRE(picture.dtype() == DType::u8);
  REQUIRE(picture.shape() == picture_shape(values.shape()));
  const auto bytes = picture.to_vector<uint8_t>();
  const auto exact = values.to(DType::f64).permute({0, 2, 3, 1}).contiguous().to_vector<double>();
  int64_t wrong = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const double v = std::clamp((exact[i] + 1) / 2 * 255, 0.0, 255.0);
    const bool near = bytes[i] >= std::floor(v - slack * 255) && bytes[i] <= std::floor(v + slack * 255);
    wrong += near ? 0 : 1;
  }
  CHECK(wrong == 0);
}

// Values and picture of a session against the generator's ops; `tolerance` of the largest value.
void check_session(Generator& generator, const Batch& batch, double tolerance, const Tensor& z = {}) {
  const int64_t height = batch.labels.size(-2), width = batch.labels.size(-1);
  const std::string shape = batch.labels.shape().str();
  CAPTURE(shape);
  const SessionOptions options{.batch = batch.labels.size(0),
                               .height = height,
                               .width = width,
                               .device = test_device(),
                               .output = SessionOutput::values};
  InferenceSession session(generator, options);
  const Tensor expected = expected_values(generator, batch, z), values = session.run(input_of(batch, z)).clone();
  CHECK(golden_difference(values, expected) < tolerance);

  SessionOptions for_picture = options;
  for_picture.output = SessionOutput::picture;
  InferenceSession pictures(generator, for_picture);
  const Tensor picture = pictures.run(input_of(batch, z)).clone();
  check_picture(picture, expected, tolerance);
  check_picture(picture, values, 1e-7);  // the same float32 values, cut off in float32: half an ulp of 1

  // Other labels in between leave nothing behind.
  const Batch other = random_batch(generator.config(), batch.labels.size(0), height, width, 17);
  const Tensor between = pictures.run(input_of(other, z)).clone();
  CHECK(between.to_vector<uint8_t>() != picture.to_vector<uint8_t>());
  CHECK(pictures.run(input_of(batch, z)).to_vector<uint8_t>() == picture.to_vector<uint8_t>());
}

}  // namespace

TEST_CASE("sessions of the golden generators give what the generator's ops give") {
  ran();
  for (const char* name : {"gen_zero_ds4", "gen_reflect_ds4", "gen_replicate_ds4", "gen_zero_S1x2", "gen_reflect_S1x2",
                           "gen_lrinst_aspect2"}) {
    CAPTURE(name);
    const Golden golden(name);
    Generator generator(golden.config());
    generator.load_state_dict(golden.with_prefix("w."), name);
    const Config& config = generator.config();
    // As far as a float32 run of ours may be from float64 (test_golden_model.cpp).
    const double tolerance = 4 * golden.meta_number("f32_vs_f64_reldiff", "y");
    for (const int64_t count : {1, 2}) {
      check_session(generator, random_batch(config, count, config.height(), config.crop_size), tolerance);
    }
  }
}

TEST_CASE("sessions take instance channels, other sizes, deep and single-layer networks") {
  ran();
  Config config = tiny();
  config.no_instance_edge = false;
  Generator with_edges(config);
  check_session(with_edges, random_batch(config, 2, 64, 64), kFloat32);
  check_session(with_edges, random_batch(config, 1, 32, 96), kFloat32);
  config.hr_depth = 1;
  config.contain_dontcare_label = true;
  Generator shallow(config);
  check_session(shallow, random_batch(config, 1, 64, 64), kFloat32);
}

TEST_CASE("models beyond the kernels of inference run on the generator's ops") {
  ran();
  Config rgb = tiny();
  rgb.no_one_hot = true;
  Generator from_pictures(rgb);
  check_session(from_pictures, random_batch(rgb, 2, 64, 64), kFloat32);

  Config many = tiny();
  many.label_nc = 257;
  Generator of_many(many);
  check_session(of_many, random_batch(many, 1, 64, 64), kFloat32);

  Config coded = tiny();
  coded.use_vae = coded.condition_on_z = true;
  coded.ngf = 2;
  coded.z_dim = 8;
  Generator with_codes(coded);
  const Batch batch = random_batch(coded, 2, 64, 64);
  const Tensor z = random_normal({2, 8}, {.seed = 5});
  check_session(with_codes, batch, kFloat32);
  check_session(with_codes, batch, kFloat32, z);
  CHECK(golden_difference(expected_values(with_codes, batch, z), expected_values(with_codes, batch)) > 1e-3);
}

TEST_CASE("a less exact precision is a permission: close by; on the CPU tf32 changes no bit, and bf16 some") {
  ran();
  const Golden golden("gen_reflect_S1x2");
  Generator generator(golden.config());
  generator.load_state_dict(golden.with_prefix("w."));
  const Config& config = generator.config();
  const Batch batch = random_batch(config, 1, config.height(), config.crop_size);
  const Tensor expected = expected_values(generator, batch);
  SessionOptions options{.batch = 1,
                         .height = config.height(),
                         .width = config.crop_size,
                         .device = test_device(),
                         .output = SessionOutput::values};
  const Tensor exact = InferenceSession(generator, options).run(input_of(batch)).clone();
  // The products of eight layers on rounded operands.
  for (const auto& [precision, tolerance] : {std::pair{Precision::tf32, 1e-2}, {Precision::bf16, 8e-2}}) {
    const std::string precision_name = name(precision);
    CAPTURE(precision_name);
    options.precision = precision;
    const Tensor values = InferenceSession(generator, options).run(input_of(batch)).clone();
    CHECK(golden_difference(values, expected) < tolerance);
    if (test_device() != Device::cpu) continue;
    CHECK((values.to_vector<float>() == exact.to_vector<float>()) == (precision == Precision::tf32));
  }
  CHECK(current_precision() == Precision::f32);
}

TEST_CASE("a session refuses what does not fit, and says what would") {
  ran();
  Config config = tiny();
  Generator generator(config);
  const auto error_at = [&](int64_t batch, int64_t height, int64_t width) {
    return error_of([&] {
      InferenceSession(generator, {.batch = batch, .height = height, .width = width, .device = test_device()});
    });
  };
  CHECK(error_at(1, 62, 64) ==
        "session: the size is 64x62 (width x height), but both must be multiples of the tile side 4; "
        "64x60 or 64x64 would do");
  CHECK(error_at(0, 64, 64) == "session: expected a batch of at least 1, got 0");

  InferenceSession session(generator, {.batch = 2, .height = 32, .width = 64, .device = test_device()});
  const auto error_with = [&](const Tensor& labels, const Tensor& instance = {}) {
    return error_of([&] { session.run({.labels = labels, .instance = instance, .z = {}}); });
  };
  CHECK(error_with({}) == "session: expected labels (2,32,64), got none");
  CHECK(error_with(Tensor::zeros({1, 32, 64}, DType::u8)) == "session: expected labels (2,32,64), got (1,32,64)");
  CHECK(error_with(Tensor::zeros({2, 32, 64})) == "session: expected labels to be u8 or i32, got f32");
  CHECK(error_with(Tensor::zeros({2, 32, 64}, DType::u8), Tensor::zeros({2, 1, 32, 64})) ==
        "session: the configuration has no instance channel, but one came");
  Tensor bytes = Tensor::zeros({2, 32, 64}, DType::u8), numbers = Tensor::zeros({2, 32, 64}, DType::i32);
  bytes.data<uint8_t>()[(1 * 32 + 5) * 64 + 7] = 4;
  numbers.data<int32_t>()[3] = -1;
  CHECK(error_with(bytes) == "session: expected labels 0..3, got 4 at column 7, row 5 of label map 1");
  CHECK(error_with(numbers) == "session: expected labels 0..3, got -1 at column 3, row 0 of label map 0");
  CHECK(session.run({.labels = Tensor::full({2, 32, 64}, 3, DType::u8), .instance = {}, .z = {}}).shape() ==
        Shape{2, 32, 64, 3});

  Config edges = config;
  edges.no_instance_edge = false;
  Generator with_edges(edges);
  InferenceSession wants_edges(with_edges, {.batch = 1, .height = 32, .width = 32, .device = test_device()});
  CHECK(error_of([&] {
          wants_edges.run({.labels = Tensor::zeros({1, 32, 32}, DType::u8), .instance = {}, .z = {}});
        }) == "session: expected the instance channel (1,1,32,32), got none");
}

// Small pictures share pages of host memory, of which a device can lock each but once.
TEST_CASE("many sessions live side by side") {
  ran();
  const Config config = tiny();
  const Generator generator(config);
  const SessionOptions options{.height = 64, .width = 64, .device = test_device()};
  std::vector<std::unique_ptr<InferenceSession>> sessions;
  for (int i = 0; i < 8; ++i) sessions.push_back(std::make_unique<InferenceSession>(generator, options));
  const SessionInput input = input_of(random_batch(config, 1, 64, 64));
  const auto expected = sessions.front()->run(input).to_vector<uint8_t>();
  sessions.erase(sessions.begin());  // what it locked is free again
  sessions.push_back(std::make_unique<InferenceSession>(generator, options));
  for (auto& session : sessions) CHECK(session->run(input).to_vector<uint8_t>() == expected);
}

// Under ThreadSanitizer (preset tsan) this shows what sessions share.
TEST_CASE("threads with a session each, one of them made meanwhile, disturb nobody") {
  if (test_device() != Device::cpu) return;
  ran();
  const Generator generator(tiny());
  const Batch batch = random_batch(generator.config(), 1, 32, 32, 3);
  const SessionOptions options{.height = 32, .width = 32};
  const auto picture = [&] {
    InferenceSession session(generator, options);
    for (int i = 0; i < 3; ++i) session.run(input_of(batch));
    return session.run(input_of(batch)).to_vector<uint8_t>();
  };
  const auto alone = picture();
  std::vector<std::vector<uint8_t>> pictures(4);
  {
    std::vector<std::jthread> threads;
    for (auto& result : pictures) threads.emplace_back([&] { result = picture(); });
  }
  for (const auto& result : pictures) CHECK(result == alone);
}

TEST_CASE("a session plans its memory once") {
  ran();
  Generator model(tiny());
  InferenceSession session(model, {.batch = 1, .height = 64, .width = 64, .device = test_device()});
  const SessionInput input = input_of(random_batch(tiny(), 1, 64, 64));
  const void* place = session.run(input).raw();
  const size_t held = memory_use(test_device()).current;
  CHECK(session.run(input).raw() == place);
  CHECK(memory_use(test_device()).current == held);
  CHECK(session.bytes() > 0);
}

// Tensors' bytes, not the process's: those do not depend on what else the program did.
TEST_CASE("a generator read from a file for its sessions never holds all of its weights in f32 beside theirs") {
  if (test_device() != Device::cpu) return;
  ran();
  Config config = tiny();
  config.lr_max_width = 128;
  config.lr_depth = 8;
  const ScratchFolder folder;
  const SessionInput input = input_of(random_batch(config, 1, 64, 64));
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    CAPTURE(name(precision));
    const SessionOptions options{.height = 64, .width = 64, .precision = precision};
    size_t kept = 0, largest = 0;
    std::vector<uint8_t> expected;
    {
      const Generator given(config);
      nn::write_safetensors(folder / "G.safetensors", given.state_dict());
      for (const auto& [name, parameter] : given.named_parameters()) {
        kept += session_weight(parameter.value(), options).bytes();
        largest = std::max(largest, parameter.value().bytes());
      }
      expected = InferenceSession(given, options).run(input).to_vector<uint8_t>();
    }
    const size_t before = memory_use(Device::cpu).current;
    reset_peak_memory(Device::cpu);
    nn::CheckpointFile file(folder / "G.safetensors");
    Generator generator((nn::init::Blank(), config));
    nn::NetworkWeights(file, "lowres_stream.").load_into(generator, [&](const Tensor& w) { return session_weight(w, options); });
    InferenceSession session(generator, options);
    const size_t peak = memory_use(Device::cpu).peak - before;
    CHECK(peak <= kept + kept / 8 + 2 * largest);  // blocks are rounded by an eighth; one is read, perhaps converted
    CHECK(session.run(input).to_vector<uint8_t>() == expected);
  }
}
