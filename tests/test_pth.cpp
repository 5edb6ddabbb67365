// .pth files: PyTorch's own in both containers against goldens, and files built by hand to attack the reader.
#include <doctest/doctest.h>

#include <ctime>

#include "nn/checkpoint_file.h"
#include "nn/pth.h"
#include "nn/pth_pickle.h"
#include "nn/safetensors.h"
#include "tensor/storage.h"
#include "tests/support/pth_builder.h"
#include "tests/support/same_tensors.h"
#include "tests/support/scratch.h"

using namespace asap;
using namespace asap::nn;
using namespace asap::tests;
using namespace std::string_literals;

namespace {

const std::filesystem::path kGolden = ASAP_GOLDEN_DIR;

StateDict parse(const Bytes& file) { return open_pth(as_bytes(file))->read_all(); }
std::string error_for(const Bytes& file) {
  return error_of([&] { parse(file); });
}

// Six floats 0..5 as a storage's content.
Bytes six_floats() {
  Bytes content;
  for (int i = 0; i < 6; ++i) content += raw(static_cast<float>(i));
  return content;
}

// A legacy file and a zip of {name: value}, where value may use storage "k" of six floats.
Bytes legacy_with(const Bytes& value) { return legacy_file(pickle(dict_of("x", value)), {{"k", 6, six_floats()}}); }
Bytes zip_with(const Bytes& value) {
  return zip_file({{"m/data.pkl", pickle(dict_of("x", value))}, {"m/data/k", six_floats()}});
}

const Bytes kStorage = storage("FloatStorage", "k", 6);

std::vector<float> floats(const StateDict& state, const std::string& name) {
  const Tensor* x = state.find(name);
  REQUIRE(x != nullptr);
  return {x->data<float>(), x->data<float>() + x->numel()};
}

// The bytes a hostile file made us hold at the most.
template <class F>
size_t peak_bytes(F&& f) {
  release_cached_memory(Device::cpu);
  reset_peak_memory(Device::cpu);
  const size_t before = memory_use(Device::cpu).current;
  f();
  return memory_use(Device::cpu).peak - before;
}

}  // namespace

TEST_CASE("pth: PyTorch's checkpoints hold the trained weights bit for bit, in both containers") {
  const StateDict expected = read_state_dict(kGolden / "train5.safetensors");
  for (const std::string net : {"G", "D"}) {
    for (const std::string kind : {"latest", "legacy"}) {
      const std::string file = kind + "_net_" + net + ".pth", prefix = "final." + net + ".";
      CAPTURE(file);
      const StateDict state = read_state_dict(kGolden / file);
      for (const auto& [name, tensor] : state) {
        const Tensor* golden = expected.find(prefix + name);
        REQUIRE_MESSAGE(golden != nullptr, name);
        CHECK_MESSAGE(same(tensor, *golden), name);
      }
      size_t wanted = 0;
      for (const auto& [name, tensor] : expected) wanted += name.starts_with(prefix);
      CHECK(wanted > 0);
      CHECK(state.size() == wanted);
    }
  }
}

TEST_CASE("pth: the keys come in PyTorch's order") {
  const StateDict state = read_state_dict(kGolden / "latest_net_D.pth");
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) names.push_back(name);
  REQUIRE(names.size() > 4);
  CHECK(names[0] == "discriminator_0.model0.0.weight");
  CHECK(names[1] == "discriminator_0.model0.0.bias");
}

TEST_CASE("pth: dtypes, views, empty tensors, parameters, nesting and plain values") {
  const StateDict expected = read_state_dict(kGolden / "odd_expected.safetensors");
  for (const std::string file : {"odd.pth", "odd_legacy.pth"}) {
    CAPTURE(file);
    const StateDict state = read_state_dict(kGolden / file);
    for (const auto& [name, tensor] : expected) {
      REQUIRE_MESSAGE(state.contains(name), name);
      CHECK_MESSAGE(same(*state.find(name), tensor), name);
    }
    CHECK(state.size() == expected.size() + 1);  // and the nested one, which odd_expected leaves out
    REQUIRE(state.contains("nested.inner"));
    CHECK(state.find("nested.inner")->shape() == Shape{2});
    CHECK_FALSE(state.contains("epoch"));
  }
  CHECK(same(*read_state_dict(kGolden / "odd.pth").find("nested.inner"), *read_state_dict(kGolden / "odd_legacy.pth").find("nested.inner")));
}

