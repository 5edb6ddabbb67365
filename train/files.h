// Whole files in and out: every reader and writer of train/ goes through these two.
// Nothing below knows a format. Next: image_files.h (pictures), npy.h (arrays).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace asap::train {

// The file's bytes. asap::Error, naming the file: missing, a folder, unreadable, empty.
std::vector<uint8_t> read_file(const std::filesystem::path& path);

// Writes PATH.tmp, syncs it and renames it: whoever reads, also after a crash, finds the old file or the whole new one.
// asap::Error, naming the file and the system's reason (no such folder, full disk, ...); the .tmp file is removed.
void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes);

}  // namespace asap::train
