// Options as JSON and as text: every option there and back, published names, and errors that name what is wrong.
#include <doctest/doctest.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/options/config_json.h"
#include "train/options/nearest.h"
#include "train/options/resolve.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::error_of;

namespace {

// A value unlike the default for every option.
Options unusual_options() {
  Options options;
  int64_t number = 1000;
  for (const OptionField& field : option_fields(options)) {
    if (auto* v = std::get_if<bool*>(&field.value)) **v = !**v;
    if (auto* v = std::get_if<int64_t*>(&field.value)) **v = ++number;
    if (auto* v = std::get_if<double*>(&field.value)) **v = 0.1 + static_cast<double>(++number);
    if (auto* v = std::get_if<std::string*>(&field.value)) **v = "text \"" + std::to_string(++number) + "\" \xc3\xa9";
    if (auto* v = std::get_if<asapnet::GanMode*>(&field.value)) **v = asapnet::GanMode::w;
    if (auto* v = std::get_if<Every*>(&field.value)) **v = {++number, !(*v)->epochs};
  }
  return options;
}

std::string error_for(const std::string& json) {
  Options options;
  return error_of([&] { options_from_json(json, "my.json", options); });
}

}  // namespace

TEST_CASE("JSON: every option there and back") {
  Options there = unusual_options(), back;
  options_from_json(options_to_json(there), "memory", back);
  const auto fields = option_fields(there), read = option_fields(back);
  REQUIRE(fields.size() == read.size());
  for (size_t i = 0; i < fields.size(); ++i) {
    CAPTURE(fields[i].key);
    CHECK(to_text(fields[i]) == to_text(read[i]));
  }
  CHECK(options_to_json(back) == options_to_json(there));
  tests::ran();
}

TEST_CASE("text: every option there and back") {
  Options there = unusual_options(), back;
  const auto fields = option_fields(there), read = option_fields(back);
  for (size_t i = 0; i < fields.size(); ++i) {
    set_from_text(read[i], to_text(fields[i]));
    CHECK(to_text(read[i]) == to_text(fields[i]));
  }
}

TEST_CASE("JSON: the keys are the published options as their command line spells them") {
  Options options;
  std::set<std::string> keys, flags;
  for (const OptionField& field : option_fields(options)) {
    CHECK(keys.insert(field.key).second);
    CHECK(flags.insert(field.flag).second);
  }
  for (const char* published : {"label_nc",
                                "contain_dontcare_label",
                                "no_instance_edge",
                                "no_instance_dist",
                                "lr_instance",
                                "no_one_hot",
                                "crop_size",
                                "aspect_ratio",
                                "learned_ds_factor",
                                "lr_width",
                                "lr_max_width",
                                "lr_depth",
                                "hr_width",
                                "hr_depth",
                                "reflection_pad",
                                "replicate_pad",
                                "output_nc",
                                "ndf",
                                "n_layers_D",
                                "num_D",
                                "norm_D",
                                "norm_G",
                                "ngf",
                                "z_dim",
                                "use_vae",
                                "gan_mode",
                                "lambda_feat",
                                "lambda_vgg",
                                "lambda_kld",
                                "no_ganFeat_loss",
                                "no_vgg_loss",
                                "batchSize",
                                "preprocess_mode",
                                "load_size",
                                "dataset_mode",
                                "dataroot",
                                "serial_batches",
                                "no_flip",
                                "nThreads",
                                "max_dataset_size",
                                "phase",
                                "niter",
                                "niter_decay",
                                "lr",
                                "beta1",
                                "beta2",
                                "no_TTUR",
                                "D_steps_per_G",
                                "label_dir",
                                "image_dir",
                                "instance_dir"}) {
    CAPTURE(published);
    CHECK(keys.contains(published));
  }
  for (const char* flag : {"--label-nc",
                           "--crop-size",
                           "--batch-size",
                           "--num-d",
                           "--ndf",
                           "--lr-width",
                           "--hr-depth",
                           "--learned-ds-factor",
                           "--reflection-pad",
                           "--no-instance-edge",
                           "--no-ttur",
                           "--niter",
                           "--niter-decay",
                           "--gan-mode",
                           "--lambda-feat",
                           "--no-vgg-loss",
                           "--no-ganfeat-loss",
                           "--d-steps-per-g",
                           "--serial-batches",
                           "--no-flip",
                           "--adam-eps",
                           "--vgg",
                           "--vgg-normalise",
                           "--init-g",
                           "--init-d",
                           "--steps",
                           "--seed",
                           "--threads",
                           "--workers"}) {
    CAPTURE(flag);
    CHECK(flags.contains(flag));
  }
}

TEST_CASE("JSON: a part of the options leaves the others alone") {
  Options options;
  options_from_json(
      R"({"batchSize": 4, "num_D": 3, "no_TTUR": true, "lr": 1e-3, "gan_mode": "ls", "save_every": 50, "sample_every": "3e"})",
      "my.json", options);
  CHECK(options.train.batchSize == 4);
  CHECK(options.model.num_D == 3);
  CHECK(options.train.no_TTUR);
  CHECK(options.train.lr == 1e-3);
  CHECK(options.model.gan_mode == asapnet::GanMode::ls);
  CHECK(options.train.save_every == Every{50, false});
  CHECK(options.train.sample_every == Every{3, true});
  CHECK(options.model.ndf == 64);
}

