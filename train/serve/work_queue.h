// One thread that works for many clients in turn, and for each of them at what it asked for last: who draws does not
// want the pictures of strokes that are history by the time their turn comes. Used by studio.cpp.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace asap::train {

enum class Turn { done, superseded, full };

class WorkQueue {
 public:
  // Of the work beyond what is being done, at most `most_waiting` pieces wait.
  explicit WorkQueue(size_t most_waiting);
  // Waits for the work that is being done; what still waits is superseded.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  // Does the work on the queue's thread and returns when it is done, or superseded by newer work of the same client,
  // which takes its place in the line; or at once when too much waits already. An empty client supersedes nobody.
  // Throws what the work throws.
  Turn run(const std::string& client, std::function<void()> work);

 private:
  struct Job {
    std::string client;
    std::function<void()> work;
    std::exception_ptr error = nullptr;
    Turn turn = Turn::done;
    bool over = false;
  };
  void work_on();
  void finish(Job& job, Turn turn);

  const size_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable work_came_, job_over_;
  std::deque<std::shared_ptr<Job>> waiting_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace asap::train
