// Whole files in and out: every reader and writer of train/ goes through these.
// Nothing below knows a format. Next: image_files.h (pictures), npy.h (arrays).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace asap::train {

// Whether something has this name, be it a link that leads nowhere. What cannot be looked at is not there.
bool is_there(const std::filesystem::path& path);

// Makes the folder with those above it, if it is not there. asap::Error naming it and the system's reason.
void make_folder(const std::filesystem::path& folder);

// The file's bytes. asap::Error, naming the file: missing, a folder, unreadable, empty.
std::vector<uint8_t> read_file(const std::filesystem::path& path);
// The same as text, which may be empty.
std::string file_text(const std::filesystem::path& path);

// Writes a new file, syncs it and renames it: whoever reads, also after a crash, finds the old file or the whole new one
// (nn/file_io.h). asap::Error, naming the file and the system's reason (no such folder, full disk, ...).
void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace asap::train
