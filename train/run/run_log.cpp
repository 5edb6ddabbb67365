// Reading, cutting and appending log.jsonl. Declared in run_log.h.
#include "train/run/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <variant>

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

std::string to_line(const ScoreEntry& entry) {
  Json object{{"step", entry.step}, {"scores", Json::object()}};
  for (const auto& [name, value] : entry.scores) object["scores"][name] = value;  // null for what is not finite
  return object.dump() + "\n";
}

LogEntry step_entry(const Json& object) {
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
}

ScoreEntry score_entry(const Json& object) {
  ScoreEntry entry{.step = object.at("step"), .scores = {}};
  for (const auto& [name, value] : object.at("scores").items())
    entry.scores.emplace_back(name, value.is_null() ? std::nan("") : value.get<double>());
  return entry;
}

// A line of the file: an entry of either kind, or something else.
struct LogLine {
  std::string text;
  int64_t number = 0;  // from 1
  std::variant<std::monostate, LogEntry, ScoreEntry> entry = {};

  bool is_entry() const { return entry.index() != 0; }
  int64_t step() const {
    const auto* losses = std::get_if<LogEntry>(&entry);
    return losses ? losses->step : std::get<ScoreEntry>(entry).step;
  }
};

LogLine from_text(const std::string& text, int64_t number) {
  LogLine line{text, number};
  try {
    const Json object = Json::parse(text);
    if (object.contains("scores"))
      line.entry = score_entry(object);
    else
      line.entry = step_entry(object);
  } catch (const Json::exception&) {  // something else
  }
  return line;
}

// A last line without its end was cut off by a crash, and is no line.
std::vector<LogLine> read_lines(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  std::istringstream text(file_text(path));
  std::vector<LogLine> lines;
  for (std::string line; std::getline(text, line) && !text.eof();)
    lines.push_back(from_text(line, static_cast<int64_t>(lines.size()) + 1));
  return lines;
}

template <class Entry>
std::vector<Entry> entries_of(const std::filesystem::path& path) {
  std::vector<Entry> entries;
  for (LogLine& line : read_lines(path)) {
    if (auto* entry = std::get_if<Entry>(&line.entry)) entries.push_back(std::move(*entry));
  }
  return entries;
}

// The lines that are no entry go to PATH.bad, behind those that are there. Returns what to say about it.
std::string keep_bad_lines(const std::filesystem::path& path, const std::vector<LogLine>& lines) {
  std::string bad;
  std::vector<int64_t> numbers;
  for (const LogLine& line : lines) {
    if (line.is_entry()) continue;
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

std::vector<LogEntry> read_log(const std::filesystem::path& path) { return entries_of<LogEntry>(path); }

std::vector<ScoreEntry> read_scores(const std::filesystem::path& path) { return entries_of<ScoreEntry>(path); }

RunLog::RunLog(const std::filesystem::path& path, int64_t last_step) : path_(path) {
  const std::vector<LogLine> lines = read_lines(path);
  warning_ = keep_bad_lines(path, lines);
  std::string kept;
  for (const LogLine& line : lines) {
    if (line.is_entry() && line.step() <= last_step) kept += line.text + "\n";
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

void RunLog::append(const ScoreEntry& entry) {
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
