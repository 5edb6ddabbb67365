// Collecting events, and telling of them. Declared in profiler.h.
// The trace's format: "Trace Event Format", Google, complete events ("ph": "X").
#include "nn/profiler.h"

#include <algorithm>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <ostream>

#include "nn/file_io.h"

namespace asap::nn {
namespace {

struct Row {
  std::string name;
  int64_t count = 0;
  double total = 0, self = 0;  // microseconds
};

// By time of their own, the most first.
std::vector<Row> rows_of(const std::vector<Profiler::Event>& events, TraceKind kind) {
  std::map<std::string, Row> by_name;
  for (const Profiler::Event& event : events) {
    if (event.kind != kind) continue;
    Row& row = by_name[event.label.name];
    row.name = event.label.name;
    ++row.count;
    row.total += event.end - event.begin;
    row.self += event.end - event.begin - event.inside;
  }
  std::vector<Row> rows;
  for (auto& [name, row] : by_name) rows.push_back(std::move(row));
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.self > b.self; });
  return rows;
}

}  // namespace

Profiler::Profiler() {
  TraceObserver* none = nullptr;
  ASAP_CHECK(trace_observer.compare_exchange_strong(none, this),
             "Profiler: expected no other observer, one is at work");
}

void Profiler::stop() {
  TraceObserver* self = this;
  trace_observer.compare_exchange_strong(self, nullptr);
}

void Profiler::begin(TraceKind kind, const TraceLabel& label) {
  const std::lock_guard lock(mutex_);
  Thread& thread = threads_.try_emplace(std::this_thread::get_id(), Thread{threads_.size(), {}}).first->second;
  thread.open.push_back(events_.size());
  events_.push_back({.kind = kind, .label = label, .thread = thread.number});
  // Last, so that keeping the event is not part of it.
  events_.back().begin = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
}

void Profiler::end(TraceKind) {
  const double now = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
  const std::lock_guard lock(mutex_);
  std::vector<size_t>& open = threads_.at(std::this_thread::get_id()).open;
  Event& event = events_[open.back()];
  open.pop_back();
  event.end = now;
  if (!open.empty()) events_[open.back()].inside += event.end - event.begin;
}

void Profiler::write_chrome_trace(const std::filesystem::path& path) const {
  nlohmann::json trace = nlohmann::json::array();
  const char* const kinds[] = {"kernel", "gradient", "layer"};
  for (const Event& event : events_) {
    std::string shapes;
    for (const Shape& shape : event.label.shapes) shapes += shape.str();
    trace.push_back({{"name", event.label.name},
                     {"cat", kinds[static_cast<size_t>(event.kind)]},
                     {"ph", "X"},
                     {"ts", event.begin},
                     {"dur", std::max(0.0, event.end - event.begin)},
                     {"pid", 0},
                     {"tid", event.thread},
                     {"args", {{"shapes", shapes}}}});
  }
  const std::string text = nlohmann::json{{"traceEvents", trace}, {"otherData", {{"times", "host"}}}}.dump(
      -1, ' ', false, nlohmann::json::error_handler_t::replace);
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  write_file(path, {&bytes, 1});
}

std::ostream& operator<<(std::ostream& out, const Profiler& profiler) {
  const std::pair<TraceKind, const char*> kinds[] = {
      {TraceKind::kernel, "kernel"}, {TraceKind::gradient, "gradient of"}, {TraceKind::layer, "layer"}};
  std::ostringstream text;  // leaves out's format as it is
  text << std::fixed << std::setprecision(3) << "milliseconds of the host (a card's kernels are only queued in them)\n";
  for (const auto& [kind, title] : kinds) {
    const std::vector<Row> rows = rows_of(profiler.events(), kind);
    if (rows.empty()) continue;
    text << std::setw(9) << "runs" << std::setw(12) << "total" << std::setw(12) << "itself"
         << "  " << title << '\n';
    for (const Row& row : rows) {
      text << std::setw(9) << row.count << std::setw(12) << row.total / 1000 << std::setw(12) << row.self / 1000 << "  "
           << row.name << '\n';
    }
  }
  return out << text.str();
}

}  // namespace asap::nn
