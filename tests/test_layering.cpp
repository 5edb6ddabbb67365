// The house rules that a compiler does not check: the #include lines of every file against the dependency rule
// tensor <- autograd <- nn <- asapnet <- train and the order of train's own rooms (docs/architecture.md), and the length of
// every source file.
// Stands alone: reads the source tree, links nothing of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/support/skip.h"

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxLines = 600;

// Each room and the rooms its files may include, itself among them. tests/ and bench/ may see everything; docs/ (the
// examples) is a user of the library like any other.
const std::map<std::string, std::vector<std::string>> kMayInclude{
    {"tensor", {"tensor"}},
    {"cuda", {"cuda", "tensor"}},
    {"autograd", {"autograd", "tensor"}},
    {"nn", {"nn", "autograd", "tensor"}},
    {"asapnet", {"asapnet", "nn", "autograd", "tensor"}},
    {"train/files", {"train/files", "nn", "tensor"}},
    {"train/pictures", {"train/pictures", "train/files", "tensor"}},
    {"train/data", {"train/data", "train/pictures", "train/files", "asapnet", "tensor"}},
    {"train/synth", {"train/synth", "train/data", "train/pictures", "train/files", "tensor"}},
    {"train/options", {"train/options", "train/data", "train/pictures", "train/files", "asapnet", "nn", "tensor"}},
    {"train/ranks", {"train/ranks", "train/files", "tensor"}},
    {"train/run", {"train/run", "train/ranks", "train/options", "train/data", "train/pictures", "train/files", "asapnet", "nn", "tensor"}},
    {"train/infer",
     {"train/infer", "train/run", "train/ranks", "train/options", "train/data", "train/pictures", "train/files", "asapnet", "nn", "tensor"}},
    {"train/export", {"train/export", "train/infer", "train/run", "train/ranks", "train/options", "train/files", "asapnet", "nn", "tensor"}},
    {"train/serve",
     {"train/serve", "train/infer", "train/run", "train/ranks", "train/options", "train/synth", "train/data", "train/pictures", "train/files", "asapnet", "nn",
      "tensor"}},
    {"train/cli",
     {"train/cli", "train/serve", "train/export", "train/infer", "train/run", "train/ranks", "train/options", "train/synth", "train/data", "train/pictures", "train/files", "bench", "asapnet",
      "nn", "tensor"}},
    {"docs", {"docs", "train/synth", "train/data", "train/pictures", "asapnet", "nn", "autograd", "tensor"}},
    {"bench", {"*"}},
    {"tests", {"*"}},
};

// The room that a path lies in: "train/data" for "train/data/batch.h"; empty if in none.
std::string room_of(const std::string& path) {
  for (const auto& [room, unused] : kMayInclude)
    if (path.starts_with(room + "/")) return room;
  return "";
}

struct SourceFile {
  std::string path;  // relative to the source tree, with '/'
  std::vector<std::string> lines;
};

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh" || extension == ".py";
}

SourceFile read_source(const fs::path& path, const fs::path& root) {
  SourceFile file{.path = fs::relative(path, root).generic_string(), .lines = {}};
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) file.lines.push_back(line);
  return file;
}

std::vector<SourceFile> read_tree() {
  const fs::path root = ASAP_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (const char* folder : {"tensor", "cuda", "autograd", "nn", "asapnet", "train", "docs", "bench", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (entry.is_regular_file() && is_source(entry.path())) files.push_back(read_source(entry.path(), root));
    }
  }
  return files;
}

// The room that an #include line names: "nn" for #include "nn/layers.h"; empty for any other line. A quoted name without
// a folder is a file beside the includer. Angle brackets count too: they find our headers just as well.
std::string included_room(const std::string& line, const std::string& own_room) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || line[hash] != '#') return "";
  const size_t word = line.find_first_not_of(" \t", hash + 1);
  if (word == std::string::npos || line.compare(word, 7, "include") != 0) return "";
  const size_t open = line.find_first_of("\"<", word);
  if (open == std::string::npos) return "";
  const std::string name = line.substr(open + 1, line.find_first_of("\">", open + 1) - open - 1);
  if (name.find('/') == std::string::npos) return line[open] == '"' ? own_room : "";
  return room_of(name);
}

// One sentence for every #include of `file` that runs against the rule.
std::vector<std::string> wrong_arrows(const SourceFile& file) {
  std::vector<std::string> wrong;
  const std::string own = room_of(file.path);
  if (own.empty()) return {file.path + ": lies in no room"};
  const std::vector<std::string>& allowed = kMayInclude.at(own);
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string room = included_room(file.lines[i], own);
    const auto is_it = [&](const std::string& other) { return other == room || other == "*"; };
    if (room.empty() || std::any_of(allowed.begin(), allowed.end(), is_it)) continue;
    wrong.push_back(file.path + ":" + std::to_string(i + 1) + ": " + own + "/ must not include " + room + "/");
  }
  return wrong;
}

}  // namespace

TEST_CASE("no #include runs against the order of the rooms") {
  asap::tests::ran();
  const std::vector<SourceFile> files = read_tree();
  size_t arrows = 0;  // includes of our own headers: the walk must have found the tree
  for (const SourceFile& file : files) {
    for (const std::string& sentence : wrong_arrows(file)) FAIL_CHECK(sentence);
    for (const std::string& line : file.lines) arrows += !included_room(line, room_of(file.path)).empty();
  }
  CHECK(files.size() > 100);
  CHECK(arrows > 300);
}

TEST_CASE("the walk notices an arrow that runs backwards") {
  asap::tests::ran();
  const auto complaints = [](const char* path, const char* line) { return wrong_arrows({.path = path, .lines = {line}}).size(); };
  CHECK(complaints("tensor/cpu/matmul.cpp", "#include \"autograd/ops.h\"") == 1);
  CHECK(complaints("nn/layers.h", "#  include <asapnet/config.h>") == 1);
  CHECK(complaints("cuda/conv2d.cu", "#include \"autograd/variable.h\"") == 1);
  CHECK(complaints("train/run/trainer.cpp", "#include \"cuda/common.cuh\"") == 1);
  CHECK(complaints("train/run/trainer.cpp", "#include \"tests/op_cases.h\"") == 1);
  CHECK(complaints("train/data/batch.cpp", "#include \"train/options/options.h\"") == 1);
  CHECK(complaints("train/run/trainer.h", "#include \"train/cli/cli.h\"") == 1);
  CHECK(complaints("train/extra.cpp", "") == 1);
  CHECK(complaints("asapnet/model.h", "#include \"nn/optim.h\"") == 0);
  CHECK(complaints("train/run/trainer.cpp", "#include \"train/data/batch.h\"") == 0);
  CHECK(complaints("tests/test_cuda.cpp", "#include \"cuda/common.cuh\"") == 0);
  CHECK(complaints("tensor/cpu/matmul.cpp", "#include \"matmul_pack.h\"") == 0);
  CHECK(complaints("tensor/cpu/matmul.cpp", "#include <Eigen/Core>") == 0);
  CHECK(complaints("tensor/cpu/matmul.cpp", "// see autograd/ops.h") == 0);
}

TEST_CASE("no source file is longer than 600 lines") {
  asap::tests::ran();
  for (const SourceFile& file : read_tree()) {
    INFO(file.path, " has ", file.lines.size(), " lines; find the seam and split it");
    CHECK(file.lines.size() <= kMaxLines);
  }
}