TEST_CASE("pth: hand-built files load in both containers") {
  const Bytes whole = tensor(kStorage, 0, {2, 3}, {3, 1}), transposed = tensor(kStorage, 0, {3, 2}, {1, 3});
  for (const bool zip : {false, true}) {
    const auto file = [&](const Bytes& value) { return zip ? zip_with(value) : legacy_with(value); };
    CHECK(floats(parse(file(whole)), "x") == std::vector<float>{0, 1, 2, 3, 4, 5});
    CHECK(floats(parse(file(transposed)), "x") == std::vector<float>{0, 3, 1, 4, 2, 5});
    CHECK(floats(parse(file(tensor(kStorage, 2, {2}, {3}))), "x") == std::vector<float>{2, 5});
    CHECK(floats(parse(file(tensor(kStorage, 4, {3}, {0}))), "x") == std::vector<float>{4, 4, 4});
    CHECK(floats(parse(file(tensor(kStorage, 5, {1, 1}, {INT64_MAX, INT64_MAX}))), "x") == std::vector<float>{5});
    CHECK(parse(file(tensor(kStorage, 6, {0, 4}, {4, 1}))).find("x")->shape() == Shape{0, 4});
    // a list, a tuple and an integer key on the way to a tensor; shared storages and tensors
    const StateDict nested = parse(file("](" + integer(1) + "}" + integer(7) + whole + "q\x05s" + "h\x05" + "\x85" + "e"));
    CHECK(nested.size() == 2);
    CHECK(floats(nested, "x.1.7") == floats(nested, "x.2.0"));
  }
  CHECK(parse(zip_with("N")).empty());
}

TEST_CASE("pth: protocol 4 and Python 2 spellings") {
  const auto name = [](const Bytes& text) { return "\x8c" + raw(static_cast<uint8_t>(text.size())) + text; };
  const Bytes id = "(" + name("storage") + name("torch") + name("FloatStorage") + "\x93" + name("k") + name("cpu") +
                   "K\x06" + "tQ";
  const Bytes rebuild = name("torch._utils") + name("_rebuild_tensor_v2") + "\x93";
  const Bytes value = rebuild + "\x94(" + id + "K\x01K\x02\x85K\x01\x85\x89}tR";
  const Bytes protocol4 = Bytes("\x80\x04\x95", 3) + raw<uint64_t>(100) + "}" + name("x") + value + "s.";
  const Bytes file = zip_file({{"m/data.pkl", protocol4}, {"m/data/k", six_floats()}});
  CHECK(floats(parse(file), "x") == std::vector<float>{1, 2});

  const Bytes old_dict = global("collections", "OrderedDict") + "](](U\x01x" + tensor(kStorage, 0, {1}, {1}) + "ee\x85R";
  CHECK(floats(parse(legacy_file(pickle(old_dict), {{"k", 6, six_floats()}})), "x") == std::vector<float>{0});
}

TEST_CASE("pth: compressed entries are read, damaged ones refused") {
  const Bytes object = pickle(dict_of("x", tensor(kStorage, 0, {6}, {1})));
  CHECK(floats(parse(zip_file({{"m/data.pkl", object, true}, {"m/data/k", six_floats(), true}})), "x").size() == 6);
  Bytes damaged = zip_file({{"m/data.pkl", object}, {"m/data/k", six_floats()}});
  damaged[damaged.find(six_floats()) + 5] ^= 1;
  CHECK(contains(error_for(damaged), "zip entry m/data/k: CRC error"));
  CHECK(contains(error_for(zip_file({{"m/data.pkl", object}, {"m/data/k", six_floats(), true, 25}})), "zip entry m/data/k"));
}

