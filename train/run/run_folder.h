// Who may write into a run's folder: one process at a time, and a new run only where it replaces nothing.
// Used by the trainer before it writes anything. Next: checkpoint.h, trainer.h.
#pragma once

#include <filesystem>
#include <string>

namespace asap::train {

// The right to write into RUN, for the life of the object: a lock (flock) on RUN/train.lock, which names the process and
// is removed at the end. A dead process holds no lock, so what it left is taken over. On a file system without locks the
// constructor says so on standard error, and nothing is held.
class RunLock {
 public:
  // asap::Error "RUN is being trained by process N", or the system's reason.
  explicit RunLock(const std::filesystem::path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Before writing: takes the lock again if somebody removed its file. asap::Error if another process was faster, or if
  // the folder is gone.
  void keep();

 private:
  void take();

  std::filesystem::path run_, path_;
  int file_ = -1;
  bool works_ = true;  // the file system has locks
};

// asap::Error as of RunLock if another process trains in RUN, which need not exist. Leaves nothing there.
void check_not_in_use(const std::filesystem::path& run);

// asap::Error if a new run in RUN would go over checkpoints, or replace a file that no run wrote or that belongs to one.
// Settings and log of a run that ended before its first save may be replaced.
void check_free_for_new_run(const std::filesystem::path& run);

// Removes files that killed processes were writing in RUN and its folders. Only for whoever has the lock.
void remove_unfinished_files(const std::filesystem::path& run);

}  // namespace asap::train
