// safetensors and the file layer below it: goldens, round trips, every dtype, hostile headers, failing writes.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "nn/checkpoint_file.h"
#include "nn/file_io.h"
#include "nn/safetensors.h"
#include "tests/support/same_tensors.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::nn;
using namespace asap::tests;

namespace {

const std::filesystem::path kGolden = ASAP_GOLDEN_DIR;

// A file with this JSON header and that many bytes of data behind it.
std::string file_of(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

std::string error_for(const std::string& header, const std::string& data = "") {
  const std::string bytes = file_of(header, data);
  return error_of([&] { open_safetensors(as_bytes(bytes))->read_all(); });
}

Tensor parse_one(const std::string& dtype, const std::string& shape, const std::string& data) {
  const std::string bytes = file_of("{\"x\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[0," +
                                        std::to_string(data.size()) + "]}}", data);
  const StateDict state = open_safetensors(as_bytes(bytes))->read_all();
  REQUIRE(state.contains("x"));
  return *state.find("x");
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

template <class T>
Tensor tensor_of(const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape);
}

template <class T>
std::vector<T> values_of(const Tensor& x) {
  return {x.data<T>(), x.data<T>() + x.numel()};
}

}  // namespace

TEST_CASE("StateDict keeps the order names were set in") {
  StateDict state;
  const Tensor a = tensor_of<float>({1}, {1}), b = tensor_of<float>({2}, {1}), c = tensor_of<float>({3}, {1});
  state.set("z", a);
  state.set("a", b);
  state.set("z", c);
  CHECK(state.size() == 2);
  CHECK(state.begin()->first == "z");
  CHECK(state.find("z")->shares_storage(c));
  CHECK(std::next(state.begin())->first == "a");
  CHECK(state.find("q") == nullptr);
  CHECK_FALSE(state.contains("q"));
}

TEST_CASE("safetensors: a golden file is read with its metadata and order") {
  ran();
  CheckpointFile file(kGolden / "train5.safetensors");
  CHECK(file.contents().metadata().at("norm_D") == "spectralinstance");
  CHECK(file.contents().metadata().size() == 36);
  const StateDict tensors = file.contents().read_all();
  CHECK(tensors.begin()->first == "start.G.lowres_stream.model.1.0.weight");
  CHECK(tensors.find("start.G.lowres_stream.model.1.0.weight")->shape() == Shape{8, 5, 3, 3});
  CHECK(read_state_dict(kGolden / "train5.safetensors").size() == tensors.size());
}

TEST_CASE("safetensors: what is written is read back bit for bit, in order, and writing is deterministic") {
  const ScratchFolder folder;
  StateDict state;
  state.set("weights.z", tensor_of<float>({1.5f, -0.f, std::numeric_limits<float>::quiet_NaN(), 1e-45f}, {2, 2}));
  state.set("bytes", tensor_of<uint8_t>({0, 255, 7}, {3}));
  state.set("doubles", tensor_of<double>({0.1, -1e300}, {1, 2, 1}));
  state.set("int", tensor_of<int32_t>({std::numeric_limits<int32_t>::min()}, {}));
  state.set("empty \"quoted\" \xc3\xa9", Tensor::empty({0, 3}));
  const std::map<std::string, std::string> metadata = {{"epoch", "12"}, {"a", "line\nbreak"}};
  write_safetensors(folder / "a.safetensors", state, metadata);
  write_safetensors(folder / "b.safetensors", state, metadata);
  const std::string written = file_bytes(folder / "a.safetensors");
  CHECK(written == file_bytes(folder / "b.safetensors"));
  CHECK_FALSE(std::filesystem::exists(folder / "a.safetensors.tmp"));

  uint64_t header = 0;
  std::memcpy(&header, written.data(), sizeof(header));
  CHECK(header % 8 == 0);
  CHECK(written.substr(8, 14) == "{\"__metadata__");

  CheckpointFile back(folder / "a.safetensors");
  CHECK(back.contents().metadata() == metadata);
  const StateDict tensors = back.contents().read_all();
  REQUIRE(tensors.size() == state.size());
  auto expected = state.begin();
  for (const auto& [name, tensor] : tensors) {
    CHECK(name == expected->first);
    CHECK(same(tensor, expected->second));
    ++expected;
  }
  write_safetensors(folder / "a.safetensors", StateDict{});  // replaces; an empty state is a file too
  CHECK(read_state_dict(folder / "a.safetensors").empty());
}

TEST_CASE("safetensors: a golden file survives being written again") {
  const ScratchFolder folder;
  CheckpointFile file(kGolden / "train5.safetensors");
  const StateDict tensors = file.contents().read_all();
  write_safetensors(folder / "copy.safetensors", tensors, file.contents().metadata());
  CheckpointFile copy(folder / "copy.safetensors");
  const StateDict back = copy.contents().read_all();
  CHECK(copy.contents().metadata() == file.contents().metadata());
  for (const auto& [name, tensor] : tensors) {
    REQUIRE_MESSAGE(back.contains(name), name);
    CHECK_MESSAGE(same(*back.find(name), tensor), name);
  }
}

TEST_CASE("safetensors: every half-precision number widens exactly") {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const auto halves = values_of<float>(parse_one("F16", "[256,256]", bytes_of(all)));
  const auto brains = values_of<float>(parse_one("BF16", "[65536]", bytes_of(all)));
  int wrong = 0;
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31), mantissa = static_cast<int>(bits & 1023);
    double expected = exponent == 0    ? std::ldexp(mantissa, -24)
                      : exponent == 31 ? (mantissa ? std::numeric_limits<double>::quiet_NaN() : INFINITY)
                                       : std::ldexp(1024 + mantissa, exponent - 25);
    if (bits >> 15) expected = -expected;
    const float half = halves[bits];
    const bool same_half = std::isnan(expected) ? std::isnan(half)
                                                : half == expected && std::signbit(half) == std::signbit(expected);
    wrong += !same_half + (std::bit_cast<uint32_t>(brains[bits]) != bits << 16);
  }
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: integers become i32 or say why they cannot, booleans become u8") {
  CHECK(values_of<int32_t>(parse_one("I64", "[2]", bytes_of<int64_t>({-2147483648LL, 2147483647}))) ==
        std::vector<int32_t>{std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()});
  CHECK(values_of<int32_t>(parse_one("I16", "[2]", bytes_of<int16_t>({-3, 9}))) == std::vector<int32_t>{-3, 9});
  CHECK(values_of<int32_t>(parse_one("I8", "[2]", bytes_of<int8_t>({-128, 127}))) == std::vector<int32_t>{-128, 127});
  CHECK(values_of<int32_t>(parse_one("U16", "[1]", bytes_of<uint16_t>({65535}))) == std::vector<int32_t>{65535});
  CHECK(values_of<uint8_t>(parse_one("BOOL", "[3]", std::string("\0\1\7", 3))) == std::vector<uint8_t>{0, 1, 1});
  const auto error = [](const std::string& dtype, const std::string& data) {
    return error_of([&] { parse_one(dtype, "[1]", data); });
  };
  CHECK(error("I64", bytes_of<int64_t>({2147483648LL})) ==
        "tensor 'x': expected integers that fit into 32 bits, got 2147483648");
  CHECK(contains(error("U32", bytes_of<uint32_t>({2147483648U})), "got 2147483648"));
  CHECK(contains(error("U64", bytes_of<uint64_t>({~uint64_t{0}})), "got 18446744073709551615"));
  CHECK(error("F8_E4M3", "x") == "tensor 'x': dtype float8_e4m3fn is not supported");
  CHECK(error("F4", "x") == "tensor 'x': dtype F4 is not supported");  // one that we do not know
}