TEST_CASE("pth: big-endian files, missing entries and wrong sizes are refused") {
  const Bytes object = pickle(dict_of("x", tensor(kStorage, 0, {6}, {1})));
  const auto zip_error = [&](const std::vector<ZipEntry>& entries) { return error_for(zip_file(entries)); };
  CHECK(zip_error({{"m/data.pkl", object}, {"m/data/k", six_floats()}, {"m/byteorder", "little"}}).empty());
  CHECK(zip_error({{"m/data.pkl", object}, {"m/data/k", six_floats()}, {"m/byteorder", "big"}}) ==
        "expected byte order 'little', got 'big'");
  CHECK(zip_error({{"m/data.pkl", object}}) == "tensor 'x': the zip has no entry m/data/k");
  CHECK(zip_error({{"m/data.pkl", object}, {"m/data/k", "1234"}}) ==
        "tensor 'x': storage k: expected 6 elements of 4 bytes, found 4 bytes");
  CHECK(zip_error({{"picture.png", "x"}}) == "a zip, but not a checkpoint (expected an entry NAME/data.pkl)");
  CHECK(error_for(legacy_file(object, {{"k", 6, six_floats()}}, "\x89")) == "expected byte order 'little', got 'big'");
  CHECK(contains(error_for(legacy_file(object, {{"k", 5, six_floats()}})), "expected 6 elements, its count says 5"));
  CHECK(contains(error_for(legacy_file(object, {{"k", 6, "1234"}})), "truncated: storage k needs 6 elements"));
  CHECK(contains(error_for(legacy_file(object, {})), "storage k is missing"));
  CHECK(contains(error_for(legacy_file(object, {{"j", 6, six_floats()}})), "storage j is listed but never described"));
  CHECK(contains(error_for(legacy_file(object, {{"k", 6, six_floats()}, {"k", 6, six_floats()}})), "listed twice"));
}

TEST_CASE("pth: code in a pickle is kept as a name and never runs; the tensors beside it are read") {
  const Bytes os_system = global("posix", "system") + text("touch /tmp/asapnet_was_here") + "\x85R";
  const Bytes one = tensor(kStorage, 0, {1}, {1});
  for (const bool zip : {false, true}) {
    const Bytes value = "}(" + text("evil") + os_system + text("w") + one + "u";
    const Bytes file = zip ? zip_with(value) : legacy_with(value);
    const auto opened = open_pth(as_bytes(file));
    CHECK(opened->skipped() == std::vector<std::string>{"'x.evil': an object of posix.system"});
    CHECK(floats(opened->read_all(), "x.w") == std::vector<float>{0});
  }
  CHECK_FALSE(std::filesystem::exists("/tmp/asapnet_was_here"));

  CHECK(contains(error_for(zip_with("ios\nsystem\n")), "pickle opcode 105"));        // INST
  CHECK(contains(error_for(zip_with("(" + text("x") + "o")), "pickle opcode 111"));  // OBJ
  CHECK(contains(error_for(zip_with("\x82\x01")), "pickle opcode 130"));             // EXT1
  CHECK(contains(error_for(zip_with("\x97")), "pickle opcode 151"));                 // NEXT_BUFFER
  CHECK(contains(error_for(zip_with("\x98")), "pickle opcode 152"));                 // READONLY_BUFFER
  CHECK(contains(error_for(zip_with("(" + text("module") + "N" + text("a") + text("b") + "tQ")), "state_dict()"));
  const Bytes model = global("__main__", "Net") + ")\x81}b";
  CHECK(error_for(zip_file({{"m/data.pkl", pickle(model)}})) ==
        "expected a dict of tensors, got an object of __main__.Net; save the model's state_dict()");
}

