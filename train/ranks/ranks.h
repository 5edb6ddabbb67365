// Ranks: the processes of one run, and what they tell each other. A program that nothing launched is rank 0 of 1, and all of this
// then costs nothing. Sits on the collectives of tensor/ops.h; mpi.h is what carries them, launch.h what starts the processes.
// All ranks must call the same functions in the same order. Next: run/trainer.h, whose ranks share each batch.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tensor/ops.h"

namespace asap::train {

// An error that every rank has thrown by together(), so that none waits for another: rank 0 tells it, and all end.
class SharedError : public Error {
 public:
  using Error::Error;
};

// This machine's name.
std::string host_name();

class Ranks {
 public:
  Ranks() = default;  // one alone
  explicit Ranks(const World& world) : world_(world) {}

  const World& world() const { return world_; }
  int rank() const { return world_.rank; }
  int size() const { return world_.size; }
  bool is_first() const { return world_.rank == 0; }  // the one that writes and prints
  bool alone() const { return world_.size == 1; }

  // Runs work() on every rank and waits for all. Where it threw on some, every rank throws SharedError with the sentence of the
  // first of them, which names that rank unless it is 0 or all said the same. Alone: work(), whose own exception passes.
  void together(const std::function<void()>& work) const;

  // Whether it is true on one of them.
  bool any(bool mine) const;
  // All ranks' texts, in their order, on every rank.
  std::vector<std::string> gather(const std::string& mine) const;
  // Rank 0's text, on every rank.
  std::string broadcast(const std::string& mine) const;
  // All ranks' numbers one behind the other, in their order, on every rank; each may have as many as it likes.
  std::vector<double> gather(const std::vector<double>& mine) const;
  // SharedError unless `mine` is the same on all: "the ranks' WHAT differ: rank 2 (host b) has X, rank 0 (host a) Y; REMEDY".
  void check_alike(const std::string& what, const std::string& mine, const std::string& remedy) const;

  // Of `count` things in a row, this rank's: begin..end-1, the ranks' shares one behind the other, as even as can be.
  struct Share {
    size_t begin = 0, end = 0;
  };
  Share share_of(size_t count) const;

 private:
  World world_;
};

}  // namespace asap::train
