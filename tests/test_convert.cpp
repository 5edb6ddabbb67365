// asapnet convert and asapnet export as a user meets them: one network of a run or of a larger file as a file of its own, weights
// of two bytes and what they cost, and what both refuse.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "nn/checkpoint_file.h"
#include "nn/file_dtype.h"
#include "nn/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "train/export/onnx_generator.h"
#include "train/pictures/image_files.h"
#include "train/pictures/metrics.h"

namespace asap {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using nn::FileDType;

// The picture of the first test map.
std::string picture(const Workshop& shop, const fs::path& weights, const fs::path& out) {
  const Result made = run({"generate", "--weights", text(weights), "--labels", text(shop.label()), "--out", text(out)});
  CAPTURE(made.error);
  REQUIRE(made.code == 0);
  CHECK(made.error.empty());  // nothing assumed
  return read_text(out);
}

void converted(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "convert");
  const Result result = run(arguments);
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
}

std::map<std::string, std::string> dtypes(const fs::path& path) {
  nn::CheckpointFile file(path);
  std::map<std::string, std::string> found;
  for (const nn::TensorInfo& tensor : file.contents().tensors()) found[tensor.name] = tensor.safetensors_dtype;
  return found;
}

std::string metadata(const fs::path& path, const std::string& key) {
  nn::CheckpointFile file(path);
  const auto found = file.contents().metadata().find(key);
  return found == file.contents().metadata().end() ? "" : found->second;
}

void check_equal(const nn::StateDict& a, const nn::StateDict& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& entry : a) {
    const std::string& key = entry.first;
    CAPTURE(key);
    REQUIRE(b.find(key));
    CHECK(b.find(key)->to_vector<float>() == entry.second.to_vector<float>());
  }
}

TEST_CASE("float16: every number of it comes back, what lies between goes to the nearer, on a tie to the even") {
  std::vector<float> exact;
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&half);
    const float value =
        nn::read_view({bytes, 2}, {.dtype = FileDType::f16, .shape = {1}, .strides = {1}}).data<float>()[0];
    const std::vector<uint8_t> packed = nn::pack_values(Tensor::from<float>({value}, {1}), FileDType::f16);
    const auto back = static_cast<uint16_t>(packed[0] | packed[1] << 8);
    if (std::isnan(value)) {
      CHECK((back & 0x7FFF) > 0x7C00);
    } else {
      CHECK(back == half);
    }
    if (bits < 0x7C00) exact.push_back(value);  // rising, finite, not negative
  }
  const auto rounded = [](float value) {
    const std::vector<uint8_t> packed = nn::pack_values(Tensor::from<float>({value}, {1}), FileDType::f16);
    return packed[0] | packed[1] << 8;
  };
  for (size_t i = 0; i + 1 < exact.size(); ++i) {
    const auto low = static_cast<int>(i);  // a number's bits are its place among them
    const float middle = (exact[i] + exact[i + 1]) / 2;
    CHECK(rounded(middle) == low + low % 2);
    CHECK(rounded(std::nextafter(middle, 0.0f)) == low);
    CHECK(rounded(std::nextafter(middle, 1e9f)) == low + 1);
  }
  CHECK(rounded(65519) == 0x7BFF);
  CHECK(contains(error_of([&] { rounded(65520); }), "float16 ends at 65504, which 65520 is beyond"));
  CHECK(contains(error_of([] { nn::pack_values(Tensor::from<int32_t>({1}, {1}), FileDType::f16); }),
                 "got i32 and float16"));
}

TEST_CASE("a run becomes one file that generate takes as it takes the run, in f32 bit for bit") {
  const Workshop shop;
  const std::string own = picture(shop, shop.trained, shop.folder / "own.png");
  const auto of = [&](const std::string& dtype) { return shop.folder / ("G_" + dtype + ".safetensors"); };
  const auto made_with = [&](const std::string& dtype) { return shop.folder / (dtype + ".png"); };
  converted({text(shop.trained), text(shop.folder / "G.safetensors")});
  CHECK(picture(shop, shop.folder / "G.safetensors", shop.folder / "converted.png") == own);
  check_equal(nn::read_state_dict(shop.folder / "G.safetensors"), nn::read_state_dict(shop.generator()));
  CHECK(contains(metadata(shop.folder / "G.safetensors", "config"), "\"crop_size\":32"));
  struct Loss {
    std::string dtype, stored;
    double decibels;
  };
  for (const Loss& loss : {Loss{"f32", "F32", INFINITY}, Loss{"bf16", "BF16", 65}, Loss{"f16", "F16", 75}}) {
    const std::string& dtype = loss.dtype;
    CAPTURE(dtype);
    converted({text(shop.trained), text(of(dtype)), "--dtype", dtype});
    for (const auto& entry : dtypes(of(dtype))) {
      const std::string& key = entry.first;
      CAPTURE(key);
      const bool vector = key.ends_with(".bias") || key.ends_with(".1.weight");
      CHECK(entry.second == (vector ? "F32" : loss.stored));
    }
    picture(shop, of(dtype), made_with(dtype));
    const double close = train::psnr(train::read_photo(made_with(dtype)), train::read_photo(shop.folder / "own.png"));
    CHECK(close >= loss.decibels);  // measured 76 and 83
  }
  // From the smaller file on: the numbers are those that it holds.
  converted({text(of("bf16")), text(shop.folder / "wide.safetensors"), "--dtype", "f32"});
  check_equal(nn::read_state_dict(shop.folder / "wide.safetensors"), nn::read_state_dict(of("bf16")));
  CHECK(fs::file_size(of("bf16")) < fs::file_size(of("f32")));
}