TEST_CASE("case 02-harmless-values: what PyTorch's weights_only reads is read or skipped, unknown classes stay opaque") {
  const auto name = [](const Bytes& module, const Bytes& value) { return global(module, value); };
  const Bytes encoded = name("_codecs", "encode") + text("a") + text("latin1") + "\x86R";
  const Bytes one = tensor(kStorage, 1, {2}, {1});
  struct Case {
    Bytes value;
    std::string skipped;  // "" for a plain value
  };
  const Bytes array = name("numpy._core.multiarray", "_reconstruct") + name("numpy", "ndarray") + "K\0\x85"s + encoded + "\x87R" +
                      "(K\x01K\x03\x85" + name("numpy", "dtype") + text("f8") + "\x89\x88\x87R(K\x03" + text("<") + "NNNtb" +
                      "\x89" + encoded + "tb";
  const std::vector<Case> cases = {
      {name("__builtin__", "set") + "](K\x01K\x02" "e\x85R", ""},
      {"\x8f(K\x01K\x02\x90", ""},  // EMPTY_SET, ADDITEMS
      {"(K\x01\x91", ""},           // FROZENSET
      {name("torch", "float32"), ""},
      {name("torch", "float8_e4m3fn"), ""},
      {name("torch", "device") + text("cuda") + "K\x01\x86R", ""},
      {name("torch", "Size") + "K\x01\x85\x85R", ""},
      {name("torch.serialization", "_get_layout") + text("torch.strided") + "\x85R", ""},
      {encoded, ""},
      {name("__builtin__", "bytearray") + encoded + "\x85R", ""},
      {"\x96" + raw<uint64_t>(3) + "abc", ""},  // BYTEARRAY8
      {"\x8e" + raw<uint64_t>(3) + "abc", ""},  // BINBYTES8
      {"\x8b" + raw<uint32_t>(2) + "\x01\x02", ""},  // LONG4
      {name("__builtin__", "complex") + "G" + Bytes(8, '\0') + "G" + Bytes(8, '\0') + "\x86R", ""},
      {name("collections", "Counter") + "}" + text("a") + "K\x02s\x85R", ""},
      {array, "'x': an object of numpy._core.multiarray._reconstruct"},
      {name("numpy._core.multiarray", "scalar") + "N" + encoded + "\x86R", "'x': an object of numpy._core.multiarray.scalar"},
      {name("argparse", "Namespace") + ")\x81}" + text("lr") + "K\x01sb", "'x': an object of argparse.Namespace"},
      {name("pathlib", "PosixPath") + text("/") + text("tmp") + "\x86R", "'x': an object of pathlib.PosixPath"},
      {name("__main__", "Phase") + "K\x01\x85R", "'x': an object of __main__.Phase"},  // an enum
      {name("easydict", "EasyDict") + ")\x81(" + text("a") + "K\x01u}b", "'x': an object of easydict.EasyDict"},
      {name("my", "List") + ")\x81(K\x01K\x02" "e", "'x': an object of my.List"},
      {name("my", "Thing") + ")}\x92", "'x': an object of my.Thing"},  // NEWOBJ_EX
      {name("__builtin__", "getattr") + name("my", "Thing") + text("f") + "\x86R)R", "'x': an object of __builtin__.getattr"},
      {name("os", "system"), "'x': class os.system"},
  };
  for (const Case& c : cases) {
    // memo 1: the first tensor once more, to see that the stack is in order behind the value
    const Bytes remembered = "}(" + text("w") + one + "q\x01" + text("x") + c.value + text("v") + "h\x01u";
    for (const bool zip : {false, true}) {
      const Bytes file = zip ? zip_file({{"m/data.pkl", pickle(remembered)}, {"m/data/k", six_floats()}})
                             : legacy_file(pickle(remembered), {{"k", 6, six_floats()}});
      CAPTURE(c.value);
      const auto opened = open_pth(as_bytes(file));
      CHECK(opened->skipped() == (c.skipped.empty() ? std::vector<std::string>{} : std::vector{c.skipped}));
      const StateDict state = opened->read_all();
      CHECK(state.size() == 2);
      CHECK(floats(state, "w") == std::vector<float>{1, 2});
      CHECK(floats(state, "v") == std::vector<float>{1, 2});
    }
  }
  // Tensors in the containers that weights_only allows, and behind attributes of their own.
  const Bytes counter = global("collections", "Counter") + dict_of("t", one) + "\x85R";
  CHECK(floats(parse(zip_with(counter)), "x.t") == std::vector<float>{1, 2});
  const Bytes defaults = global("collections", "defaultdict") + global("__builtin__", "list") + "\x85R" + text("t") + one + "s";
  CHECK(floats(parse(zip_with(defaults)), "x.t") == std::vector<float>{1, 2});
  const Bytes arguments = "(" + kStorage + integer(1) + integers({2}) + integers({1}) + "\x89}t";
  const Bytes buffer = global("torch._tensor", "_rebuild_from_type_v2") + "(" + global("torch._utils", "_rebuild_tensor_v2") +
                       global("torch", "Tensor") + arguments + "}tR";
  CHECK(floats(parse(zip_with(buffer)), "x") == std::vector<float>{1, 2});
  const Bytes parameter = global("torch._utils", "_rebuild_parameter_with_state") + "(" + one + "\x88}}tR";
  CHECK(floats(parse(zip_with(parameter)), "x") == std::vector<float>{1, 2});
  // A function that would call itself without end is not followed.
  const Bytes from_type = global("torch._tensor", "_rebuild_from_type_v2");
  CHECK(parse(zip_with(from_type + "(" + from_type + "N(" + from_type + "N)t" "}tR")).empty());
}