TEST_CASE("safetensors: hostile headers are refused") {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
  };
  const std::string four = "0123", eight = "01234567";
  CHECK(error_for("{\"a\":" + entry("F32", "[1]", "[0,4]") + "}", four).empty());  // the sound one
  CHECK(error_for("{}").empty());
  CHECK(error_for("{\"a\":" + entry("F32", "[9223372036854775807,0]", "[0,0]") + "}").empty());

  struct Case {
    std::string header, data, expected;
  };
  const std::vector<Case> cases = {
      {"{\"a\":" + entry("F32", "[1]", "[0,4]") + "}", "012", "do not lie within the file's 3 bytes"},
      {"{\"a\":" + entry("F32", "[1]", "[0,4]") + "}", "01234", "expected 4 bytes of data behind the header, found 5"},
      {"{\"a\":" + entry("F32", "[1]", "[4,0]") + "}", four, "do not lie within"},
      {"{\"a\":" + entry("F32", "[1]", "[0,4,8]") + "}", eight, "expected two data_offsets, got 3"},
      {"{\"a\":" + entry("F32", "[2]", "[0,4]") + "}", four, "does not take the 4 bytes"},
      {"{\"a\":" + entry("F64", "[1152921504606846976,16]", "[0,0]") + "}", "", "multiply to more than 63 bits"},
      {"{\"a\":" + entry("F64", "[2305843009213693952]", "[0,0]") + "}", "", "does not take the 0 bytes"},
      {"{\"a\":" + entry("F64", "[0,9223372036854775807,2]", "[0,0]") + "}", "", "multiply to more than 63 bits"},
      {"{\"a\":" + entry("F32", "[18446744073709551615]", "[0,4]") + "}", four, "a number beyond 63 bits"},
      {"{\"a\":" + entry("F32", "[99999999999999999999999]", "[0,4]") + "}", four, "the number 9999"},
      {"{\"a\":" + entry("F32", "[-1]", "[0,4]") + "}", four, "the negative number -1"},
      {"{\"a\":" + entry("F32", "[1]", "[-4,0]") + "}", four, "the negative number -4"},
      {"{\"a\":" + entry("F32", "[1.0]", "[0,4]") + "}", four, "the number 1.0"},
      {"{\"a\":" + entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", four, "tensor 'a': expected at most 8 dimensions, got 9"},
      {"{\"a\":" + entry("F32", "[[1]]", "[0,4]") + "}", four, "an array is not expected at 'a.shape'"},
      {"{\"a\":" + entry("F32", "[{}]", "[0,4]") + "}", four, "an object is not expected at 'a.shape'"},
      {"{\"a\":" + entry("F32", "[\"1\"]", "[0,4]") + "}", four, "a string is not expected at 'a.shape'"},
      {"{\"a\":" + entry("F32", "null", "[0,4]") + "}", four, "null is not expected"},
      {"{\"a\":" + entry("F32", "[true]", "[0,4]") + "}", four, "a boolean is not expected"},
      {"{\"a\":" + entry("Q\\u001b4", "[1]", "[0,4]") + "}", four, "tensor 'a': dtype Q?4 is not supported"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "", "one is missing"},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "", "dtype appears twice"},
      {"{\"a\":{\"dtype\":\"F32\",\"stride\":[1]}}", "", "got 'stride'"},
      {"{\"a\":{\"dtype\":[1]}}", "", "an array is not expected at 'a.dtype'"},
      {"{\"a\":3}", "", "a number is not expected at 'a'"},
      {"{\"a\":\"F32\"}", "", "a string is not expected at 'a'"},
      {"{\"a\":[1]}", "", "an array is not expected at 'a'"},
      {"{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"b\":" + entry("F32", "[1]", "[0,4]") + "}", four, "overlapping"},
      {"{\"a\":" + entry("F32", "[1]", "[4,8]") + "}", eight, "leaving a gap after 0"},
      {"{\"a\":" + entry("F32", "[1]", "[0,4]") + ",\"a\":" + entry("F32", "[1]", "[4,8]") + "}", eight,
       "'a' appears twice"},
      {"{\"__metadata__\":{\"k\":1}}", "", "a number is not expected"},
      {"{\"__metadata__\":{\"k\":{}}}", "", "an object is not expected"},
      {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", "", "metadata 'k' appears twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", "", "'__metadata__' appears twice"},
      {"{\"__metadata__\":\"x\"}", "", "a string is not expected"},
      {"[]", "", "expected the header to start with '{'"},
      {"{\"a\":", "", "not valid JSON"},
      {"{}x", "", "not valid JSON"},
      {"{\"\xff\":{}}", "", "not valid JSON"},
      {"", "", "expected the header to start with '{'"},
  };
  for (const Case& c : cases) {
    const std::string error = error_for(c.header, c.data);
    CHECK_MESSAGE(contains(error, c.expected), c.header, " gave: ", error);
  }
  const std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  CHECK(contains(error_for(deep), "an array is not expected"));
}

