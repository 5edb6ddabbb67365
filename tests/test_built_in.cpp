// The model that the program brings with it (train/run/built_in.h): small, complete, and better than a guess at houses it has not seen.
#include <doctest/doctest.h>

#include "nn/safetensors.h"
#include "tests/support/run_program.h"
#include "tests/support/scratch.h"
#include "train/pictures/image_files.h"
#include "train/pictures/metrics.h"
#include "train/pictures/picture_grid.h"
#include "train/run/built_in.h"
#include "train/synth/synth.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::run;
using asap::tests::ScratchFolder;

TEST_CASE("built-in model: bf16 weights of a generator with its configuration, below 1 MB") {
  nn::CheckpointFile file = open_weights(kBuiltIn);
  CHECK(file.bytes() < 1'000'000);
  CHECK(file.contents().metadata().contains("config"));
  for (const nn::TensorInfo& tensor : file.contents().tensors()) {
    CAPTURE(tensor.name);
    CHECK(tensor.dtype == (tensor.sizes.size() < 2 ? "float32" : "bfloat16"));
    CHECK(tensor.name.find("stream") != std::string::npos);  // lowres_stream, highres_stream
  }
}

TEST_CASE("built-in model: generate takes it unless --weights says otherwise, and its houses resemble the real ones") {
  const ScratchFolder scratch;
  const auto map = scratch / "map.png", made = scratch / "made.png";
  // Houses that it has not seen: 9001 to 9006 of its street.
  double own = 0, foreign = 0;
  for (int i = 1; i <= 6; ++i) {
    const SyntheticFacade house = make_synthetic_facade(256, 15, 9000 + i, true);
    write_label_png(map, house.label, label_palette(13));
    const auto result = run({"generate", "--labels", map.string(), "--out", made.string()});
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    CHECK(contains(result.error, "built-in model"));
    own += psnr(read_photo(made), house.photo) / 6;
    foreign += psnr(read_photo(made), make_synthetic_facade(256, 15, 9006 + i, true).photo) / 6;
  }
  CAPTURE(own);
  CAPTURE(foreign);
  CHECK(own > 16);  // 17.3 on the 40 held-out ones
  CHECK(own > foreign + 3);

  CHECK(run({"inspect", "built-in"}).code == 0);
  CHECK(run({"generate", "--weights", "built-in", "--labels", map.string(), "--size", "512", "--out", (scratch / "large.png").string()}).code == 0);
  CHECK(read_photo(scratch / "large.png").width == 512);
  CHECK(contains(run({"generate", "--out", made.string()}).error, "--labels"));
}