TEST_CASE("pth: pickle machine misuse is refused") {
  struct Case {
    Bytes body;
    std::string expected;
  };
  const Bytes make_dict = global("collections", "OrderedDict");
  const std::vector<Case> cases = {
      {"0", "the stack is empty"},
      {"", "the stack is empty"},
      {"R", "the stack is empty"},
      {"N\x87", "the stack is empty"},
      {"t", "a mark is missing"},
      {"(N(t0R", "expected a tuple of arguments"},
      {"N(0" "0", "the stack is empty"},
      {"h\x07", "memo 7 is read"},
      {"j\xff\xff\xff\xff", "memo 4294967295 is read"},
      {"q\x01", "the stack is empty"},
      {"N" "Na", "expected a list to append to, got None"},
      {"}N" "a", "expected a list to append to, got a dict"},
      {"](NNu", "expected a dict to set items of, got a list"},
      {"}(Nu", "a dict key has no value"},
      {"(a", "the stack is empty"},
      {"](a", "the stack is empty"},
      {"]}b", "expected a dict to give attributes to, got a list"},
      {"NQ", "expected a storage's tuple, got None"},
      {")Q", "got an empty one"},
      {text("x") + "\x85Q", "expected ('storage'"},
      {"NNR", "expected a tuple of arguments"},
      {"N)R", "expected a class to call, got None"},
      {"NN\x93", "expected a class name"},
      {make_dict + "](]e\x85R", "expected a list of key and value, got 0 items"},
      {global("torch", "Size") + ")R", "expected at least 1 arguments, got 0"},
      {global("torch._utils", "_rebuild_tensor_v2") + ")R", "expected at least 4 arguments, got 0"},
      {global("torch._utils", "_rebuild_tensor_v3") + "(NNNNtR", "expected at least 7 arguments, got 4"},
      {global("torch._utils", "_rebuild_sparse_tensor") + ")R", "expected at least 2 arguments, got 0"},
      {"]\x90", "a mark is missing"},
      {"](\x90", "expected a set to add to, got a list"},
      {"N)\x81", "expected a class to make an object of, got None"},
      {global("a", "b") + "N\x81", "expected a tuple of arguments, got None"},
      {"X" + raw<uint32_t>(0xffffffff) + "abc", "truncated: the pickle ends"},
      {"\x8d" + raw<uint64_t>(~uint64_t{0}) + "abc", "truncated: the pickle ends"},
      {"cos", "ends within a class name"},
      {"\x80\x01", "expected protocol 2 to 5, got 1"},
      {"\xff", "pickle opcode 255"},
  };
  for (const Case& c : cases) {
    const Bytes bytes = "\x80\x02" + c.body + ".";
    const std::string error = error_of([&] { read_pickle(as_bytes(bytes)); });
    CHECK_MESSAGE(contains(error, c.expected), "expected: ", c.expected, ", got: ", error);
  }
  CHECK(contains(error_for(zip_file({{"m/data.pkl", pickle("]")}})), "expected a dict of tensors, got a list"));
  CHECK(contains(error_for(zip_file({{"m/data.pkl", pickle("K\x05")}})), "got the integer 5"));
}

TEST_CASE("pth: integers of a pickle, negative and long ones too") {
  const auto root = [](const Bytes& body) {
    const Bytes bytes = pickle(body);
    return read_pickle(as_bytes(bytes)).root;
  };
  CHECK(root("J" + raw<int32_t>(-5)) == PickleValue(int64_t{-5}));
  CHECK(root("M" + raw<uint16_t>(65535)) == PickleValue(int64_t{65535}));
  CHECK(root(Bytes("\x8a\0", 2)) == PickleValue(int64_t{0}));
  CHECK(root("\x8a\x01\xff") == PickleValue(int64_t{-1}));
  CHECK(root(Bytes("\x8a\x02\xff\0", 4)) == PickleValue(int64_t{255}));
  CHECK(root("\x8a\x09" + Bytes(9, '\x01')) == PickleValue());  // beyond 64 bits: a plain value, skipped
  CHECK(root(Bytes("G\x40\x04\0\0\0\0\0\0", 9)) == PickleValue(2.5));
}

