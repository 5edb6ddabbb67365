// Edit distance and the nearest name. Declared in nearest.h.
#include "train/options/nearest.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <numeric>

namespace asap::train {
namespace {

// Levenshtein distance: insertions, deletions and replacements, one row of the table at a time. A name that was cut
// short ("bach" for "batchsize") counts as its distance to the best beginning, plus one.
size_t edit_distance(const std::string& a, const std::string& b) {
  if (b.empty()) return a.size();
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return std::min(row.back(), 1 + *std::min_element(row.begin() + 1, row.end()));
}

}  // namespace

std::string letters_of(const std::string& name) {
  std::string letters;
  for (unsigned char c : name) {
    if (c != '-' && c != '_') letters += static_cast<char>(std::tolower(c));
  }
  return letters;
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  std::string best;
  size_t least = SIZE_MAX;
  const size_t most = (letters_of(name).size() + 2) / 3;
  for (const std::string& candidate : known) {
    const size_t distance = edit_distance(letters_of(name), letters_of(candidate));
    if (distance < least && distance <= most) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace asap::train
