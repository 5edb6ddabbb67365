// Why names do not pair: a constant beginning or ending, or upper and lower case. Declared in match_files.h.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "tensor/error.h"
#include "train/data/match_files.h"
#include "train/files/file_names.h"
#include "train/files/user_text.h"

namespace asap::train {
namespace {

using Names = std::vector<std::string>;

struct Rule {
  Affixes label = {}, other = {};
  auto key() const { return std::tie(label.prefix, label.suffix, other.prefix, other.suffix); }
  bool operator<(const Rule& r) const { return key() < r.key(); }
};

Names names_of(const Side& side) {
  Names names;
  for (size_t i = 0; i < side.scan.files.size(); ++i) names.emplace_back(side.scan.files.name(i));
  return names;
}

std::string folder_of(const std::string& name) { return name.substr(0, name.size() - last_component(name).size()); }

// Whether the two are the same names once the rule has taken its beginnings and endings off.
bool explains(const Rule& rule, const Names& labels, const std::set<std::string>& others) {
  std::set<std::string> pairs;
  for (const std::string& name : labels) {
    const std::string core = without_affixes(name, rule.label);
    if (core.empty()) return false;
    const std::string stem = last_component(core);
    const std::string other = folder_of(core) + rule.other.prefix + stem + rule.other.suffix;
    if (!others.contains(other) || !pairs.insert(other).second) return false;
  }
  return pairs.size() == others.size();
}

// What `longer` has around `shorter`, wherever that stands in it.
void add_surroundings(const std::string& longer, const std::string& shorter, bool label_is_longer,
                      std::set<Rule>& rules) {
  for (size_t at = longer.find(shorter); at != std::string::npos; at = longer.find(shorter, at + 1)) {
    const Affixes around{longer.substr(0, at), longer.substr(at + shorter.size())};
    rules.insert(label_is_longer ? Rule{around, {}} : Rule{{}, around});
  }
}

bool is_separator(char c) { return c == '_' || c == '-' || c == '.' || c == ' '; }

// Every rule that would pair the first label with some file of the other side.
std::set<Rule> candidates(const std::string& label, const Names& others) {
  constexpr size_t kMost = 2000;
  const std::string stem = last_component(label);
  std::set<Rule> rules;
  for (const std::string& other : others) {
    if (folder_of(other) != folder_of(label) || rules.size() >= kMost) continue;
    const std::string other_stem = last_component(other);
    add_surroundings(stem, other_stem, true, rules);
    add_surroundings(other_stem, stem, false, rules);
    const auto ends = std::mismatch(stem.begin(), stem.end(), other_stem.begin(), other_stem.end());
    auto common = static_cast<size_t>(ends.first - stem.begin());
    while (common > 1 && is_separator(stem[common - 1])) --common;
    if (common > 0) rules.insert(Rule{{"", stem.substr(common)}, {"", other_stem.substr(common)}});
    const auto begins = std::mismatch(stem.rbegin(), stem.rend(), other_stem.rbegin(), other_stem.rend());
    auto tail = static_cast<size_t>(begins.first - stem.rbegin());
    while (tail > 1 && is_separator(stem[stem.size() - tail])) --tail;
    if (tail > 0)
      rules.insert(
          Rule{{stem.substr(0, stem.size() - tail), ""}, {other_stem.substr(0, other_stem.size() - tail), ""}});
  }
  return rules;
}

std::string flag(const std::string& name, const std::string& value) {
  if (value.empty()) return "";
  const size_t dashes = std::min(value.find_first_not_of('-'), value.size());  // which would be taken for a flag's
  const std::string rest = dashes < value.size() ? shell_quoted(value.substr(dashes)) : "";
  return " " + name + (dashes > 0 ? "=" : " ") + std::string(dashes, '-') + rest;
}

std::string flags(const Side& side, const Affixes& more) {
  const std::string prefix = more.prefix.empty() ? "" : side.affixes.prefix + more.prefix;
  const std::string suffix = more.suffix.empty() ? "" : more.suffix + side.affixes.suffix;
  return flag(side.option + "-prefix", prefix) + flag(side.option + "-suffix", suffix);
}

std::string case_hint(const Names& labels, const Names& others) {
  std::map<std::string, std::string> folded;
  for (const std::string& name : others) folded[case_folded(name)] = name;
  std::string example;
  for (const std::string& name : labels) {
    const auto twin = folded.find(case_folded(name));
    if (twin == folded.end()) return "";
    if (twin->second != name && example.empty()) example = name + ", " + twin->second;
  }
  if (example.empty()) return "";
  return "; the names differ in upper and lower case only (" + example + "): rename the files of one side";
}

}  // namespace

std::string pairing_hint(const Side& labels, const Side& others) {
  const Names label_names = names_of(labels), other_names = names_of(others);
  if (label_names.size() != other_names.size()) return "";
  if (const std::string hint = case_hint(label_names, other_names); !hint.empty()) return hint;
  if (labels.option.empty()) return "";
  const std::set<std::string> other_set(other_names.begin(), other_names.end());
  for (const Rule& rule : candidates(label_names.front(), other_names)) {
    if (!explains(rule, label_names, other_set)) continue;
    const std::string instead = labels.instead.empty() ? "" : " " + labels.instead + " " + others.instead;
    return "; with" + instead + flags(labels, rule.label) + flags(others, rule.other) + " all would pair";
  }
  return "";
}

}  // namespace asap::train