TEST_CASE("pth: views that leave their storage are refused") {
  struct Case {
    int64_t offset;
    std::vector<int64_t> sizes, strides;
    std::string expected;
  };
  const int64_t huge = INT64_MAX;
  const std::vector<Case> cases = {
      {0, {7}, {1}, "reaches beyond the 6 elements"},
      {6, {1}, {1}, "reaches beyond the 6 elements"},
      {6, {}, {}, "reaches beyond the 6 elements"},
      {1, {2, 3}, {3, 1}, "reaches beyond the 6 elements"},
      {-1, {1}, {1}, "expected an offset of at least 0, got -1"},
      {0, {-1}, {1}, "expected sizes of at least 0, got -1"},
      {5, {2}, {-1}, "expected strides of at least 0, got -1"},
      {0, {2, 3}, {3}, "as many strides as sizes, got 1 and 2"},
      {0, {2}, {huge}, "reaches beyond"},
      {huge, {2}, {huge}, "reaches beyond"},
      {0, {huge, huge}, {0, 0}, "multiply to more than 63 bits"},
      {0, {huge}, {0}, "times the file"},
      {0, {1 << 30}, {0}, "times the file"},
      {0, {0, huge, huge}, {0, 0, 0}, "multiply to more than 63 bits"},
      {0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1), "at most 8 dimensions, got 9"},
  };
  for (const Case& c : cases) {
    for (const bool zip : {false, true}) {
      const Bytes value = tensor(kStorage, c.offset, c.sizes, c.strides);
      std::string error;
      const size_t peak = peak_bytes([&] { error = error_for(zip ? zip_with(value) : legacy_with(value)); });
      CHECK_MESSAGE(contains(error, c.expected), "expected: ", c.expected, ", got: ", error);
      CHECK(peak < 1'000'000);
    }
  }
}

