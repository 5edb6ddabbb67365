// Matching by name, and the sentence that lists what is wrong. See match_files.h; next: pairing_hint.cpp.
#include "train/data/match_files.h"

#include <algorithm>
#include <map>
#include <set>

#include "tensor/error.h"
#include "train/files/file_names.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Note = std::function<void(const std::string&)>;

// "L/a0.webp: this build reads no WebP; convert it to PNG (likewise a1.webp)", one clause a reason.
std::string describe(const std::vector<const Stranger*>& strangers) {
  std::map<std::string, std::vector<const Stranger*>> by_reason;
  for (const Stranger* s : strangers) by_reason[s->reason].push_back(s);
  std::string text;
  for (const auto& [reason, all] : by_reason) {
    std::vector<std::string> rest;
    for (size_t i = 1; i < all.size(); ++i) rest.push_back(all[i]->path.filename().string());
    text += (text.empty() ? "" : "; ") + all.front()->path.string() + ": " + reason;
    if (!rest.empty()) text += " (likewise " + enumerate(rest) + ")";
  }
  return text;
}

// Strangers whose name nothing readable on their own side has, nor on the partner's (those are named with it).
std::vector<const Stranger*> lost(const FolderScan& scan, const FolderScan* partner) {
  std::vector<const Stranger*> strangers;
  for (const auto& [name, stranger] : scan.strangers)
    if (!scan.files.contains(name) && !(partner && partner->files.contains(name))) strangers.push_back(&stranger);
  return strangers;
}

std::string file_names(const std::vector<fs::path>& paths) {
  std::vector<std::string> names;
  for (const fs::path& path : paths) names.push_back(path.filename().string());
  std::sort(names.begin(), names.end());
  return enumerate(names);
}

// "a name that begins with x_ and ends in _seg", for what the affixes ask of a name.
std::string expected_name(const Affixes& affixes) {
  const std::string begin = affixes.prefix.empty() ? "" : " begin with " + affixes.prefix;
  const std::string end = affixes.suffix.empty() ? "" : " end in " + affixes.suffix;
  return begin + (begin.empty() || end.empty() ? "" : " and") + end;
}

void check_not_empty(const Side& labels) {
  const FolderScan& scan = labels.scan;
  if (!scan.files.empty()) return;
  std::vector<const Stranger*> strangers;
  for (const auto& [name, stranger] : scan.strangers) strangers.push_back(&stranger);
  std::string found;
  if (!strangers.empty()) {
    found = "; " + describe(strangers);
  } else if (!scan.unnamed.empty()) {
    found = str("; the ", scan.unnamed.size(), " picture(s) there do not have names that",
                expected_name(labels.affixes), ": ", file_names(scan.unnamed));
  } else if (!scan.others.empty()) {
    std::vector<fs::path> others;
    for (size_t i = 0; i < scan.others.size(); ++i) others.emplace_back(scan.others.relative(i));
    found = "; what lies there is no picture by its name: " + file_names(others);
  } else if (!scan.remarks.empty()) {
    found = "; " + enumerate(scan.remarks);
  }
  fail("dataset: expected ", labels.one, " files, found none in ", scan.folder.string(), found);
}

// ---- subfolders on one side only ----

bool has_subfolders(const FolderScan& scan) {
  for (size_t i = 0; i < scan.files.size(); ++i)
    if (scan.files.name(i).find('/') != std::string_view::npos) return true;
  return std::any_of(scan.strangers.begin(), scan.strangers.end(),
                     [](const auto& entry) { return entry.first.find('/') != std::string::npos; });
}

// Names of `scan` that `partner` lacks, by their last components.
std::multimap<std::string, std::string> unmatched_by_stem(const FolderScan& scan, const FolderScan& partner) {
  std::multimap<std::string, std::string> names;
  for (const size_t i : scan.files.missing_in(partner.files)) {
    const std::string name(scan.files.name(i));
    names.emplace(last_component(name), name);
  }
  return names;
}

