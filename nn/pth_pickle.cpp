// The opcodes and classes of read_pickle. Declared in pth_pickle.h.
#include "nn/pth_pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "nn/file_io.h"

namespace asap::nn {

// What calling a class does.
enum class PickleRole { ordered_dict, size, tensor, quantised_tensor, parameter, storage, constant };

struct PickleClass {
  std::string_view name;  // module.name
  PickleRole role;
};

namespace {

constexpr PickleClass kClasses[] = {
    {"collections.OrderedDict", PickleRole::ordered_dict},
    {"torch.Size", PickleRole::size},
    {"torch._utils._rebuild_tensor", PickleRole::tensor},
    {"torch._utils._rebuild_tensor_v2", PickleRole::tensor},
    {"torch._utils._rebuild_parameter", PickleRole::parameter},
    {"torch.FloatStorage", PickleRole::storage},
    {"torch.DoubleStorage", PickleRole::storage},
    {"torch.HalfStorage", PickleRole::storage},
    {"torch.BFloat16Storage", PickleRole::storage},
    {"torch.LongStorage", PickleRole::storage},
    {"torch.IntStorage", PickleRole::storage},
    {"torch.ShortStorage", PickleRole::storage},
    {"torch.CharStorage", PickleRole::storage},
    {"torch.ByteStorage", PickleRole::storage},
    {"torch.BoolStorage", PickleRole::storage},
    // Known so that the error can name the tensor; their elements cannot be read.
    {"torch.ComplexFloatStorage", PickleRole::storage},
    {"torch.ComplexDoubleStorage", PickleRole::storage},
    {"torch.QInt8Storage", PickleRole::storage},
    {"torch.QUInt8Storage", PickleRole::storage},
    {"torch.QInt32Storage", PickleRole::storage},
    {"torch.QUInt4x2Storage", PickleRole::storage},
    {"torch.QUInt2x4Storage", PickleRole::storage},
    {"torch._utils._rebuild_qtensor", PickleRole::quantised_tensor},
    {"torch.per_tensor_affine", PickleRole::constant},
    {"torch.per_channel_affine", PickleRole::constant},
};

// Opcodes by their names in pickletools.
enum Opcode : uint8_t {
  kMark = '(', kStop = '.', kPop = '0', kPopMark = '1', kDup = '2',
  kNone = 'N', kNewTrue = 0x88, kNewFalse = 0x89,
  kBinInt = 'J', kBinInt1 = 'K', kBinInt2 = 'M', kLong1 = 0x8a, kBinFloat = 'G',
  kBinString = 'T', kShortBinString = 'U', kBinUnicode = 'X', kShortBinUnicode = 0x8c, kBinUnicode8 = 0x8d,
  kBinBytes = 'B', kShortBinBytes = 'C',
  kEmptyTuple = ')', kTuple = 't', kTuple1 = 0x85, kTuple2 = 0x86, kTuple3 = 0x87,
  kEmptyList = ']', kList = 'l', kAppend = 'a', kAppends = 'e',
  kEmptyDict = '}', kDict = 'd', kSetItem = 's', kSetItems = 'u',
  kBinPut = 'q', kLongBinPut = 'r', kMemoize = 0x94, kBinGet = 'h', kLongBinGet = 'j',
  kGlobal = 'c', kStackGlobal = 0x93, kReduce = 'R', kBuild = 'b', kBinPersId = 'Q',
  kProto = 0x80, kFrame = 0x95,
};

class Unpickler {
 public:
  explicit Unpickler(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  Pickle run() {
    for (;;) {
      spend(1);
      const auto opcode = number<uint8_t>();
      if (opcode == kStop) {
        pickle_.root = pop();
        pickle_.bytes = place_;
        return std::move(pickle_);
      }
      const bool known = constant(opcode) || text(opcode) || container(opcode) || memo(opcode) || object(opcode);
      ASAP_CHECK(known, "pickle opcode ", int{opcode}, " at byte ", place_ - 1, " is not part of a checkpoint; refused");
    }
  }

 private:
  void spend(size_t steps) {
    ASAP_CHECK(steps <= steps_left_, "the pickle takes more than ", kMostSteps, " steps; refused");
    steps_left_ -= steps;
  }

  // --- reading ---
  std::span<const uint8_t> take(uint64_t count) {
    ASAP_CHECK(count <= bytes_.size() - place_, "truncated: the pickle ends at byte ", bytes_.size(), ", ", count,
               " more bytes were expected at byte ", place_);
    const auto taken = bytes_.subspan(place_, count);
    place_ += count;
    return taken;
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string characters(uint64_t count) {
    const auto taken = take(count);
    return {taken.begin(), taken.end()};
  }

  std::string line() {
    const auto rest = bytes_.subspan(place_);
    const auto end = std::find(rest.begin(), rest.end(), '\n');
    ASAP_CHECK(end != rest.end(), "truncated: the pickle ends within a class name");
    std::string result(rest.begin(), end);
    place_ += result.size() + 1;
    return result;
  }

  // --- the stack; a mark fences off what lies below it ---
  void push(PickleValue value) { stack_.push_back(value); }

  size_t fence() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue& top() {
    ASAP_CHECK(stack_.size() > fence(), "pickle: the stack is empty at byte ", place_);
    return stack_.back();
  }

  PickleValue pop() {
    const PickleValue value = top();
    stack_.pop_back();
    return value;
  }

  template <class T>
  T pop_as(const char* what) {
    return as<T>(pop(), what);
  }

  template <class T>
  static T as(const PickleValue& value, const char* what) {
    const T* held = std::get_if<T>(&value);
    ASAP_CHECK(held != nullptr, "pickle: expected ", what, ", got ", describe(value));
    return *held;
  }

  // The topmost `count` values, in the order they were pushed.
  std::vector<PickleValue> pop_many(size_t count) {
    ASAP_CHECK(stack_.size() - fence() >= count, "pickle: the stack is empty at byte ", place_);
    std::vector<PickleValue> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }

  std::vector<PickleValue> pop_to_mark() {
    ASAP_CHECK(!marks_.empty(), "pickle: a mark is missing at byte ", place_);
    std::vector<PickleValue> values = pop_many(stack_.size() - marks_.back());
    marks_.pop_back();
    return values;
  }

  // --- opcodes, in groups; each returns false for an opcode of another group ---
  bool constant(uint8_t opcode) {
    switch (opcode) {
      case kNone: push({}); return true;
      case kNewTrue: push(true); return true;
      case kNewFalse: push(false); return true;
      case kBinInt: push(int64_t{number<int32_t>()}); return true;
      case kBinInt1: push(int64_t{number<uint8_t>()}); return true;
      case kBinInt2: push(int64_t{number<uint16_t>()}); return true;
      case kLong1: push(long_integer(take(number<uint8_t>()))); return true;
      case kBinFloat: push(std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()))); return true;  // big-endian
      default: return false;
    }
  }