TEST_CASE("pth: small files that unfold to huge ones are refused, soon and without huge memory") {
  const std::clock_t start = std::clock();  // processor time: other programs do not count
  Bytes laughs = "]q" + raw<uint8_t>(0);  // each list holds the one before it twice
  for (uint8_t i = 1; i < 60; ++i) {
    const Bytes before = "h" + raw<uint8_t>(i - 1);
    laughs += "0](" + before + before + "eq" + raw(i);
  }
  CHECK(contains(error_for(zip_with(laughs)), "values; refused"));
  CHECK(contains(error_for(zip_with("]q\x01h\x01" "a")), "nest deeper than 64 levels"));  // a list within itself

  Bytes deep;
  for (int i = 0; i < 100'000; ++i) deep += "]";
  CHECK(contains(error_for(zip_with(deep + Bytes(99'999, 'a'))), "nest deeper than 64 levels"));
  CHECK(contains(error_for(zip_with(Bytes(3'000'000, 'N'))), "steps; refused"));

  // long values that are used again and again
  Bytes names = text(Bytes(1'000'000, 'm')) + "q\x01" + "0" + text("n") + "q\x02" + "0";
  for (int i = 0; i < 100'000; ++i) names += "h\x01h\x02\x93" "0";
  CHECK(contains(error_for(zip_with(names + "N")), "a class name of at most 200 characters"));
  Bytes parts = "(" + Bytes(100'000, 'N') + "tq\x01" + "0" + global("torch._utils", "_rebuild_sparse_tensor") + "q\x02" + "0";
  for (int i = 0; i < 100'000; ++i) parts += "h\x02Nh\x01\x86R" "0";
  CHECK(contains(error_for(zip_with(parts + "N")), "steps; refused"));

  // one storage, thousands of full views of it
  const Bytes big_storage(400'000, '\0');
  Bytes many = "}(";
  const Bytes view = tensor(storage("FloatStorage", "k", 100'000), 0, {100'000}, {1});
  for (int i = 0; i < 2'000; ++i) many += text("t" + std::to_string(i)) + (i == 0 ? view + "q\x01" : Bytes("h\x01"));
  std::string error;
  const size_t peak = peak_bytes([&] {
    error = error_for(zip_file({{"m/data.pkl", pickle(many + "u")}, {"m/data/k", big_storage}}));
  });
  CHECK(contains(error, "times the file"));
  CHECK(peak < 64'000'000);

  // entries that claim more than the file can hold
  const Bytes object = pickle(dict_of("x", tensor(storage("FloatStorage", "k", 250'000'000), 0, {1}, {1})));
  CHECK(contains(error_for(zip_file({{"m/data.pkl", object}, {"m/data/k", six_floats(), true, 1'000'000'000}})), "times the file"));
  CHECK(std::clock() - start < 20 * CLOCKS_PER_SEC);
}

TEST_CASE("case 21-one-odd-tensor: it is listed with its true dtype, its use is refused by name, the others are read") {
  const auto v2 = [](const Bytes& type) { return tensor(storage(type, "k", 6), 0, {1}, {1}); };
  const Bytes untyped = "(" + text("storage") + global("torch.storage", "UntypedStorage") + text("k") + text("cpu") + integer(24) + "tQ";
  const auto v3 = [&](const Bytes& dtype, int64_t size) {
    return global("torch._utils", "_rebuild_tensor_v3") + "(" + untyped + integer(0) + integers({size}) + integers({1}) +
           "\x89}" + global("torch", dtype) + "tR";
  };
  const auto with_metadata = [](const Bytes& metadata) {
    return global("torch._utils", "_rebuild_tensor_v2") + "(" + kStorage + integer(0) + integers({2}) + integers({1}) + "\x89}" + metadata + "tR";
  };
  const Bytes quantised = global("torch._utils", "_rebuild_qtensor") + "(" + storage("QInt8Storage", "k", 24) + integer(0) +
                          integers({6}) + integers({1}) + global("torch", "per_tensor_affine") + "\x85" + "tR";
  const Bytes good = tensor(kStorage, 0, {2}, {1});
  const Bytes sparse = global("torch._utils", "_rebuild_sparse_tensor") + global("torch.serialization", "_get_layout") +
                       text("torch.sparse_coo") + "\x85R(" + good + good + global("torch", "Size") + integers({3, 4}) + "\x85R\x88t\x86R";
  const Bytes meta = global("torch._utils", "_rebuild_meta_tensor_no_storage") + "(" + global("torch", "float16") + integers({5}) + integers({1}) + "\x89tR";
  const Bytes wrapper = global("torch._utils", "_rebuild_wrapper_subclass") + "(" + global("my", "Tensor") + global("torch", "bfloat16") + integers({7}) + "NNNNNtR";
  struct Case {
    Bytes value;
    std::string dtype, shape, refusal;
  };
  const std::vector<Case> cases = {
      {v2("ComplexFloatStorage"), "complex64", "(1)", "dtype complex64 is not supported"},
      {v2("QInt8Storage"), "qint8", "(1)", "dtype qint8 is not supported"},
      {v2("Float8_e4m3fnStorage"), "torch.Float8_e4m3fnStorage", "(1)", "dtype torch.Float8_e4m3fnStorage is not supported"},
      {v3("float8_e4m3fn", 24), "float8_e4m3fn", "(24)", "dtype float8_e4m3fn is not supported"},
      {v3("uint4", 24), "uint4", "(24)", "dtype uint4 is not supported"},
      {quantised, "qint8", "(6)", "a quantised tensor is not supported"},
      {sparse, "float32", "(3,4)", "a sparse tensor is not supported"},
      {meta, "float16", "(5)", "a tensor without values (on PyTorch's meta device) is not supported"},
      {wrapper, "bfloat16", "(7)", "a tensor whose class keeps its values elsewhere is not supported"},
      {with_metadata(dict_of("conj", "\x88")), "float32", "(2)", "a tensor to be conjugated is not supported"},
      {with_metadata(dict_of("twist", "\x88")), "float32", "(2)", "a tensor with bits that we do not know is not supported"},
      {tensor(kStorage, 0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1)), "float32", "(1,1,1,1,1,1,1,1,1)",
       "expected at most 8 dimensions, got 9"},
      {tensor(kStorage, 0, {1 << 30}, {0}), "float32", "(1073741824)", "times the file"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.refusal);
    // The odd one first, under a storage of its own where it has one.
    const Bytes file = zip_file({{"m/data.pkl", pickle("}(" + text("x") + c.value + text("w") + tensor(storage("FloatStorage", "j", 6), 0, {2}, {1}) + "u")},
                                 {"m/data/k", six_floats()}, {"m/data/j", six_floats()}});
    const auto opened = open_pth(as_bytes(file));
    REQUIRE(opened->tensors().size() == 2);
    CHECK(opened->tensors()[0].dtype == c.dtype);
    CHECK(shape_text(opened->tensors()[0].sizes) == c.shape);
    CHECK(contains(error_of([&] { opened->read(0); }), "tensor 'x': "));
    CHECK(contains(error_of([&] { opened->read(0); }), c.refusal));
    CHECK(opened->read(1).to_vector<float>() == std::vector<float>{0, 1});
    CHECK(contains(error_for(file), "tensor 'x': "));
  }
  // Integers: only values beyond 32 bits are refused.
  const auto longs = [](const Bytes& type, const Bytes& content) {
    return zip_file({{"m/data.pkl", pickle(dict_of("x", tensor(storage(type, "k", 1), 0, {1}, {1})))}, {"m/data/k", content}});
  };
  CHECK(error_for(longs("LongStorage", raw<int64_t>(int64_t{1} << 40))) ==
        "tensor 'x': expected integers that fit into 32 bits, got 1099511627776");
  const Bytes u16 = zip_file({{"m/data.pkl", pickle(dict_of("x", v3("uint16", 12)))}, {"m/data/k", Bytes(24, '\xff')}});
  CHECK(parse(u16).find("x")->to_vector<int32_t>() == std::vector<int32_t>(12, 65535));
  CHECK(open_pth(as_bytes(u16))->raw(0) == std::vector<uint8_t>(24, 0xff));
}

TEST_CASE("pth: PyTorch's negative bit is applied, not ignored") {
  const auto negated = [](const Bytes& type, int64_t numel, const Bytes& metadata, const Bytes& content) {
    const Bytes value = global("torch._utils", "_rebuild_tensor_v2") + "(" + storage(type, "k", numel) + integer(1) +
                        integers({2}) + integers({2}) + "\x89" + global("collections", "OrderedDict") + ")R" + metadata + "tR";
    return zip_file({{"m/data.pkl", pickle(dict_of("x", value))}, {"m/data/k", content}});
  };
  const Bytes bit = dict_of("neg", "\x88");
  CHECK(floats(parse(negated("FloatStorage", 6, bit, six_floats())), "x") == std::vector<float>{-1, -3});
  CHECK(floats(parse(negated("FloatStorage", 6, dict_of("neg", "\x89"), six_floats())), "x") == std::vector<float>{1, 3});
  CHECK(floats(parse(negated("FloatStorage", 6, "N", six_floats())), "x") == std::vector<float>{1, 3});
  const Bytes halves = Bytes("\0\x3c\0\x40\0\x42\0\x44", 8);  // 1 2 3 4
  const Bytes half_file = negated("HalfStorage", 4, bit, halves);
  CHECK(floats(parse(half_file), "x") == std::vector<float>{-2, -4});
  CHECK(open_pth(as_bytes(half_file))->raw(0) == std::vector<uint8_t>{0, 0xc0, 0, 0xc4});
  CHECK(error_for(negated("IntStorage", 4, bit, Bytes(16, '\1'))) == "tensor 'x': a negated tensor of int32 is not supported");
}

TEST_CASE("pth: ambiguous files are refused") {
  const Bytes one = tensor(kStorage, 0, {1}, {1});
  CHECK(error_for(zip_with(dict_of("a", one) + text("a") + one + "s")) == "two tensors are named 'x.a'");
  // A key that names nothing: the value is left out, and said.
  const Bytes nameless = zip_with("}N" + one + "s");
  CHECK(open_pth(as_bytes(nameless))->skipped() == std::vector<std::string>{"'x': a value whose key is None"});
  CHECK(contains(error_for(zip_with("](" + one + tensor(storage("FloatStorage", "k", 7), 0, {1}, {1}) + "e")),
                 "storage k is described as 6 elements of torch.FloatStorage and as 7"));
  CHECK(contains(error_for(zip_with(dict_of(Bytes(2000, 'n'), one))), "name is longer than 1000"));
}

TEST_CASE("pth: a file cut anywhere is an error") {
  for (const std::string name : {"odd.pth", "odd_legacy.pth", "latest_net_G.pth", "legacy_net_G.pth", "latest_net_D.pth",
                                 "legacy_net_D.pth"}) {
    const Bytes whole = file_bytes(kGolden / name);
    const size_t step = whole.size() < 10'000 ? 1 : 331;
    for (size_t length = 0; length < whole.size(); length += step) {
      const std::string error = error_for(whole.substr(0, length));
      REQUIRE_MESSAGE(!error.empty(), name, " cut at ", length);
    }
  }
  const Bytes zip = file_bytes(kGolden / "latest_net_G.pth");
  CHECK(error_for(zip.substr(0, zip.size() / 2)) == "truncated: the zip directory is missing");
}

TEST_CASE("pth: a changed byte gives tensors or an asap::Error, nothing else") {
  for (const std::string name : {"odd.pth", "odd_legacy.pth"}) {
    Bytes file = file_bytes(kGolden / name);
    for (size_t i = 0; i < file.size(); ++i) {
      for (const int flip : {1, 16, 255}) {
        file[i] = static_cast<char>(file[i] ^ flip);
        CHECK_NOTHROW(error_for(file));
        file[i] = static_cast<char>(file[i] ^ flip);
      }
    }
  }
}
