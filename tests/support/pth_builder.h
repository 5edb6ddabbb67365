// Builds .pth files by hand, well-formed or hostile: a pickle writer, the legacy stream, a zip. For test_pth.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/crc32.h"

namespace asap::tests {

using Bytes = std::string;

// The little-endian bytes of a number.
template <class T>
Bytes raw(T value) {
  Bytes bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// --- pickle pieces; a file's pickle is "\x80\x02" + pieces + "." ---
inline Bytes text(const Bytes& characters) { return "X" + raw(static_cast<uint32_t>(characters.size())) + characters; }
inline Bytes integer(int64_t value) { return "\x8a\x08" + raw(value); }
inline Bytes global(const Bytes& module, const Bytes& name) { return "c" + module + "\n" + name + "\n"; }
inline Bytes integers(const std::vector<int64_t>& values) {
  Bytes bytes = "(";
  for (const int64_t value : values) bytes += integer(value);
  return bytes + "t";
}
inline Bytes storage(const Bytes& type, const Bytes& key, int64_t numel) {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(numel) + "tQ";
}
inline Bytes tensor(const Bytes& storage_id, int64_t offset, const std::vector<int64_t>& sizes,
                    const std::vector<int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") + "(" + storage_id + integer(offset) + integers(sizes) +
         integers(strides) + "\x89" + global("collections", "OrderedDict") + ")R" + "tR";
}
// {name: value}
inline Bytes dict_of(const Bytes& name, const Bytes& value) { return "}" + text(name) + value + "s"; }
inline Bytes pickle(const Bytes& body) { return "\x80\x02" + body + "."; }

// --- containers ---
struct StorageBytes {
  Bytes key;
  int64_t count = 0;
  Bytes content;
};

inline Bytes legacy_file(const Bytes& object_pickle, const std::vector<StorageBytes>& storages,
                         const Bytes& little_endian = "\x88") {
  Bytes keys = "](", contents;
  for (const StorageBytes& s : storages) {
    keys += text(s.key);
    contents += raw(s.count) + s.content;
  }
  const Bytes magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  return pickle(magic) + pickle(integer(1001)) + pickle(dict_of("little_endian", little_endian)) + object_pickle +
         pickle(keys + "e") + contents;
}

struct ZipEntry {
  Bytes name, content;
  bool deflate = false;        // as one uncompressed deflate block
  uint32_t claimed_size = 0;   // what the directory says, if not the truth
};

inline Bytes zip_file(const std::vector<ZipEntry>& entries) {
  Bytes file, directory;
  for (const ZipEntry& entry : entries) {
    const auto length = static_cast<uint16_t>(entry.content.size());
    const Bytes stored = entry.deflate ? "\x01" + raw(length) + raw(static_cast<uint16_t>(~length)) + entry.content
                                       : entry.content;
    const auto size = static_cast<uint32_t>(entry.claimed_size ? entry.claimed_size : entry.content.size());
    const Bytes common = raw<uint16_t>(20) + raw<uint16_t>(0) + raw<uint16_t>(entry.deflate ? 8 : 0) +
                         raw<uint32_t>(0x21 << 16) + raw(crc32(entry.content.data(), entry.content.size())) +
                         raw(static_cast<uint32_t>(entry.deflate || !entry.claimed_size ? stored.size() : size)) +
                         raw(size) + raw(static_cast<uint16_t>(entry.name.size())) + raw<uint16_t>(0);
    directory += "PK\x01\x02" + raw<uint16_t>(20) + common + raw<uint16_t>(0) + raw<uint16_t>(0) + raw<uint16_t>(0) +
                 raw<uint32_t>(0) + raw(static_cast<uint32_t>(file.size())) + entry.name;
    file += "PK\x03\x04" + common + entry.name + stored;
  }
  const auto count = static_cast<uint16_t>(entries.size());
  return file + directory + "PK\x05\x06" + raw<uint32_t>(0) + raw(count) + raw(count) +
         raw(static_cast<uint32_t>(directory.size())) + raw(static_cast<uint32_t>(file.size())) + raw<uint16_t>(0);
}

}  // namespace asap::tests
