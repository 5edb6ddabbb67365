// Reading, cutting and appending log.jsonl. Declared in run_log.h.
#include "train/run/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "train/files/whole_files.h"

namespace asap::train {
namespace {

using Json = nlohmann::ordered_json;

std::string to_line(const LogEntry& entry) {
  Json object;
  object["step"] = entry.step;
  object["epoch"] = entry.epoch;
  for (const auto& [name, value] : entry.losses) object[name] = value;
  object["lr"] = entry.lr;
  object["seconds"] = entry.seconds;
  return object.dump() + "\n";
}

std::optional<LogEntry> from_line(const std::string& line) try {
  const Json object = Json::parse(line);
  LogEntry entry{.step = object.at("step"),
                 .epoch = object.at("epoch"),
                 .losses = {},
                 .lr = object.at("lr"),
                 .seconds = object.at("seconds")};
  for (const auto& [key, value] : object.items()) {
    if (key != "step" && key != "epoch" && key != "lr" && key != "seconds")
      entry.losses.emplace_back(key, value.get<double>());
  }
  return entry;
} catch (const Json::exception&) {
  return std::nullopt;
}

// A line of the file: an entry, or something else.
struct LogLine {
  std::string text;
  int64_t number = 0;  // from 1
  std::optional<LogEntry> entry;
};

// A last line without its end was cut off by a crash, and is no line.
std::vector<LogLine> read_lines(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  std::istringstream text(file_text(path));
  std::vector<LogLine> lines;
  for (std::string line; std::getline(text, line) && !text.eof();)
    lines.push_back({line, static_cast<int64_t>(lines.size()) + 1, from_line(line)});
  return lines;
}

// The lines that are no entry go to PATH.bad, behind those that are there. Returns what to say about it.
std::string keep_bad_lines(const std::filesystem::path& path, const std::vector<LogLine>& lines) {
  std::string bad;
  std::vector<int64_t> numbers;
  for (const LogLine& line : lines) {
    if (line.entry) continue;
    numbers.push_back(line.number);
    bad += line.text + "\n";
  }
  if (numbers.empty()) return "";
  const std::filesystem::path kept = path.string() + ".bad";
  std::error_code ignored;
  if (std::filesystem::exists(kept, ignored)) bad.insert(0, file_text(kept));
  write_file(kept, bad);
  const std::string others = numbers.size() > 1 ? str(" (and ", numbers.size() - 1, " more)") : "";
  return str(path.string(), ": line ", numbers.front(), others,
             " is no entry of a training step; left out and kept in ", kept.filename().string());
}

}  // namespace

std::vector<LogEntry> read_log(const std::filesystem::path& path) {
  std::vector<LogEntry> entries;
  for (LogLine& line : read_lines(path)) {
    if (line.entry) entries.push_back(std::move(*line.entry));
  }
  return entries;
}

RunLog::RunLog(const std::filesystem::path& path, int64_t last_step) : path_(path) {
  const std::vector<LogLine> lines = read_lines(path);
  warning_ = keep_bad_lines(path, lines);
  std::string kept;
  for (const LogLine& line : lines) {
    if (line.entry && line.entry->step <= last_step) kept += line.text + "\n";
  }
  write_file(path, kept);
  file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  ASAP_CHECK(file_ >= 0, path.string(), ": cannot be opened for writing (", std::strerror(errno), ")");
}

RunLog::~RunLog() { ::close(file_); }

void RunLog::append(const LogEntry& entry) {
  pending_ += to_line(entry);
  write_pending();
}

void RunLog::write_pending() {
  if (pending_.empty()) return;
  const ssize_t written = ::write(file_, pending_.data(), pending_.size());
  const int reason = written < 0 ? errno : ENOSPC;  // what a short write means here
  if (written > 0) pending_.erase(0, static_cast<size_t>(written));
  ASAP_CHECK(pending_.empty(), path_.string(), ": cannot be written (", std::strerror(reason), ")");
}

void RunLog::sync() {
  write_pending();
  ASAP_CHECK(::fsync(file_) == 0, path_.string(), ": cannot be written (", std::strerror(errno), ")");
}

}  // namespace asap::train
