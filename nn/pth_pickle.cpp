// The opcodes of read_pickle and what calling a class makes. Declared in pth_pickle.h.
#include "nn/pth_pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "nn/file_io.h"
#include "nn/pth_classes.h"

namespace asap::nn {

namespace {

// Opcodes by their names in pickletools.
enum Opcode : uint8_t {
  kMark = '(', kStop = '.', kPop = '0', kPopMark = '1', kDup = '2',
  kNone = 'N', kNewTrue = 0x88, kNewFalse = 0x89,
  kBinInt = 'J', kBinInt1 = 'K', kBinInt2 = 'M', kLong1 = 0x8a, kLong4 = 0x8b, kBinFloat = 'G',
  kBinString = 'T', kShortBinString = 'U', kBinUnicode = 'X', kShortBinUnicode = 0x8c, kBinUnicode8 = 0x8d,
  kBinBytes = 'B', kShortBinBytes = 'C', kBinBytes8 = 0x8e, kByteArray8 = 0x96,
  kEmptyTuple = ')', kTuple = 't', kTuple1 = 0x85, kTuple2 = 0x86, kTuple3 = 0x87,
  kEmptyList = ']', kList = 'l', kAppend = 'a', kAppends = 'e',
  kEmptyDict = '}', kDict = 'd', kSetItem = 's', kSetItems = 'u',
  kEmptySet = 0x8f, kAddItems = 0x90, kFrozenSet = 0x91,
  kBinPut = 'q', kLongBinPut = 'r', kMemoize = 0x94, kBinGet = 'h', kLongBinGet = 'j',
  kGlobal = 'c', kStackGlobal = 0x93, kReduce = 'R', kNewObj = 0x81, kNewObjEx = 0x92, kBuild = 'b', kBinPersId = 'Q',
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
      case kLong4: push(long_integer(take(number<uint32_t>()))); return true;
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
      case kBinUnicode8:
      case kBinBytes8:
      case kByteArray8: push_text(characters(number<uint64_t>())); return true;
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
      case kEmptySet: push_opaque("set", true); return true;
      case kAddItems:
        pop_to_mark();
        as<const PickleOpaque*>(top(), "a set to add to");
        return true;
      case kFrozenSet:
        pop_to_mark();
        push_opaque("frozenset", true);
        return true;
      case kSetItem: extend_dict(pop_many(2)); return true;
      case kSetItems: extend_dict(pop_to_mark()); return true;
      default: return false;
    }
  }

  void push_tuple(std::vector<PickleValue> items) { push(pickle_.keep(PickleTuple{std::move(items)})); }

  void push_opaque(std::string_view class_name, bool plain) { push(pickle_.keep(PickleOpaque{class_name, plain})); }

  // What was built by a class we do not know stays opaque, whatever is put into it.
  bool top_is_opaque() { return std::holds_alternative<const PickleOpaque*>(top()); }

  void extend_list(const std::vector<PickleValue>& values) {
    if (top_is_opaque()) return;
    auto& items = as<PickleList*>(top(), "a list to append to")->items;
    items.insert(items.end(), values.begin(), values.end());
  }

  void extend_dict(const std::vector<PickleValue>& keys_and_values) {
    ASAP_CHECK(keys_and_values.size() % 2 == 0, "pickle: a dict key has no value at byte ", place_);
    if (top_is_opaque()) return;
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
        push(named_class(module, line()));
        return true;
      }
      case kStackGlobal: {
        const auto* name = pop_as<const std::string*>("a class name");
        push(named_class(*pop_as<const std::string*>("a module name"), *name));
        return true;
      }
      case kReduce: {
        const auto* arguments = pop_as<const PickleTuple*>("a tuple of arguments");
        push(call(pop(), arguments->items));
        return true;
      }
      case kNewObjEx:
      case kNewObj: {
        if (opcode == kNewObjEx) pop_as<PickleDict*>("a dict of arguments");
        pop_as<const PickleTuple*>("a tuple of arguments");
        const auto* type = pop_as<const PickleClass*>("a class to make an object of");
        push(type->role == PickleRole::dict ? PickleValue(pickle_.keep(PickleDict{})) : made_by(*type));
        return true;
      }
      case kBuild:  // attributes: of an OrderedDict the module versions, of no use here
        pop();
        if (!top_is_opaque() && !std::holds_alternative<const PthTensor*>(top())) {
          as<PickleDict*>(top(), "a dict to give attributes to");
        }
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

  const PickleClass* named_class(const std::string& module, const std::string& name) {
    ASAP_CHECK(module.size() + name.size() < kLongestName, "pickle: expected a class name of at most ", kLongestName,
               " characters");
    const std::string& full = *pickle_.keep(module + "." + name);
    return pickle_.keep(PickleClass{full, role_of(full)});
  }

