// The card this process computes on, what it can do, and scratch memory for kernels. Plain C++: tests and benchmarks
// include it too. Next: common.cuh; backend.cu, which sets the card up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace asap::cuda {

struct Card {
  std::string name;
  int capability = 0;  // 90 for compute capability 9.0
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // of one block, at most
  size_t memory_bytes = 0, l2_bytes = 0;
};
// The card in use; asap::Error if there is none.
const Card& card();
// Whether the kernels are executed by the emulator on the CPU; and which were so far, each as "file kernel".
bool is_emulated();
std::vector<std::string> launched_kernels();

// Whether the products of hopper.cuh run: a card of compute capability 9.0, and kernels built for 90a rather than 90.
bool card_has_wgmma();

// Uninitialised scratch memory for the kernels of one call: a tensor, so that the caching allocator keeps it.
inline Tensor scratch(int64_t elements, DType dtype = DType::f32) {
  return Tensor::empty({elements}, dtype, Device::cuda);
}

// Seconds of device work between two points of the queue, for benchmarks.
class Timer {
 public:
  Timer();
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start();
  double stop();  // waits

 private:
  [[maybe_unused]] void* begin_ = nullptr;  // the stub's has neither
  [[maybe_unused]] void* end_ = nullptr;
};

}  // namespace asap::cuda
