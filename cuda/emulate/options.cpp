// Reads the environment. Declared in options.h.
#include "cuda/emulate/options.h"

#include <cstdlib>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace asap::emulate {
namespace {

// Which of `words` the variable names; the first if it is not set.
int choice(const char* variable, const std::vector<std::string>& words) {
  const char* text = std::getenv(variable);
  const std::string wanted = text ? text : words[0];
  std::string known;
  for (size_t i = 0; i < words.size(); ++i) {
    if (wanted == words[i]) return static_cast<int>(i);
    known += (i == 0 ? "" : " or ") + words[i];
  }
  fail(variable, ": expected ", known, ", came '", wanted, "'");
}

int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

size_t Options::shared_bytes() const {
  const int kib = capability >= 120 || capability == 86 || capability == 89 ? 99 : capability >= 90 ? 227 : 163;
  return static_cast<size_t>(kib) << 10;
}

Options& options() {
  static Options one{.order = static_cast<ThreadOrder>(choice("ASAP_EMULATE_ORDER", {"forward", "reverse", "shuffle"})),
                     .copies_early = choice("ASAP_EMULATE_COPIES", {"late", "early"}) == 1,
                     .queued = choice("ASAP_EMULATE_QUEUE", {"0", "1"}) == 1,
                     .sums_truncated = choice("ASAP_EMULATE_SUMS", {"nearest", "truncate"}) == 1,
                     .kernels_skipped = choice("ASAP_EMULATE_KERNELS", {"run", "skip"}) == 1,
                     // Few unless wanted otherwise: grids that are cut to the card stay small.
                     .multiprocessors = number("ASAP_EMULATE_MULTIPROCESSORS", 4),
                     .capability = number("ASAP_EMULATE_CAPABILITY", 90)};
  return one;
}

}  // namespace asap::emulate