TEST_CASE("safetensors: header lengths beyond the file or the limit are refused before anything is allocated") {
  std::string bytes = file_of("{}");
  const auto error_with_length = [&](uint64_t length) {
    std::memcpy(bytes.data(), &length, sizeof(length));
    return error_of([&] { open_safetensors(as_bytes(bytes))->read_all(); });
  };
  CHECK(contains(error_with_length(3), "truncated: expected a header of 3 bytes, found 2"));
  CHECK(contains(error_with_length(100'000'001), "at most 100000000 bytes"));
  CHECK(contains(error_with_length(~uint64_t{0}), "at most 100000000 bytes"));
  CHECK(error_with_length(2).empty());
}

TEST_CASE("safetensors: a file cut anywhere is an error") {
  const std::string odd = file_bytes(kGolden / "odd_expected.safetensors");
  for (size_t length = 0; length < odd.size(); ++length) {
    const std::string cut = odd.substr(0, length);
    CHECK_MESSAGE(!error_of([&] { open_safetensors(as_bytes(cut))->read_all(); }).empty(), "cut at ", length);
  }
  const std::string big = file_bytes(kGolden / "train5.safetensors");
  for (size_t length = 0; length < big.size(); length += length < 25'000 ? 211 : 100'003) {
    const std::string cut = big.substr(0, length);
    CHECK_MESSAGE(!error_of([&] { open_safetensors(as_bytes(cut))->read_all(); }).empty(), "cut at ", length);
  }
}