  // Two's complement, little-endian, any length.
  static PickleValue long_integer(std::span<const uint8_t> digits) {
    if (digits.size() > sizeof(int64_t)) return {};
    uint64_t value = !digits.empty() && (digits.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | digits[i];
    return static_cast<int64_t>(value);
  }

  bool text(uint8_t opcode) {
    switch (opcode) {
      case kBinString:
      case kBinBytes:
      case kBinUnicode: push_text(characters(number<uint32_t>())); return true;
      case kShortBinString:
      case kShortBinBytes:
      case kShortBinUnicode: push_text(characters(number<uint8_t>())); return true;
      case kBinUnicode8: push_text(characters(number<uint64_t>())); return true;
      default: return false;
    }
  }

  void push_text(std::string characters) { push(pickle_.keep(std::move(characters))); }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case kMark: marks_.push_back(stack_.size()); return true;
      case kPop:
        if (stack_.size() == fence() && !marks_.empty()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case kPopMark: pop_to_mark(); return true;
      case kDup: push(PickleValue(top())); return true;
      case kEmptyTuple: push_tuple({}); return true;
      case kTuple: push_tuple(pop_to_mark()); return true;
      case kTuple1: push_tuple(pop_many(1)); return true;
      case kTuple2: push_tuple(pop_many(2)); return true;
      case kTuple3: push_tuple(pop_many(3)); return true;
      case kEmptyList: push(pickle_.keep(PickleList{})); return true;
      case kList: push(pickle_.keep(PickleList{pop_to_mark()})); return true;
      case kAppend: extend_list(pop_many(1)); return true;
      case kAppends: extend_list(pop_to_mark()); return true;
      case kEmptyDict: push(pickle_.keep(PickleDict{})); return true;
      case kDict: {
        const auto items = pop_to_mark();
        push(pickle_.keep(PickleDict{}));
        extend_dict(items);
        return true;
      }
      case kSetItem: extend_dict(pop_many(2)); return true;
      case kSetItems: extend_dict(pop_to_mark()); return true;
      default: return false;
    }
  }

  void push_tuple(std::vector<PickleValue> items) { push(pickle_.keep(PickleTuple{std::move(items)})); }