TEST_CASE("JSON: errors name the file, the key and what would do") {
  CHECK(error_for(R"({"batchsize": 4})") == "my.json: there is no option 'batchsize'; the nearest is 'batchSize'");
  CHECK(contains(error_for(R"({"label_count": 4})"), "there is no option 'label_count'; the nearest is 'label_nc'"));
  CHECK(error_for(R"({"batchSize": "four"})") == "my.json: batchSize: expected a whole number, got \"four\"");
  CHECK(contains(error_for(R"({"batchSize": 2.5})"), "batchSize: expected a whole number, got 2.5"));
  CHECK(contains(error_for(R"({"lr": true})"), "lr: expected a number, got true"));
  CHECK(contains(error_for(R"({"no_flip": 1})"), "no_flip: expected true or false, got 1"));
  CHECK(contains(error_for(R"({"norm_D": null})"), "norm_D: expected text, got null"));
  CHECK(contains(error_for(R"({"save_every": "often"})"),
                 "save_every: expected a number of steps, or of epochs as in 2e, got 'often'"));
  CHECK(contains(error_for(R"({"gan_mode": "best"})"), "hinge, ls, original or w"));
  CHECK(contains(error_for(R"({"batchSize": 99999999999999999999})"), "batchSize: expected a whole number"));
  CHECK(contains(error_for(R"({"lr": 1e999})"), "my.json: expected numbers that a computer can hold"));
  CHECK(contains(error_for(R"({"ndf": 8, "ndf": 9})"), "found ndf twice"));
  CHECK(contains(error_for("[1]"), "expected a JSON object"));
  CHECK(contains(error_for("{\n\"ndf\": 8,\n"), "my.json: expected JSON, but line 3 is not"));
  CHECK(contains(error_for(""), "expected JSON"));
  Options options;
  CHECK(contains(error_of([&] { options_from_json_file("/nowhere/my.json", options); }),
                 "/nowhere/my.json: cannot be read"));
}

TEST_CASE("JSON: endless nesting and a million keys are refused soon, at every depth") {
  for (const char* open : {"[", "{\"ndf\":"}) {
    std::string deep;
    for (int i = 0; i < 80'000; ++i) deep += open;
    CHECK(error_for(deep) == "my.json: expected JSON of at most 64 levels, found deeper ones");
    CHECK(error_for("{\"ndf\":" + deep) == "my.json: expected JSON of at most 64 levels, found deeper ones");
  }
  CHECK(error_for(R"({"ndf": {"a": [{"b": 1, "b": 2}]}})") == "my.json: expected every key once, found b twice");
  CHECK(contains(error_for(R"({"ndf": ")" "\x7f" R"(\u001b[31m"})"), "got \"?\\u001b[31m\""));
  CHECK(contains(error_for(R"({"gan_mode": "\u001b[31m"})"), "'?[31m'"));
  CHECK(contains(error_for(R"({"\u001b[31m": 1})"), "there is no option '?[31m'"));
  std::string many = "{";
  for (int i = 0; i < 1'000'000; ++i) many += "\"k" + std::to_string(i) + "\":0,";
  many.back() = '}';
  const std::clock_t start = std::clock();  // processor time: other programs do not count
  CHECK(contains(error_for(many), "my.json: there is no option 'k0'"));
  CHECK(std::clock() - start < 20 * CLOCKS_PER_SEC);
}

TEST_CASE("resolve: derived values, and errors that name option and remedy") {
  Options options;
  options.model = asapnet::preset("facades256");
  resolve(options);
  CHECK(options.train.load_size == 286);
  CHECK(options.train.preprocess_mode == "resize_and_crop");
  CHECK(options.train.beta1 == 0);
  CHECK(options.train.beta2 == 0.9);
  CHECK(options.train.threads >= 1);
  options = {.model = asapnet::preset("cityscapes256"), .train = {.dataset_mode = "cityscapes", .no_TTUR = true}};
  resolve(options);
  CHECK(options.train.preprocess_mode == "fixed");
  CHECK(options.train.beta1 == 0.5);

  const auto error_with = [](auto change) {
    Options o;
    change(o);
    return error_of([&] { resolve(o); });
  };
  CHECK(contains(error_with([](Options& o) { o.train.batchSize = 0; }), "batchSize is 0; it must be at least 1"));
  CHECK(contains(error_with([](Options& o) { o.train.lr = 0; }), "lr is 0; it must be above 0"));
  CHECK(contains(error_with([](Options& o) { o.train.beta2 = 1; }), "beta2 is 1"));
  CHECK(contains(error_with([](Options& o) { o.train.dataset_mode = "faces"; }), "facades, cityscapes, custom or aligned"));
  CHECK(contains(error_with([](Options& o) { o.train.spectral_init = "zero"; }), "pytorch or xavier"));
  CHECK(contains(error_with([](Options& o) { o.train.load_size = int64_t{1} << 40; }),
                 "load_size is 1099511627776; it must be at most"));
  CHECK(contains(error_with([](Options& o) { o.train.preprocess_mode = "shrink"; }), "resize_and_crop"));
  CHECK(contains(error_with([](Options& o) { o.model.crop_size = 300; }), "power of two"));
}

TEST_CASE("every: due at multiples of steps or epochs, never with 0") {
  CHECK(Every{3, false}.due(6, 100));
  CHECK_FALSE(Every{3, false}.due(7, 100));
  CHECK(Every{2, true}.due(20, 10));
  CHECK_FALSE(Every{2, true}.due(10, 10));
  CHECK_FALSE(Every{0, false}.due(10, 10));
}

TEST_CASE("nearest name: case and separators don't count") {
  const std::vector<std::string> known{"--batch-size", "--num-d", "--ndf", "--norm-d"};
  CHECK(nearest_name("--batchsise", known) == "--batch-size");
  CHECK(nearest_name("--bach", {"--data", "--batch-size"}) == "--batch-size");
  CHECK(nearest_name("--numD", known) == "--num-d");
  CHECK(nearest_name("--ndff", known) == "--ndf");
  CHECK(nearest_name("x", {}) == "");
}
