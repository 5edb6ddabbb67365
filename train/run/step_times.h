// Where the time of a run goes: seconds by part, and pictures a second. Used by trainer.cpp; told by progress.h.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

namespace asap::train {

// What a training loop does: waiting for pictures and bringing them to the device; the two optimisation steps; and saving,
// samples, judging and report.
enum class RunPart { loading, generator, discriminator, saving };

class StepTimes {
 public:
  // Runs work() and counts the time it takes, also where it throws.
  template <class F>
  auto measure(RunPart part, F&& work) {
    const Running running(*this, part);
    return work();
  }
  void count_pictures(int64_t pictures) { pictures_ += pictures; }

  double seconds(RunPart part) const { return seconds_[static_cast<size_t>(part)]; }
  double total() const;
  double pictures_per_second() const;  // of all parts' time; 0 before the first
  // "loading 1 %, generator 58 %, discriminator 38 %, saving 3 %", of all parts' time.
  std::string shares() const;

 private:
  class Running {
   public:
    Running(StepTimes& times, RunPart part) : times_(times), part_(part) {}
    ~Running() {
      times_.seconds_[static_cast<size_t>(part_)] +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;

   private:
    StepTimes& times_;
    RunPart part_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  };
  std::array<double, 4> seconds_{};
  int64_t pictures_ = 0;
};

}  // namespace asap::train