  void extend_list(const std::vector<PickleValue>& values) {
    auto& items = as<PickleList*>(top(), "a list to append to")->items;
    items.insert(items.end(), values.begin(), values.end());
  }

  void extend_dict(const std::vector<PickleValue>& keys_and_values) {
    ASAP_CHECK(keys_and_values.size() % 2 == 0, "pickle: a dict key has no value at byte ", place_);
    auto& items = as<PickleDict*>(top(), "a dict to set items of")->items;
    for (size_t i = 0; i < keys_and_values.size(); i += 2) items.emplace_back(keys_and_values[i], keys_and_values[i + 1]);
  }

  bool memo(uint8_t opcode) {
    switch (opcode) {
      case kBinPut: memo_[number<uint8_t>()] = top(); return true;
      case kLongBinPut: memo_[number<uint32_t>()] = top(); return true;
      case kMemoize: memo_[static_cast<uint32_t>(memo_.size())] = top(); return true;
      case kBinGet: push(recall(number<uint8_t>())); return true;
      case kLongBinGet: push(recall(number<uint32_t>())); return true;
      default: return false;
    }
  }

  const PickleValue& recall(uint32_t index) const {
    const auto place = memo_.find(index);
    ASAP_CHECK(place != memo_.end(), "pickle: memo ", index, " is read at byte ", place_, " but was never written");
    return place->second;
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case kGlobal: {
        const std::string module = line();
        push(known_class(module, line()));
        return true;
      }
      case kStackGlobal: {
        const auto* name = pop_as<const std::string*>("a class name");
        push(known_class(*pop_as<const std::string*>("a module name"), *name));
        return true;
      }
      case kReduce: {
        const auto* arguments = pop_as<const PickleTuple*>("a tuple of arguments");
        push(call(*pop_as<const PickleClass*>("a class to call"), arguments->items));
        return true;
      }
      case kBuild:  // the state of an OrderedDict, {'_metadata': ...}: module versions, of no use here
        pop();
        as<PickleDict*>(top(), "a dict to give attributes to");
        return true;
      case kBinPersId: push(storage(pop())); return true;
      case kProto: {
        const auto version = number<uint8_t>();
        ASAP_CHECK(version >= 2 && version <= 5, "pickle: expected protocol 2 to 5, got ", int{version});
        return true;
      }
      case kFrame: number<uint64_t>(); return true;  // a length that says nothing new
      default: return false;
    }
  }

  static const PickleClass* known_class(std::string_view module, std::string_view name) {
    for (const PickleClass& known : kClasses) {
      const bool same_lengths = known.name.size() == module.size() + 1 + name.size();
      if (same_lengths && known.name.starts_with(module) && known.name.ends_with(name) &&
          known.name[module.size()] == '.') {
        return &known;
      }
    }
    fail("class ", printable(module), ".", printable(name), " is not part of a checkpoint; refused");
  }

  PickleValue call(const PickleClass& callee, const std::vector<PickleValue>& arguments) {
    switch (callee.role) {
      case PickleRole::ordered_dict: return ordered_dict(arguments);
      case PickleRole::size:
        check_count(callee, arguments, 1);
        return as<const PickleTuple*>(arguments[0], "a tuple of sizes");
      case PickleRole::tensor: return tensor(callee, arguments, false);
      case PickleRole::quantised_tensor: return tensor(callee, arguments, true);
      case PickleRole::parameter:
        check_count(callee, arguments, 1);
        return as<const PthTensor*>(arguments[0], "a parameter's tensor");
      case PickleRole::storage:
      case PickleRole::constant: break;
    }
    fail("calling ", callee.name, " is not part of a checkpoint; refused");
  }

  static void check_count(const PickleClass& callee, const std::vector<PickleValue>& arguments, size_t least) {
    ASAP_CHECK(arguments.size() >= least, callee.name, ": expected at least ", least, " arguments, got ",
               arguments.size());
  }

  // OrderedDict(), or as Python 2 wrote it: OrderedDict([[key, value], ...]).
  PickleValue ordered_dict(const std::vector<PickleValue>& arguments) {
    auto* dict = pickle_.keep(PickleDict{});
    if (arguments.empty()) return dict;
    const auto& list = as<PickleList*>(arguments[0], "a list of OrderedDict items")->items;
    spend(list.size());  // a list may be reused, so its length must count each time
    for (const PickleValue& item : list) {
      const auto& pair = as<PickleList*>(item, "a list of key and value")->items;
      ASAP_CHECK(pair.size() == 2, "pickle: expected a list of key and value, got ", pair.size(), " items");
      dict->items.emplace_back(pair[0], pair[1]);
    }
    return dict;
  }

