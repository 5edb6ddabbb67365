// A zip archive in memory, read through libzip: the container of .pth files since PyTorch 1.6. Next: pth.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace asap::nn {

class ZipArchive {
 public:
  // `bytes` must outlive the archive. asap::Error: no directory at its end (truncated), a damaged one.
  explicit ZipArchive(std::span<const uint8_t> bytes);
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  // The name of the first entry that ends so.
  std::optional<std::string> find_ending(const std::string& ending) const;
  // The size that the directory claims for an entry's content, or nothing if there is no such entry.
  std::optional<uint64_t> size_of(const std::string& name) const;
  // An entry's content, its checksum verified. The caller has judged size_of(name). asap::Error: missing, damaged,
  // encrypted, or not as long as the directory claims.
  std::vector<uint8_t> read(const std::string& name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace asap::nn
