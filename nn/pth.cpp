// The two containers of .pth files. Declared in pth.h; the pickle is read by pth_pickle.cpp, tensors by pth_tensors.cpp.
#include "nn/pth.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "nn/file_io.h"
#include "nn/pth_pickle.h"
#include "nn/pth_tensors.h"
#include "nn/pth_zip.h"

namespace asap::nn {
namespace {

bool looks_like_zip(std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, 4> kSignature = {'P', 'K', 3, 4};
  return bytes.size() >= kSignature.size() && std::equal(kSignature.begin(), kSignature.end(), bytes.begin());
}

// A legacy file's first pickle is the number 0x1950a86a20f9469cfc6c: PROTO, perhaps FRAME, LONG1 of ten bytes.
bool looks_like_legacy(std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, 12> kMagic = {0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  constexpr size_t kFarthest = 11;  // PROTO takes 2 bytes, FRAME 9
  const auto start = bytes.first(std::min(bytes.size(), kFarthest + kMagic.size()));
  const auto place = std::search(start.begin(), start.end(), kMagic.begin(), kMagic.end());
  return !bytes.empty() && bytes[0] == 0x80 && place != start.end();
}

// An entry's content; what it unpacks to is taken from the budget.
std::vector<uint8_t> read_entry(const ZipArchive& archive, const std::string& name, ExpansionBudget& budget) {
  const auto size = archive.size_of(name);
  ASAP_CHECK(size && std::in_range<int64_t>(*size), "the zip has no entry ", printable(name));
  with_prefix("zip entry " + printable(name), [&] { budget.spend(static_cast<int64_t>(*size), 1); });
  return archive.read(name);
}

// Entries NAME/data.pkl (the pickle), NAME/data/KEY (a storage each), from PyTorch 1.13 or so NAME/byteorder.
std::unique_ptr<TensorReader> open_zip(std::span<const uint8_t> bytes) {
  const auto archive = std::make_shared<const ZipArchive>(bytes);
  ExpansionBudget budget(bytes.size());
  const std::string pickle_ending = "/data.pkl";
  const auto pickle_name = archive->find_ending(pickle_ending);
  ASAP_CHECK(pickle_name, "a zip, but not a checkpoint (expected an entry NAME/data.pkl)");
  const std::string folder = pickle_name->substr(0, pickle_name->size() - pickle_ending.size());
  if (archive->size_of(folder + "/byteorder")) {
    const std::vector<uint8_t> content = read_entry(*archive, folder + "/byteorder", budget);
    const std::string order(content.begin(), content.end());
    ASAP_CHECK(order == "little", "expected byte order 'little', got '", printable(order), "'");
  }
  const std::vector<uint8_t> pickle_bytes = read_entry(*archive, *pickle_name, budget);
  const auto content = std::make_shared<std::vector<uint8_t>>();
  return read_pickled_tensors(
      read_pickle(pickle_bytes),
      [archive, folder, content](const PthStorage& storage, ExpansionBudget& left) -> std::span<const uint8_t> {
        *content = read_entry(*archive, folder + "/data/" + storage.key, left);
        const size_t element = size_of(*storage.dtype);
        ASAP_CHECK(content->size() % element == 0 && content->size() / element == static_cast<uint64_t>(storage.numel),
                   "storage ", printable(storage.key), ": expected ", storage.numel, " elements of ", element,
                   " bytes, found ", content->size(), " bytes");
        return *content;
      },
      budget);
}

// --- the legacy stream: pickles of magic number, protocol, system, the object, the storages' keys; then for each key
// an int64 count and that many elements ---

void check_system(const Pickle& system) {
  ASAP_CHECK(std::holds_alternative<PickleDict*>(system.root), "expected a dict describing the system, got ",
             describe(system.root));
  for (const auto& [key, value] : std::get<PickleDict*>(system.root)->items) {
    const auto* text = std::get_if<const std::string*>(&key);
    if (text == nullptr || **text != "little_endian") continue;
    const auto* little = std::get_if<bool>(&value);
    ASAP_CHECK(little && *little, "expected byte order 'little', got 'big'");
  }
}

// Where each storage's bytes lie. `rest` starts behind the pickle of keys.
std::unordered_map<const PthStorage*, std::span<const uint8_t>> locate_storages(const Pickle& pickle, const Pickle& keys,
                                                                                std::span<const uint8_t> rest) {
  std::unordered_map<const PthStorage*, std::span<const uint8_t>> places;
  ASAP_CHECK(std::holds_alternative<PickleList*>(keys.root), "expected the list of storage keys, got ",
             describe(keys.root));
  for (const PickleValue& item : std::get<PickleList*>(keys.root)->items) {
    const auto* key = std::get_if<const std::string*>(&item);
    ASAP_CHECK(key, "expected the key of a storage, got ", describe(item));
    const auto known = pickle.storages.find(**key);
    ASAP_CHECK(known != pickle.storages.end(), "storage ", printable(**key), " is listed but never described");
    const PthStorage& storage = *known->second;
    ASAP_CHECK(storage.dtype, "storages of ", printable(storage.class_name), " are not supported (storage ", printable(**key), ")");
    int64_t count = 0;
    ASAP_CHECK(rest.size() >= sizeof(count), "truncated: the element count of storage ", printable(**key), " is missing");
    std::memcpy(&count, rest.data(), sizeof(count));
    rest = rest.subspan(sizeof(count));
    ASAP_CHECK(count == storage.numel, "storage ", printable(**key), ": expected ", storage.numel,
               " elements, its count says ", count);
    const size_t element = size_of(*storage.dtype);
    ASAP_CHECK(static_cast<uint64_t>(count) <= rest.size() / element, "truncated: storage ", printable(**key),
               " needs ", count, " elements of ", element, " bytes, ", rest.size(), " bytes are left");
    const size_t taken = static_cast<size_t>(count) * element;
    ASAP_CHECK(places.emplace(&storage, rest.first(taken)).second, "storage ", printable(**key), " is listed twice");
    rest = rest.subspan(taken);
  }
  return places;
}

std::unique_ptr<TensorReader> open_legacy(std::span<const uint8_t> bytes) {
  constexpr int64_t kProtocol = 1001;
  std::span<const uint8_t> rest = bytes;
  const auto next_pickle = [&rest](const char* what) {
    Pickle pickle = with_prefix(what, [&] { return read_pickle(rest); });
    rest = rest.subspan(pickle.bytes);
    return pickle;
  };
  next_pickle("magic number");
  const Pickle protocol = next_pickle("protocol");
  ASAP_CHECK(protocol.root == PickleValue(kProtocol), "expected protocol ", kProtocol, ", got ", describe(protocol.root));
  check_system(next_pickle("system"));
  Pickle pickle = read_pickle(rest);
  rest = rest.subspan(pickle.bytes);
  const Pickle keys = next_pickle("storage keys");
  auto places = locate_storages(pickle, keys, rest);
  return read_pickled_tensors(
      std::move(pickle),
      [places = std::move(places)](const PthStorage& storage, ExpansionBudget&) {
        const auto place = places.find(&storage);
        ASAP_CHECK(place != places.end(), "storage ", printable(storage.key), " is missing");
        return place->second;
      },
      ExpansionBudget(bytes.size()));
}

}  // namespace

bool looks_like_pth(std::span<const uint8_t> bytes) { return looks_like_zip(bytes) || looks_like_legacy(bytes); }

std::unique_ptr<TensorReader> open_pth(std::span<const uint8_t> bytes) {
  if (looks_like_zip(bytes)) return open_zip(bytes);
  ASAP_CHECK(looks_like_legacy(bytes), "not a PyTorch checkpoint (expected a zip or the legacy magic number)");
  return open_legacy(bytes);
}

}  // namespace asap::nn
