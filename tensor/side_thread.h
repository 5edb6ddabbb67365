// A thread that does one piece of work after the other beside the one that hands them over. Used by the CPU's backend (storage.cpp).
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace asap {

class SideThread {
 public:
  SideThread() : thread_([this] { run(); }) {}
  ~SideThread() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  SideThread(const SideThread&) = delete;
  SideThread& operator=(const SideThread&) = delete;

  void add(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      if (error_) return;
      waiting_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

  // Waits until all is done; rethrows what the first that failed threw. What was added behind it, until now, is not begun.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_.empty() && !busy_; });
    if (const std::exception_ptr error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
      lock.unlock();
      std::exception_ptr error;
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      busy_ = false;
      if (error) {
        error_ = error;
        waiting_.clear();
      }
      changed_.notify_all();
    }
  }

  std::mutex mutex_;  // guards everything below but the thread
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool busy_ = false, ending_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace asap
