// Profiler: where the time goes, by kernel, gradient and layer. Times are the host's: on the CPU those of the work, on a card
// those of queueing it, since kernels there run later; a recorded graph that is replayed calls no kernels at all.
#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tensor/trace.h"

namespace asap::nn {

// Begins to collect when it is made, until stop() or its end. Every event stays in memory: profile a few steps, not a run.
class Profiler : public TraceObserver {
 public:
  struct Event {
    TraceKind kind = TraceKind::kernel;
    TraceLabel label;
    size_t thread = 0;          // numbered from 0 in order of appearance
    double begin = 0, end = 0;  // microseconds since the profiler was made
    double inside = 0;          // of that time, what events within this one took
  };

  // asap::Error if another observer is at work: one at a time. To be made, stopped and destroyed while no other thread runs
  // kernels, and not within a layer's forward.
  Profiler();
  ~Profiler() override { stop(); }
  void stop();

  // In the order they began; to be read when stopped.
  const std::vector<Event>& events() const { return events_; }
  // A trace for chrome://tracing or https://ui.perfetto.dev, with kernels' shapes. Written whole or not at all.
  void write_chrome_trace(const std::filesystem::path& path) const;

 private:
  void begin(TraceKind kind, const TraceLabel& label) override;
  void end(TraceKind kind) override;

  struct Thread {
    size_t number;
    std::vector<size_t> open;  // indices of events, the innermost last
  };
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::vector<Event> events_;
  std::map<std::thread::id, Thread> threads_;
  std::mutex mutex_;
};

// A table for each kind: number of runs, milliseconds in all and without what ran within, the longest first.
std::ostream& operator<<(std::ostream& out, const Profiler& profiler);

}  // namespace asap::nn
