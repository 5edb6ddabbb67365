// Texts, numbers and errors between the ranks. Declared in ranks.h.
#include "train/ranks/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "train/files/user_text.h"

namespace asap::train {
namespace {

// Everybody's values, behind each other's counts, since ranks give tensors of the same shape.
template <class T>
std::vector<std::vector<T>> gather_values(const World& world, const std::vector<T>& mine) {
  const Tensor counts = all_gather(world, Tensor::full({1}, static_cast<double>(mine.size()), DType::f64));
  const std::vector<double> sizes = counts.to_vector<double>();
  std::vector<T> padded = mine;
  const auto longest = static_cast<size_t>(*std::max_element(sizes.begin(), sizes.end()));
  padded.resize(longest);
  const std::vector<T> all = all_gather(world, Tensor::from(padded, {static_cast<int64_t>(longest)})).template to_vector<T>();
  std::vector<std::vector<T>> values;
  for (size_t rank = 0; rank < sizes.size(); ++rank) {
    const auto begin = all.begin() + static_cast<ptrdiff_t>(rank * longest);
    values.emplace_back(begin, begin + static_cast<ptrdiff_t>(sizes[rank]));
  }
  return values;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

void Ranks::together(const std::function<void()>& work) const {
  if (alone()) return work();
  std::string mine;  // why it failed here
  try {
    work();
  } catch (const std::exception& error) {
    mine = sentence_of(error);
    if (mine.empty()) mine = "an error without a text";
  }
  if (!any(!mine.empty())) return;
  const std::vector<std::string> texts = gather(mine);
  const auto first = std::find_if(texts.begin(), texts.end(), [](const std::string& text) { return !text.empty(); });
  const bool of_all = std::count(texts.begin(), texts.end(), *first) == std::ssize(texts);
  const auto rank = static_cast<size_t>(first - texts.begin());
  if (of_all || rank == 0) throw SharedError(*first);
  throw SharedError(str("rank ", rank, " (host ", gather(host_name())[rank], "): ", *first));
}

bool Ranks::any(bool mine) const {
  Tensor count = Tensor::full({1}, mine ? 1 : 0);
  all_reduce(world_, DType::f32, count);
  return count.item() > 0;
}

std::vector<std::string> Ranks::gather(const std::string& mine) const {
  std::vector<std::string> texts;
  for (const std::vector<uint8_t>& bytes : gather_values(world_, std::vector<uint8_t>(mine.begin(), mine.end())))
    texts.emplace_back(bytes.begin(), bytes.end());
  return texts;
}

std::string Ranks::broadcast(const std::string& mine) const { return gather(is_first() ? mine : "").front(); }

std::vector<double> Ranks::gather(const std::vector<double>& mine) const {
  std::vector<double> all;
  for (const std::vector<double>& numbers : gather_values(world_, mine)) all.insert(all.end(), numbers.begin(), numbers.end());
  return all;
}

void Ranks::check_alike(const std::string& what, const std::string& mine, const std::string& remedy) const {
  const std::vector<std::string> all = gather(mine);
  const auto other = std::find_if(all.begin(), all.end(), [&](const std::string& text) { return text != all.front(); });
  if (other == all.end()) return;
  const auto rank = static_cast<size_t>(other - all.begin());
  const std::vector<std::string> hosts = gather(host_name());
  throw SharedError(str("the ranks' ", what, " differ: rank ", rank, " (host ", hosts[rank], ") has ", *other, ", rank 0 (host ",
                        hosts[0], ") ", all.front(), "; ", remedy));
}

Ranks::Share Ranks::share_of(size_t count) const {
  const auto size = static_cast<size_t>(world_.size), rank = static_cast<size_t>(world_.rank);
  return {count * rank / size, count * (rank + 1) / size};
}

}  // namespace asap::train
