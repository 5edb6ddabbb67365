// What the program says where it was built without its optional packages: MPI, Protocol Buffers, cpp-httplib, libwebp, libtiff. This
// test links such a build of the files that use them (CMakeLists.txt), whatever this machine has.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/export/onnx_graph.h"
#include "train/pictures/image_files.h"
#include "train/ranks/mpi.h"
#include "train/run/tensorboard.h"
#include "train/serve/server.h"

namespace asap::train {
namespace {

using tests::contains;
using tests::error_of;

// What join_ranks() says where a launcher left these variables and no others.
std::string launched_with(const std::map<std::string, std::string>& variables) {
  const char* all[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "SLURM_NTASKS"};
  for (const char* name : all) unsetenv(name);
  for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
  const std::string error = error_of(join_ranks);
  for (const char* name : all) unsetenv(name);
  return error;
}

TEST_CASE("without MPI, one of several ranks does not train alone") {
  REQUIRE_FALSE(mpi_is_built_in());
  const std::string refusal = "a launcher started 4 of this program to work together, but it was built without MPI (libopenmpi-dev)";
  CHECK(launched_with({{"OMPI_COMM_WORLD_SIZE", "4"}}) == refusal);
  CHECK(launched_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}) == refusal);
  CHECK(launched_with({{"PMIX_RANK", "0"}, {"SLURM_NTASKS", "4"}}) == refusal);
  CHECK(launched_with({{"PMIX_RANK", "0"}, {"SLURM_NTASKS", "1"}}) == "");
  CHECK(launched_with({{"SLURM_NTASKS", "4"}}) == "");                                 // inside a job, not started by srun
  CHECK(launched_with({{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_NTASKS", "4"}}) == "");  // mpirun -n 1 inside a job
  tests::ran();
}

TEST_CASE("without Protocol Buffers or cpp-httplib, what is asked for is refused with the packages' names") {
  CHECK(contains(error_of(check_tensorboard_possible), "(libprotobuf-dev and protobuf-compiler)"));
  CHECK(contains(error_of(check_onnx_is_here), "(protobuf-compiler and libprotobuf-dev)"));
  CHECK(contains(error_of([] { OnnxGraph().serialize({}); }), "writes no ONNX files"));
  CHECK(contains(error_of(check_can_serve), "libcpp-httplib-dev"));
  tests::ran();
}

TEST_CASE("without libwebp and libtiff, their pictures are refused with the package's name") {
  const std::filesystem::path pictures = std::filesystem::path(ASAP_GOLDEN_DIR) / "pictures";
  const auto error = [&](const char* name) { return error_of([&] { read_photo(pictures / name); }); };
  CHECK(contains(error("webp_lossy.webp"), "webp_lossy.webp: this build reads no WebP"));
  CHECK(contains(error("webp_lossy.webp"), "build again with libwebp-dev installed"));
  CHECK(contains(error("tiff_lzw.tif"), "build again with libtiff-dev installed"));
  CHECK(contains(error("foreign.gif"), "expected a picture (JPEG, PNG or BMP)"));
  CHECK(picture_kind("a.webp") == PictureKind::unreadable);
  CHECK(picture_kind("a.tiff") == PictureKind::unreadable);
  tests::ran();
}

}  // namespace
}  // namespace asap::train