  // (storage, offset, sizes, strides, ...): what follows (requires_grad, hooks) says nothing about the values.
  PickleValue tensor(const PickleClass& callee, const std::vector<PickleValue>& arguments, bool quantised) {
    check_count(callee, arguments, 4);
    return pickle_.keep(PthTensor{.storage = as<const PthStorage*>(arguments[0], "a tensor's storage"),
                                  .offset = as<int64_t>(arguments[1], "a tensor's offset"),
                                  .sizes = integers(arguments[2], "a tuple of sizes"),
                                  .strides = integers(arguments[3], "a tuple of strides"),
                                  .quantised = quantised});
  }

  static std::vector<int64_t> integers(const PickleValue& value, const char* what) {
    const auto& items = as<const PickleTuple*>(value, what)->items;
    ASAP_CHECK(items.size() <= Shape::kMaxRank, "expected at most ", Shape::kMaxRank, " dimensions, got ", items.size());
    std::vector<int64_t> result;
    for (const PickleValue& item : items) result.push_back(as<int64_t>(item, what));
    return result;
  }

  // ('storage', class, key, location, numel): the location (cpu, cuda:0) does not matter here.
  const PthStorage* storage(const PickleValue& id) {
    const auto& parts = as<const PickleTuple*>(id, "a storage's tuple")->items;
    ASAP_CHECK(!parts.empty(), "pickle: expected a storage's tuple, got an empty one");
    const std::string& kind = *as<const std::string*>(parts[0], "the word 'storage'");
    ASAP_CHECK(kind != "module", "a whole pickled module is not a checkpoint; save its state_dict() instead");
    ASAP_CHECK(kind == "storage" && parts.size() >= 5, "pickle: expected ('storage', class, key, location, numel), got ",
               parts.size(), " parts, '", printable(kind), "' first");
    ASAP_CHECK(parts.size() == 5 || std::holds_alternative<std::monostate>(parts[5]),
               "a storage that is a part of another one is not supported; save the file anew with a newer PyTorch");
    const auto& type = *as<const PickleClass*>(parts[1], "a storage class");
    const std::string& key = *as<const std::string*>(parts[2], "a storage key");
    const auto numel = as<int64_t>(parts[4], "a storage's element count");
    ASAP_CHECK(type.role == PickleRole::storage, "pickle: expected a storage class, got ", type.name);
    ASAP_CHECK(key.size() <= kLongestKey, "pickle: expected a storage key of at most ", kLongestKey, " characters");
    ASAP_CHECK(numel >= 0, "storage ", printable(key), ": expected a count of elements, got ", numel);
    return unique_storage(type, key, numel);
  }

  const PthStorage* unique_storage(const PickleClass& type, const std::string& key, int64_t numel) {
    const auto [place, is_new] = pickle_.storages.try_emplace(key, nullptr);
    if (is_new) {
      const auto dtype = file_dtype_of_torch_storage(type.name.substr(std::string_view("torch.").size()));
      place->second = pickle_.keep(PthStorage{.key = key, .class_name = type.name, .dtype = dtype, .numel = numel});
    }
    const PthStorage& known = *place->second;
    ASAP_CHECK(known.class_name == type.name && known.numel == numel, "storage ", printable(key), " is described as ",
               known.numel, " elements of ", known.class_name, " and as ", numel, " of ", type.name);
    return &known;
  }

  static constexpr size_t kLongestKey = 200;

  std::span<const uint8_t> bytes_;
  size_t place_ = 0;
  size_t steps_left_ = kMostSteps;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // stack heights
  std::unordered_map<uint32_t, PickleValue> memo_;
  Pickle pickle_;
};

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

std::string describe(const PickleValue& value) {
  using Text = std::string;
  return std::visit(Overloaded{[](std::monostate) -> Text { return "None"; },
                               [](bool) -> Text { return "a boolean"; },
                               [](int64_t number) -> Text { return str("the integer ", number); },
                               [](double) -> Text { return "a float"; },
                               [](const std::string* text) -> Text { return str("the text '", printable(*text), "'"); },
                               [](const PickleClass* known) -> Text { return str("class ", known->name); },
                               [](const PickleTuple*) -> Text { return "a tuple"; },
                               [](const PickleList*) -> Text { return "a list"; },
                               [](const PickleDict*) -> Text { return "a dict"; },
                               [](const PthStorage*) -> Text { return "a storage"; },
                               [](const PthTensor*) -> Text { return "a tensor"; }},
                    value);
}

Pickle read_pickle(std::span<const uint8_t> bytes) { return Unpickler(bytes).run(); }

}  // namespace asap::nn
