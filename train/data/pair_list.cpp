// What paths have around names, each kind once. Declared in pair_list.h.
#include "train/data/pair_list.h"

#include <algorithm>

#include "tensor/error.h"
#include "train/data/byte_text.h"

namespace asap::train {

PairList::PairList(const std::vector<Pair>& pairs) {
  for (const Pair& pair : pairs) push_back(pair);
}

Pair PairList::operator[](size_t i) const {
  const Entry& entry = entries_[i];
  return {.name = std::string(name_of(entry)),
          .label = path_of(entry, kLabel),
          .image = path_of(entry, kImage),
          .instance = path_of(entry, kInstance),
          .label_half = forms_[entry.forms[kLabel]].half};
}

void PairList::add(std::string_view name, std::string_view label, std::string_view image, std::string_view instance,
                   Half label_half) {
  Entry entry{.name = names_.size(), .name_size = static_cast<uint32_t>(name.size())};
  entry.forms = {form_for(kLabel, name, label, label_half), form_for(kImage, name, image, Half::none),
                 form_for(kInstance, name, instance, Half::none)};
  names_ += name;
  entries_.push_back(entry);
}

void PairList::resize(size_t count) {
  ASAP_CHECK(count <= size(), "PairList: expected at most ", size(), " pairs to keep, got ", count);
  entries_.resize(count);
  names_.resize(count ? entries_.back().name + entries_.back().name_size : 0);
  entries_.shrink_to_fit();
  names_.shrink_to_fit();
}

bool PairList::makes(const Form& form, std::string_view name, std::string_view path, Half half) {
  const std::string_view middle = name.substr(std::min<size_t>(form.skip, name.size()));
  return path.size() == form.before.size() + middle.size() + form.after.size() && path.starts_with(form.before) &&
         path.ends_with(form.after) && path.substr(form.before.size(), middle.size()) == middle && half == form.half;
}

uint32_t PairList::form_for(Role role, std::string_view name, std::string_view path, Half half) {
  if (!entries_.empty())  // mostly that of the pair before
    if (const uint32_t last = entries_.back().forms[role]; makes(forms_[last], name, path, half)) return last;
  const size_t slash = name.rfind('/');
  Form form{.half = half};
  for (const size_t skip : {size_t{0}, slash == std::string_view::npos ? 0 : slash + 1, name.size()}) {
    const std::string_view middle = name.substr(skip);
    const size_t at = path.rfind(middle);  // always there at last, as ""
    if (at == std::string_view::npos) continue;
    form.before = path.substr(0, at);
    form.after = path.substr(at + middle.size());
    form.skip = middle.empty() ? std::string_view::npos : skip;
    break;
  }
  ByteWriter key;
  key.text(form.before);
  key.text(form.after);
  key.number(form.skip);
  key.number(half);
  const auto [known, is_new] = known_.emplace(key.take(), static_cast<uint32_t>(forms_.size()));
  if (is_new) forms_.push_back(std::move(form));
  return known->second;
}

std::string PairList::path_of(const Entry& entry, Role role) const {
  const Form& form = forms_[entry.forms[role]];
  const std::string_view name = name_of(entry), middle = name.substr(std::min<size_t>(form.skip, name.size()));
  std::string path;
  path.reserve(form.before.size() + middle.size() + form.after.size());
  return path.append(form.before).append(middle).append(form.after);
}

std::string PairList::to_bytes() const {
  ByteWriter bytes;
  bytes.number<uint64_t>(forms_.size());
  for (const Form& form : forms_) {
    bytes.text(form.before);
    bytes.text(form.after);
    bytes.number(form.skip);
    bytes.number(form.half);
  }
  bytes.text({reinterpret_cast<const char*>(entries_.data()), entries_.size() * sizeof(Entry)});
  bytes.text(names_);
  return bytes.take();
}

PairList PairList::from_bytes(std::string_view bytes) {
  ByteReader reader(bytes);
  PairList list;
  for (auto left = reader.number<uint64_t>(); left > 0; --left) {
    Form form{.before = std::string(reader.text()), .after = std::string(reader.text())};
    form.skip = reader.number<uint64_t>();
    form.half = reader.number<Half>();
    list.forms_.push_back(std::move(form));
  }
  const std::string_view entries = reader.text();
  list.entries_.resize(entries.size() / sizeof(Entry));
  std::copy_n(entries.data(), list.entries_.size() * sizeof(Entry), reinterpret_cast<char*>(list.entries_.data()));
  list.names_ = reader.text();
  for (const Entry& entry : list.entries_)
    ASAP_CHECK(
        entry.name <= list.names_.size() && entry.name_size <= list.names_.size() - entry.name &&
            std::all_of(entry.forms.begin(), entry.forms.end(), [&](uint32_t f) { return f < list.forms_.size(); }),
        "PairList: expected names and forms of paths that are there");
  return list;
}

}  // namespace asap::train
