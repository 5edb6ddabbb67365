// Declared in work_queue.h.
#include "train/serve/work_queue.h"

#include <algorithm>

namespace asap::train {

WorkQueue::WorkQueue(size_t most_waiting) : most_waiting_(most_waiting), thread_([this] { work_on(); }) {}

WorkQueue::~WorkQueue() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const auto& job : waiting_) finish(*job, Turn::superseded);
    waiting_.clear();
  }
  work_came_.notify_one();
  thread_.join();
}

void WorkQueue::finish(Job& job, Turn turn) {
  job.turn = turn;
  job.over = true;
  job_over_.notify_all();
}

Turn WorkQueue::run(const std::string& client, std::function<void()> work) {
  const auto job = std::make_shared<Job>(Job{.client = client, .work = std::move(work)});
  std::unique_lock lock(mutex_);
  const auto older = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& other) { return !client.empty() && other->client == client; });
  if (older != waiting_.end()) {
    finish(**older, Turn::superseded);
    *older = job;
  } else if (waiting_.size() >= most_waiting_) {
    return Turn::full;
  } else {
    waiting_.push_back(job);
  }
  work_came_.notify_one();
  job_over_.wait(lock, [&] { return job->over; });
  if (job->error) std::rethrow_exception(job->error);
  return job->turn;
}

void WorkQueue::work_on() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_came_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const std::shared_ptr<Job> job = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    try {
      job->work();
    } catch (...) {
      job->error = std::current_exception();
    }
    lock.lock();
    finish(*job, Turn::done);
  }
}

}  // namespace asap::train
