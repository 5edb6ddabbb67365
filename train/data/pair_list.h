// Pairs of files, a few or millions: names lie in one text, and a path is kept as what it has around its pair's name.
// Sits on stamp.h; made by list_pairs.h, kept on the disk by list_index.h. Next: load_sample.h.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "train/data/stamp.h"

namespace asap::train {

// Which half of an aligned picture is the input; the other is the photo.
enum class Half { none, left, right };

struct Pair {
  std::string name = {};  // the common name: "cmp_b0001", "sub/a0"; in Unicode's composed form
  std::filesystem::path label = {};
  std::filesystem::path image = {}, instance = {};  // empty where not asked for; aligned: image is label
  Half label_half = Half::none;                     // aligned: the half of `label` that is the input
};

// A sequence of pairs, each made when it is asked for. Memory: 24 bytes a pair and its name; paths that do not contain the name
// (or the last component of one such as "sub/a0") cost their whole length besides.
class PairList {
 public:
  class Iterator;

  PairList() = default;
  PairList(const std::vector<Pair>& pairs);

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Pair operator[](size_t i) const;
  Pair front() const { return (*this)[0]; }
  Pair back() const { return (*this)[size() - 1]; }
  Iterator begin() const;
  Iterator end() const;

  void push_back(const Pair& pair) {
    add(pair.name, pair.label.native(), pair.image.native(), pair.instance.native(), pair.label_half);
  }
  void add(std::string_view name, std::string_view label, std::string_view image, std::string_view instance,
           Half label_half = Half::none);
  // Keeps the first `count` (at most size()), and gives back the memory of the rest.
  void resize(size_t count);

  // Every folder that was read, as it was before: while they stay so, the list would be made again. Empty: not known, or more was
  // looked at than the names in folders (targets of links).
  std::vector<StampedPath> folders;

  // The list as bytes, for this machine to read again. from_bytes: asap::Error unless to_bytes made them.
  std::string to_bytes() const;
  static PairList from_bytes(std::string_view bytes);

 private:
  // The path of the pair NAME is: before + NAME without its first `skip` bytes + after.
  struct Form {
    std::string before = {}, after = {};
    uint64_t skip = 0;
    Half half = Half::none;
  };
  enum Role { kLabel, kImage, kInstance, kRoles };
  struct Entry {
    uint64_t name = 0;  // its first byte in names_
    uint32_t name_size = 0;
    std::array<uint32_t, kRoles> forms{};
  };

  static bool makes(const Form& form, std::string_view name, std::string_view path, Half half);
  uint32_t form_for(Role role, std::string_view name, std::string_view path, Half half);
  std::string path_of(const Entry& entry, Role role) const;
  std::string_view name_of(const Entry& entry) const {
    return std::string_view(names_).substr(entry.name, entry.name_size);
  }

  std::string names_;
  std::vector<Entry> entries_;
  std::vector<Form> forms_;
  std::unordered_map<std::string, uint32_t> known_;  // forms by their text
};

class PairList::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = Pair;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = Pair;

  Iterator(const PairList& list, size_t at) : list_(&list), at_(at) {}
  Pair operator*() const { return (*list_)[at_]; }
  Iterator& operator++() {
    ++at_;
    return *this;
  }
  Iterator operator++(int) { return {*list_, at_++}; }
  bool operator==(const Iterator&) const = default;

 private:
  const PairList* list_;
  size_t at_;
};

inline PairList::Iterator PairList::begin() const { return {*this, 0}; }
inline PairList::Iterator PairList::end() const { return {*this, size()}; }

}  // namespace asap::train
