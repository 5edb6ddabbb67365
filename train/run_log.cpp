// Reading, cutting and appending log.jsonl. Declared in run_log.h.
#include "train/run_log.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "train/files.h"

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

LogEntry from_line(const std::string& line) {
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
}

}  // namespace

std::vector<LogEntry> read_log(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path) || std::filesystem::file_size(path) == 0) return {};
  const auto bytes = read_file(path);
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::vector<LogEntry> entries;
  int64_t number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (text.eof()) break;  // no line end: cut off
    try {
      entries.push_back(from_line(line));
    } catch (const Json::exception&) {
      fail(path.string(), ": expected a JSON object of one training step, line ", number, " is none");
    }
  }
  return entries;
}

RunLog::RunLog(const std::filesystem::path& path, int64_t last_step) : path_(path) {
  std::string kept;
  for (const LogEntry& entry : read_log(path)) {
    if (entry.step <= last_step) kept += to_line(entry);
  }
  write_file(path, {reinterpret_cast<const uint8_t*>(kept.data()), kept.size()});
  file_ = std::fopen(path.c_str(), "ae");
  ASAP_CHECK(file_, path.string(), ": cannot be opened for writing (", std::strerror(errno), ")");
}

RunLog::~RunLog() { std::fclose(file_); }

void RunLog::append(const LogEntry& entry) {
  const std::string line = to_line(entry);
  const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  ASAP_CHECK(written, path_.string(), ": cannot be written (", std::strerror(errno), ")");
}

void RunLog::sync() {
  ASAP_CHECK(fsync(fileno(file_)) == 0, path_.string(), ": cannot be written (", std::strerror(errno), ")");
}

}  // namespace asap::train