TEST_CASE("safetensors: a changed byte gives tensors or an asap::Error, nothing else") {
  std::string odd = file_bytes(kGolden / "odd_expected.safetensors");
  for (size_t i = 0; i < odd.size(); ++i) {
    for (const int flip : {1, 4, 32, 128}) {
      odd[i] = static_cast<char>(odd[i] ^ flip);
      CHECK_NOTHROW(error_of([&] { open_safetensors(as_bytes(odd))->read_all(); }));
      odd[i] = static_cast<char>(odd[i] ^ flip);
    }
  }
}

TEST_CASE("write_safetensors: what it cannot write, it refuses") {
  const ScratchFolder folder;
  const auto error_with = [&](const std::string& name, const Tensor& tensor) {
    StateDict state;
    state.set(name, tensor);
    return error_of([&] { write_safetensors(folder / "x.safetensors", state); });
  };
  const Tensor one = tensor_of<float>({1}, {1});
  CHECK(contains(error_with("__metadata__", one), "x.safetensors: a tensor cannot be named __metadata__"));
  CHECK(contains(error_with("\xff", one), "UTF-8"));
  CHECK(contains(error_with("x", Tensor()), "tensor 'x' is undefined"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("files: errors name the file and the reason") {
  const ScratchFolder folder;
  const auto read_error = [](const std::filesystem::path& path) { return error_of([&] { read_state_dict(path); }); };
  const std::string missing = (folder / "none.pth").string();
  CHECK(read_error(missing) == missing + ": cannot be read (No such file or directory)");
  CHECK(read_error(folder.path()) == folder.path().string() + ": expected a file, found a folder");
  CHECK(contains(read_error("/dev/zero"), "expected a regular file"));

  const std::string other = (folder / "notes.pth").string();
  const auto write = [&](const std::string& content) {
    const std::span<const uint8_t> piece = as_bytes(content);
    write_file(other, {&piece, 1});
  };
  write("hello, this is no checkpoint");
  CHECK(read_error(other) == other + ": not a checkpoint (expected safetensors or PyTorch .pth)");
  write("");
  CHECK(read_error(other) == other + ": not a checkpoint (expected safetensors or PyTorch .pth, the file is empty)");

  const std::string nowhere = (folder / "no_such_folder/x.safetensors").string();
  CHECK(error_of([&] { write_safetensors(nowhere, {}); }) == nowhere + ": cannot be written (No such file or directory)");
  CHECK(contains(error_of([&] { write_safetensors(folder.path(), {}); }), "found a folder or device"));
}

TEST_CASE("files: when the disk is full, the old file stays and no partial one is left") {
  const ScratchFolder folder;
  StateDict small, large;
  small.set("x", tensor_of<float>({1, 2, 3}, {3}));
  large.set("x", tensor_of<float>(std::vector<float>(100'000, 1.f), {100'000}));
  const auto path = folder / "x.safetensors";
  write_safetensors(path, small);

  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);  // so that write() fails instead of ending the process
  const rlimit limit{.rlim_cur = 100'000, .rlim_max = before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  const std::string error = error_of([&] { write_safetensors(path, large); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);

  CHECK(error == path.string() + ": cannot be written (File too large)");
  CHECK(same(*read_state_dict(path).find("x"), *small.find("x")));
  CHECK_FALSE(std::filesystem::exists(folder / "x.safetensors.tmp"));
}

TEST_CASE("printable: file text in error messages stays short and harmless") {
  CHECK(printable("weight.0") == "weight.0");
  CHECK(printable("a\x1b[31m\n") == "a?[31m?");
  CHECK(printable(std::string(500, 'x')).size() == 103);
}