// Gives the files of `other` the names of the labels whose last component is theirs.
void join_subfolders(const FolderScan& labels, FolderScan& other) {
  if (has_subfolders(labels) == has_subfolders(other)) return;
  const auto label_names = unmatched_by_stem(labels, other), other_names = unmatched_by_stem(other, labels);
  std::map<std::string, std::string> new_names;
  for (const auto& [stem, name] : label_names) {
    const auto [first, last] = other_names.equal_range(stem);
    if (first == last) {
      if (other.strangers.contains(stem)) new_names[stem] = name;
      continue;
    }
    const bool many_labels = label_names.count(stem) > 1;
    if (std::next(first) != last || many_labels) {
      const auto candidates = many_labels ? label_names.equal_range(stem) : std::pair(first, last);
      const FolderScan& where = many_labels ? labels : other;
      fail("dataset: ", (many_labels ? other : labels).folder.string(), " has no subfolders, but ",
           where.folder.string(), " has, and ", stem, " could be ",
           where.files.path(where.files.find(candidates.first->second)), " or ",
           where.files.path(where.files.find(std::next(candidates.first)->second)),
           "; give both sides the same subfolders");
    }
    new_names[first->second] = name;
  }
  for (const auto& [name, stranger] : other.strangers) {  // nested strangers of flat labels
    const std::string stem = last_component(name);
    if (labels.files.contains(stem)) new_names[name] = stem;
  }
  other.files.rename(new_names);
  other.others.rename(new_names);
  std::multimap<std::string, Stranger> strangers;
  for (auto& [name, stranger] : other.strangers) {
    const auto found = new_names.find(name);
    strangers.emplace(found == new_names.end() ? name : found->second, std::move(stranger));
  }
  other.strangers = std::move(strangers);
}

// ---- what is wrong ----

struct Complaints {
  std::string text;
  bool lacking = false;  // whether a name has no partner, so that a hint may help

  void add(const std::string& clause) { text += "; " + clause; }
};

// Files of `a` whose partner in `b` is missing; what lies in its place is named instead.
void complain_about_missing(const Side& a, const Side& b, Complaints& complaints) {
  std::vector<std::string> without;
  std::vector<const Stranger*> strangers;
  std::vector<fs::path> no_pictures;
  for (const size_t i : a.scan.files.missing_in(b.scan.files)) {
    const std::string name(a.scan.files.name(i));
    if (const auto stranger = b.scan.strangers.find(name); stranger != b.scan.strangers.end())
      strangers.push_back(&stranger->second);
    else if (const size_t other = b.scan.others.find(name); other != FoundFiles::npos)
      no_pictures.emplace_back(b.scan.others.path(other));
    else
      without.push_back(fs::path(name).parent_path() / fs::path(a.scan.files.relative(i)).filename());
  }
  const std::string article = b.one[0] == 'i' ? "an " : "a ";
  if (!without.empty())
    complaints.add(str(without.size(), " ", a.one, "(s) without ", article, b.one, ": ", enumerate(without)));
  if (!strangers.empty()) complaints.add(describe(strangers));
  if (!no_pictures.empty())
    complaints.add(str(no_pictures.size(), " ", a.one, "(s) without ", article, b.one, ", but with ",
                       no_pictures.front().string(), no_pictures.size() > 1 ? " and others" : "",
                       ", no picture by its name"));
  complaints.lacking = complaints.lacking || !without.empty();
}

void note_harmless(const Side& side, const Note& note) {
  std::vector<const Stranger*> twins;
  for (const auto& [name, stranger] : side.scan.strangers)
    if (side.scan.files.contains(name)) twins.push_back(&stranger);
  if (!twins.empty()) note("left out, as there are readable files of the same names: " + describe(twins));
  if (!side.scan.unnamed.empty())
    note(str("left out: ", side.scan.unnamed.size(), " picture(s) in ", side.scan.folder.string(),
             " whose names do not", expected_name(side.affixes), ": ", file_names(side.scan.unnamed)));
  for (const std::string& remark : side.scan.remarks) note(remark);
}

// Labels that are their own photos, by a link. For sides of the same names.
void check_different(const FoundFiles& labels, const FoundFiles& images) {
  for (size_t i = 0; i < labels.size(); ++i) {
    if (!labels.symbolic_link(i) && !images.symbolic_link(i) && labels.inode(i) != images.inode(i)) continue;
    std::error_code ignored;
    ASAP_CHECK(!fs::equivalent(labels.path(i), images.path(i), ignored), "dataset: ", labels.path(i), " and ",
               images.path(i), " are one and the same file (a link); expected a label map and a photo");
  }
}

// The pairs of all labels' names, which the other sides have too.
PairList pairs_of(const FoundFiles& labels, const std::optional<Side>& images, const std::optional<Side>& instances) {
  const auto partner = [](const std::optional<Side>& side, size_t& at, std::string_view name) {
    if (!side) return std::string();
    while (side->scan.files.name(at) != name) ++at;
    return side->scan.files.path(at);
  };
  PairList pairs;
  size_t image = 0, instance = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string_view name = labels.name(i);
    pairs.add(name, labels.path(i), partner(images, image, name), partner(instances, instance, name));
  }
  return pairs;
}

