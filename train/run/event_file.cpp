// Framing records, and naming files of them. Declared in event_file.h.
#include "train/run/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <ctime>

#include "tensor/error.h"
#include "train/files/whole_files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

std::string little_endian(uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> 8 * i & 0xff);
  return text;
}

fs::path new_name(const fs::path& folder) {
  char seconds[24], host[HOST_NAME_MAX + 1] = "";
  std::snprintf(seconds, sizeof seconds, "%010lld", static_cast<long long>(std::time(nullptr)));  // names sort by age
  gethostname(host, sizeof host - 1);
  std::string machine = host;
  std::replace(machine.begin(), machine.end(), '/', '_');
  for (int n = 0;; ++n) {
    const fs::path path = folder / str(kPrefix, seconds, ".", machine, ".", getpid(), ".", n);
    if (!is_there(path)) return path;
  }
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> remainders{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);  // 0x1EDC6F41 from right to left
      remainders[i] = crc;
    }
    return remainders;
  }();
  uint32_t crc = ~uint32_t{0};
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

uint32_t masked_crc32c(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

std::string framed(std::string_view record) {
  const std::string length = little_endian(record.size(), 8);
  std::string frame = length + little_endian(masked_crc32c(length), 4);
  frame += record;
  return frame + little_endian(masked_crc32c(record), 4);
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

EventFile::EventFile(const fs::path& folder) : file_(new_name(folder)) {}

}  // namespace asap::train