  PickleValue made_by(const PickleClass& callee) {
    return pickle_.keep(PickleOpaque{callee.name, callee.role == PickleRole::plain});
  }

  PickleValue call(const PickleValue& callee, const std::vector<PickleValue>& arguments) {
    if (const auto* opaque = std::get_if<const PickleOpaque*>(&callee)) return *opaque;  // stays what it is
    const auto& type = *as<const PickleClass*>(callee, "a class to call");
    if (type.role != PickleRole::from_type) return construct(type, arguments);
    // A tensor with a Python type or attributes of its own: the tensor is what another function makes.
    check_count(type, arguments, 3);
    const auto& maker = *as<const PickleClass*>(arguments[0], "a function that makes a tensor");
    const auto& inner = as<const PickleTuple*>(arguments[2], "a tuple of arguments")->items;
    return maker.role == PickleRole::from_type ? made_by(maker) : construct(maker, inner);
  }

  PickleValue construct(const PickleClass& type, const std::vector<PickleValue>& arguments) {
    switch (type.role) {
      case PickleRole::dict: return dict(arguments);
      case PickleRole::size:
        check_count(type, arguments, 1);
        return as<const PickleTuple*>(arguments[0], "a tuple of sizes");
      case PickleRole::tensor:
      case PickleRole::tensor_v3:
      case PickleRole::quantised: return tensor(type, arguments);
      case PickleRole::sparse: return sparse_tensor(type, arguments);
      case PickleRole::nested: {
        check_count(type, arguments, 1);
        const auto& buffer = *as<const PthTensor*>(arguments[0], "a nested tensor's buffer");
        return pickle_.keep(
            PthTensor{.sizes = buffer.sizes, .dtype_name = buffer.dtype_name, .unfit = "a nested tensor"});
      }
      case PickleRole::no_storage:
        return empty_tensor(type, arguments, 0, "a tensor without values (on PyTorch's meta device)");
      case PickleRole::wrapper:
        return empty_tensor(type, arguments, 1, "a tensor whose class keeps its values elsewhere");
      case PickleRole::first:
        if (arguments.empty() || !std::holds_alternative<const PthTensor*>(arguments[0])) return made_by(type);
        return arguments[0];
      case PickleRole::from_type:
      case PickleRole::storage:
      case PickleRole::plain:
      case PickleRole::opaque: break;
    }
    return made_by(type);
  }

  static void check_count(const PickleClass& callee, const std::vector<PickleValue>& arguments, size_t least) {
    ASAP_CHECK(arguments.size() >= least, callee.name, ": expected at least ", least, " arguments, got ",
               arguments.size());
  }

  // A dict of nothing, of a dict's items, or as Python 2 wrote it of [[key, value], ...]. A defaultdict's argument is
  // the class of its values.
  PickleValue dict(const std::vector<PickleValue>& arguments) {
    auto* made = pickle_.keep(PickleDict{});
    if (arguments.empty()) return made;
    if (const auto* from = std::get_if<PickleDict*>(&arguments[0])) {
      spend((*from)->items.size());  // it may be used again, so its length must count each time
      made->items = (*from)->items;
    } else if (const auto* list = std::get_if<PickleList*>(&arguments[0])) {
      spend((*list)->items.size());
      for (const PickleValue& item : (*list)->items) {
        const auto& pair = as<PickleList*>(item, "a list of key and value")->items;
        ASAP_CHECK(pair.size() == 2, "pickle: expected a list of key and value, got ", pair.size(), " items");
        made->items.emplace_back(pair[0], pair[1]);
      }
    }
    return made;
  }

  // What follows beside dtype and metadata (requires_grad, hooks) says nothing about the values.
  PickleValue tensor(const PickleClass& callee, const std::vector<PickleValue>& arguments) {
    check_count(callee, arguments, callee.role == PickleRole::tensor_v3 ? 7 : 4);
    const PthStorage& storage = *as<const PthStorage*>(arguments[0], "a tensor's storage");
    PthTensor made{.storage = &storage,
                   .offset = as<int64_t>(arguments[1], "a tensor's offset"),
                   .sizes = integers(arguments[2], "a tuple of sizes"),
                   .strides = integers(arguments[3], "a tuple of strides"),
                   .dtype = storage.dtype};
    if (callee.role == PickleRole::tensor_v3) {
      made.dtype_name = dtype_name(arguments[6]);
      made.dtype = file_dtype_of_torch(made.dtype_name);
    } else {
      made.dtype_name = storage.dtype ? name(*storage.dtype) : std::string(storage.class_name);
    }
    if (callee.role == PickleRole::quantised) made.unfit = "a quantised tensor";
    const size_t metadata = callee.role == PickleRole::tensor_v3 ? 7 : 6;
    if (callee.role != PickleRole::quantised && arguments.size() > metadata) read_bits(arguments[metadata], made);
    return pickle_.keep(std::move(made));
  }

