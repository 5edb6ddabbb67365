// Bit-for-bit comparison of tensors and state dicts, and whole files as bytes. For the tests of the file formats.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "nn/state_dict.h"

namespace asap::tests {

inline std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  ASAP_CHECK(file.good(), "file_bytes: cannot open ", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

// Same dtype, shape and bits; both contiguous.
inline bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.is_contiguous() && b.is_contiguous() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

}  // namespace asap::tests
