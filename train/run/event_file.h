// The container of TensorBoard's events: a row of records, each framed with its length and checksums (TFRecord). What a
// record says is tensorboard.cpp's. Sits on appended_file.h. Next: tensorboard.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/files/appended_file.h"

namespace asap::train {

// CRC-32C (Castagnoli: polynomial 0x1EDC6F41, reflected), as of iSCSI (RFC 3720, B.4).
uint32_t crc32c(std::string_view bytes);
// As TFRecord stores it, so that a checksum of data that holds checksums stays a good one: rotated right by 15 bits, plus
// 0xa282ead8.
uint32_t masked_crc32c(std::string_view bytes);

// Length (u64), its masked checksum (u32), the record, its masked checksum (u32); numbers little-endian.
std::string framed(std::string_view record);

// The event files in a folder, in the order in which TensorBoard reads them: by name.
std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder);

// A new file FOLDER/events.out.tfevents.SECONDS.HOST.PROCESS.N: TensorBoard knows such files by "tfevents", and a process
// that goes on where another stopped writes one of its own.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& folder);  // asap::Error as AppendedFile
  void append(std::string_view record) { file_.append(framed(record)); }
  void flush() { file_.flush(); }  // asap::Error as AppendedFile

 private:
  AppendedFile file_;
};

}  // namespace asap::train