  // {'neg': True}: the bits that PyTorch sets instead of computing.
  void read_bits(const PickleValue& metadata, PthTensor& made) {
    const auto* bits = std::get_if<PickleDict*>(&metadata);
    if (bits == nullptr) return;
    spend((*bits)->items.size());
    for (const auto& [key, value] : (*bits)->items) {
      const auto* bit = std::get_if<const std::string*>(&key);
      if (value == PickleValue(false)) continue;
      if (bit != nullptr && **bit == "neg" && value == PickleValue(true)) {
        made.negative = true;
      } else {
        const bool conjugated = bit != nullptr && **bit == "conj";
        made.unfit = conjugated ? "a tensor to be conjugated" : "a tensor with bits that we do not know";
      }
    }
  }

  PickleValue sparse_tensor(const PickleClass& callee, const std::vector<PickleValue>& arguments) {
    check_count(callee, arguments, 2);
    PthTensor made{.unfit = "a sparse tensor"};
    const auto& parts = as<const PickleTuple*>(arguments[1], "a sparse tensor's parts")->items;
    spend(parts.size());  // the tuple may be used again
    for (size_t i = 0; i < parts.size(); ++i) {
      if (const auto* part = std::get_if<const PthTensor*>(&parts[i])) {
        made.dtype_name = (*part)->dtype_name;  // the values come last
      } else if (std::holds_alternative<const PickleTuple*>(parts[i])) {
        made.sizes = integers(parts[i], "a tuple of sizes");
        break;
      }
    }
    return pickle_.keep(std::move(made));
  }

  PickleValue empty_tensor(const PickleClass& callee, const std::vector<PickleValue>& arguments, size_t dtype,
                           std::string_view unfit) {
    check_count(callee, arguments, dtype + 2);
    return pickle_.keep(PthTensor{.sizes = integers(arguments[dtype + 1], "a tuple of sizes"),
                                  .dtype_name = dtype_name(arguments[dtype]),
                                  .unfit = unfit});
  }

  static std::string dtype_name(const PickleValue& value) {
    return std::string(torch_constant(as<const PickleClass*>(value, "a dtype")->name));
  }

  std::vector<int64_t> integers(const PickleValue& value, const char* what) {
    const auto& items = as<const PickleTuple*>(value, what)->items;
    spend(items.size());
    ASAP_CHECK(items.size() <= kMostDimensions, "expected at most ", kMostDimensions, " dimensions, got ", items.size());
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
    ASAP_CHECK(type.role == PickleRole::storage, "pickle: expected a storage class, got ", printable(type.name));
    ASAP_CHECK(key.size() <= kLongestKey, "pickle: expected a storage key of at most ", kLongestKey, " characters");
    ASAP_CHECK(numel >= 0, "storage ", printable(key), ": expected a count of elements, got ", numel);
    return unique_storage(type, key, numel);
  }

  const PthStorage* unique_storage(const PickleClass& type, const std::string& key, int64_t numel) {
    const auto [place, is_new] = pickle_.storages.try_emplace(key, nullptr);
    if (is_new) {
      const std::string_view stored = torch_storage(type.name);
      const auto dtype = stored == "UntypedStorage" ? FileDType::u8 : file_dtype_of_torch_storage(stored);
      place->second = pickle_.keep(PthStorage{.key = key, .class_name = type.name, .dtype = dtype, .numel = numel});
    }
    const PthStorage& known = *place->second;
    ASAP_CHECK(known.class_name == type.name && known.numel == numel, "storage ", printable(key), " is described as ",
               known.numel, " elements of ", printable(known.class_name), " and as ", numel, " of ", printable(type.name));
    return &known;
  }

  static constexpr size_t kLongestKey = 200, kLongestName = 200, kMostDimensions = 64;  // PyTorch's own limit of dimensions

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
                               [](const PickleClass* known) -> Text { return "class " + printable(known->name); },
                               [](const PickleTuple*) -> Text { return "a tuple"; },
                               [](const PickleList*) -> Text { return "a list"; },
                               [](const PickleDict*) -> Text { return "a dict"; },
                               [](const PthStorage*) -> Text { return "a storage"; },
                               [](const PthTensor*) -> Text { return "a tensor"; },
                               [](const PickleOpaque* made) -> Text {
                                 return "an object of " + printable(made->class_name);
                               }},
                    value);
}

Pickle read_pickle(std::span<const uint8_t> bytes) { return Unpickler(bytes).run(); }

}  // namespace asap::nn
