// asap::Error and the two ways to raise it. Every check of the library ends here.
// The text follows one pattern: `op: what was expected, what came`. Next: dtype.h, shape.h, tensor.h.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace asap {

// The one exception type of the library; what() is a sentence for the user.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Concatenates its arguments as operator<< prints them.
template <class... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

// Throws Error with the concatenated arguments as its text.
template <class... Args>
[[noreturn]] void fail(const Args&... args) {
  throw Error(str(args...));
}

}  // namespace asap

// Throws asap::Error with the concatenated further arguments unless `condition` holds.
#define ASAP_CHECK(condition, ...)              \
  do {                                          \
    if (!(condition)) ::asap::fail(__VA_ARGS__); \
  } while (false)