// With the labels that cannot be read, for their reader to say what is wrong with them.
PairList with_strangers(const PairList& pairs, const FolderScan& labels, const std::optional<Side>& instances) {
  std::vector<Pair> all(pairs.begin(), pairs.end());
  for (const auto& [name, stranger] : labels.strangers) {
    if (labels.files.contains(name)) continue;
    const size_t instance = instances ? instances->scan.files.find(name) : FoundFiles::npos;
    if (instances && instance == FoundFiles::npos) continue;
    all.push_back({name, stranger.path, {}, instances ? instances->scan.files.path(instance) : ""});
  }
  std::sort(all.begin(), all.end(), [](const Pair& a, const Pair& b) { return a.name < b.name; });
  return all;
}

}  // namespace

std::string without_affixes(const std::string& name, const Affixes& affixes) {
  const std::string stem = last_component(name);
  const size_t taken = affixes.prefix.size() + affixes.suffix.size();
  if (stem.size() <= taken || !stem.starts_with(affixes.prefix) || !stem.ends_with(affixes.suffix)) return "";
  return name.substr(0, name.size() - stem.size()) + stem.substr(affixes.prefix.size(), stem.size() - taken);
}

Side scan_side(const char* one, const fs::path& folder, const std::string& what, const Affixes& affixes,
               const std::vector<Affixes>& rivals, const std::vector<fs::path>& skip) {
  const auto length = [](const Affixes& a) { return a.prefix.size() + a.suffix.size(); };
  const auto is_rivals = [&](const std::string& name) {
    return std::any_of(rivals.begin(), rivals.end(), [&](const Affixes& rival) {
      return length(rival) > length(affixes) && !without_affixes(name, rival).empty();
    });
  };
  const auto of_any_rival = [&](const std::string& relative) {
    const std::string name = composed(without_extension(relative));
    return std::any_of(rivals.begin(), rivals.end(),
                       [&](const Affixes& r) { return !without_affixes(name, r).empty(); });
  };
  const auto name_of = [&](const std::string& relative) {
    const std::string name = composed(without_extension(relative));
    return is_rivals(name) ? std::string() : without_affixes(name, affixes);
  };
  return {.one = one,
          .affixes = affixes,
          .scan = scan_folder(folder, {.what = what, .name_of = name_of, .passes_over = of_any_rival, .skip = skip})};
}

std::string unusable(const FolderScan& scan) { return describe(lost(scan, nullptr)); }

PairList match_files(Side labels, std::optional<Side> images, std::optional<Side> instances, const Note& note) {
  check_not_empty(labels);
  Complaints complaints;
  std::string where = labels.scan.folder.string(), hint;
  for (Side* other : {images ? &*images : nullptr, instances ? &*instances : nullptr}) {
    if (!other) continue;
    join_subfolders(labels.scan, other->scan);
    Complaints ours;
    complain_about_missing(labels, *other, ours);
    // With labels alone, instance maps for more labels than these are no mistake.
    if (images) complain_about_missing(*other, labels, ours);
    if (const auto strangers = lost(other->scan, &labels.scan); images && !strangers.empty())
      ours.add(describe(strangers));
    if (ours.text.empty()) continue;
    if (other->scan.folder != labels.scan.folder) where += " and " + other->scan.folder.string();
    if (ours.lacking && hint.empty()) hint = pairing_hint(labels, *other);
    complaints.add(ours.text.substr(2));
  }
  const auto unread = lost(labels.scan, images ? &images->scan : nullptr);
  std::vector<const Stranger*> refused;
  for (const Stranger* s : unread)
    if (images || s->kind == Stranger::Kind::no_file) refused.push_back(s);
  if (!refused.empty()) complaints.add(describe(refused));
  ASAP_CHECK(complaints.text.empty(), "dataset: expected files in pairs of equal names in ", where, complaints.text,
             hint);

  if (images) check_different(labels.scan.files, images->scan.files);
  PairList pairs = pairs_of(labels.scan.files, images, instances);
  bool plain = true;  // whether names in folders alone decided
  if (!images && !labels.scan.strangers.empty()) pairs = with_strangers(pairs, labels.scan, instances);
  pairs.resize(pairs.size());
  for (const FolderScan* scan :
       {&labels.scan, images ? &images->scan : nullptr, instances ? &instances->scan : nullptr}) {
    if (!scan) continue;
    plain = plain && !scan->links && scan->strangers.empty();
    pairs.folders.insert(pairs.folders.end(), scan->visited.begin(), scan->visited.end());
  }
  if (!plain) pairs.folders.clear();
  note_harmless(labels, note);
  if (images) note_harmless(*images, note);
  if (instances) note_harmless(*instances, note);
  return pairs;
}

}  // namespace asap::train