TEST_CASE("discriminator and encoder of a run, under the published keys with spectral norm's state") {
  const Workshop shop;
  const fs::path vae = shop.folder / "vae", d = shop.folder / "D.safetensors", e = shop.folder / "E.safetensors";
  REQUIRE(run({"train", "--config", text(shop.config), "--use-vae", "--out", text(vae), "--steps", "1"}).code == 0);
  const fs::path checkpoint = train::latest_checkpoint(vae);
  converted({text(vae), text(d), "--network", "D"});
  converted({text(checkpoint), text(e), "--network", "E", "--dtype", "f16"});
  check_equal(nn::read_state_dict(d), nn::read_state_dict(checkpoint / "D.safetensors"));
  CHECK(dtypes(d).contains("discriminator_0.model1.0.0.weight_orig"));
  CHECK(dtypes(d).contains("discriminator_0.model1.0.0.weight_u"));
  CHECK(dtypes(e).size() == dtypes(checkpoint / "E.safetensors").size());
  CHECK(dtypes(e).at("fc_mu.weight") == "F16");
  CHECK(contains(metadata(e, "config"), "\"use_vae\":true"));
  check_refused({"convert", text(shop.trained), text(shop.folder / "none.safetensors"), "--network", "E"}, 1,
                {"there is no encoder in it"});
  check_refused({"convert", text(d), text(shop.folder / "none.safetensors"), "--network", "E"}, 1,
                {"there is no encoder in it"});
}

TEST_CASE("one network out of a larger file, with the configuration that the user knows") {
  const ScratchFolder folder;
  const Golden golden("gen_replicate_ds4");
  nn::StateDict all;
  for (const auto& [key, tensor] : golden.with_prefix("w.")) all.set("netG.module." + key, tensor);
  all.set("netD.module.discriminator_0.model0.0.weight", Tensor::ones({1, 1, 4, 4}));
  all.set("optimizer.lr", Tensor::ones({1}));
  const fs::path from = folder / "everything.safetensors", to = folder / "G.safetensors";
  nn::write_safetensors(from, all);
  converted({text(from), text(to), "--network", "G", "--replicate-pad"});
  check_equal(nn::read_state_dict(to), golden.with_prefix("w."));
  CHECK(contains(metadata(to, "config"), "\"replicate_pad\":true"));
  CHECK(metadata(to, "network") == "generator");
  converted({text(from), text(folder / "copy.safetensors"), "--dtype", "bf16"});  // without a network, all of it
  CHECK(dtypes(folder / "copy.safetensors").size() == all.size());
  check_refused({"convert", text(from), text(folder / "x.safetensors"), "--replicate-pad"}, 2,
                {"--replicate-pad has no effect without --network G"});
  check_refused({"convert", text(from), text(folder / "x.safetensors"), "--network", "H"}, 2,
                {"expected G or D or E, got 'H'"});
  check_refused({"convert", text(from), text(folder / "x.safetensors"), "--dtype", "f8"}, 1,
                {"expected f32, f16 or bf16, got 'f8'"});
  check_refused({"convert", text(from), text(to)}, 1, {"is there already"});

  nn::StateDict large;
  large.set("w", Tensor::full({2, 2}, 1e5));
  nn::write_safetensors(folder / "large.safetensors", large);
  check_refused({"convert", text(folder / "large.safetensors"), text(folder / "x.safetensors"), "--dtype", "f16"}, 1,
                {"large.safetensors: tensor 'w': float16 ends at 65504, which 100000 is beyond; bfloat16 holds it"});
  CHECK_FALSE(fs::exists(folder / "x.safetensors"));
}

#if ASAP_PROTOBUF
TEST_CASE("export: the file of a run, and refusals") {
  const Workshop shop;
  const fs::path onnx = shop.folder / "G.onnx", small = shop.folder / "small.onnx", link = shop.folder / "link.onnx";
  const auto command = [&](const fs::path& file, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all{"export", "--weights", text(shop.trained), "--onnx", text(file)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  REQUIRE(run(command(onnx)).code == 0);
  REQUIRE(run(command(small, {"--dtype", "bf16", "--size", "64x32", "--output", "u8"})).code == 0);
  CHECK(contains(read_text(onnx), "\"crop_size\":32"));
  CHECK(contains(read_text(onnx), "lowres_stream.model.1.0.weight"));
  CHECK(fs::file_size(small) < fs::file_size(onnx));
  const std::string weights = read_text(shop.generator());
  fs::create_hard_link(shop.generator(), link);
  check_refused(command(link), 1, {"is the file of weights; choose another --onnx"});
  CHECK(read_text(shop.generator()) == weights);
  check_refused(command(shop.folder / "G.txt"), 1, {"must end in .onnx"});
  check_refused(command(shop.folder / "none" / "G.onnx"), 1, {"none"});
  check_refused(command(onnx, {"--size", "33"}), 1, {"33x33", "multiples of the tile side 2"});
  check_refused(command(onnx, {"--size", "2"}), 1, {"--size: 2x2 is too small", "at least 4x4"});
  check_refused(command(onnx, {"--size", "native"}), 2, {"any size in whole tiles"});
  check_refused(command(onnx, {"--input", "rgb"}), 2, {"--input: expected labels or one-hot, got 'rgb'"});
  check_refused(command(onnx, {"--label-nc", "20"}), 1, {"was trained with label_nc 13"});
}
#else
TEST_CASE("export says what this build lacks") {
  const Workshop shop;
  check_refused({"export", "--weights", text(shop.trained), "--onnx", text(shop.folder / "G.onnx")}, 1,
                {"Protocol Buffers"});
}
#endif

}  // namespace
}  // namespace asap
