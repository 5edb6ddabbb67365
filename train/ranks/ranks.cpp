// Texts, numbers and errors between the ranks. Declared in ranks.h.
#include "train/ranks/ranks.h"

#include <algorithm>

namespace asap::train {

void Ranks::together(const std::function<void()>& work) const { work(); }
bool Ranks::any(bool mine) const { return mine; }
std::vector<std::string> Ranks::gather(const std::string& mine) const { return {mine}; }
std::string Ranks::broadcast(const std::string& mine) const { return mine; }
std::vector<double> Ranks::gather(const std::vector<double>& mine) const { return mine; }
void Ranks::check_alike(const std::string&, const std::string&, const std::string&) const {}

Ranks::Share Ranks::share_of(size_t count) const {
  const auto size = static_cast<size_t>(world_.size), rank = static_cast<size_t>(world_.rank);
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace asap::train
