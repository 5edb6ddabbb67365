// Writing .npy: magic, version, a Python dictionary as text padded to 64 bytes, then the raw numbers. See npy.h.
#include "train/files/npy.h"

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "train/files/whole_files.h"

namespace asap::train {

void write_npy(const std::filesystem::path& path, std::span<const float> values, std::span<const int64_t> shape) {
  static_assert(std::endian::native == std::endian::little, "the header says '<f4'");
  std::string dims;
  int64_t count = 1;
  for (int64_t d : shape) {
    ASAP_CHECK(d >= 0, "write_npy: expected sizes of at least 0, got ", d, " for ", path.string());
    count *= d;
    dims += std::to_string(d) + ", ";  // a trailing comma is fine in a Python tuple, and needed for one element
  }
  ASAP_CHECK(count == int64_t(values.size()), "write_npy: shape (", dims, ") holds ", count, " numbers, but got ",
             values.size(), " for ", path.string());

  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + dims + "), }";
  constexpr size_t kPreamble = 10;  // magic 6, version 2, header length 2
  header.append(63 - (kPreamble + header.size()) % 64, ' ');
  header += '\n';

  std::string start("\x93NUMPY\x01\x00", 8);
  start += char(header.size() & 255);
  start += char(header.size() >> 8);
  start += header;
  std::vector<uint8_t> bytes(start.size() + values.size_bytes());
  std::memcpy(bytes.data(), start.data(), start.size());
  if (!values.empty()) std::memcpy(bytes.data() + start.size(), values.data(), values.size_bytes());
  write_file(path, bytes);
}

}  // namespace asap::train
