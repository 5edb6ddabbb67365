// The emulated runtime: one card, one queue. Kernels, copies and fills are closures: done at once, or kept until the host waits
// (ASAP_EMULATE_QUEUE=1, as on a card), or kept in the graph that is being captured. Declared in cuda_runtime.h.
#include "cuda/emulate/cuda_runtime.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/emulate/memory.h"
#include "cuda/emulate/options.h"
#include "tensor/error.h"

using asap::emulate::options;
using Work = std::function<void()>;

struct CUstream_st {
  int unused;
};
struct CUevent_st {
  std::shared_ptr<std::chrono::steady_clock::time_point> time;  // which queued work may outlive the event to set
  uint64_t number = 0;                                          // in the queue; 0: done
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace {

struct PageRange {
  uintptr_t first, last;
  PageRange(const void* memory, size_t bytes)
      : first(reinterpret_cast<uintptr_t>(memory) / kPage),
        last((reinterpret_cast<uintptr_t>(memory) + bytes - 1) / kPage) {}
  static constexpr uintptr_t kPage = 4096;
};
std::map<const void*, size_t> page_locked;  // bytes, by first byte
std::mutex page_locked_mutex;

bool is_page_locked(const void* memory, size_t bytes) {
  const std::lock_guard lock(page_locked_mutex);
  auto found = page_locked.upper_bound(memory);
  if (found == page_locked.begin()) return false;
  --found;
  return static_cast<const char*>(memory) + bytes <= static_cast<const char*>(found->first) + found->second;
}

thread_local CUgraph_st* capturing = nullptr;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// Work that the host has not waited for. A kernel's error is kept, and what follows it dropped, until a wait returns it.
class Queue {
 public:
  uint64_t add(Work work) {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
    return done_ + work_.size();
  }
  bool is_done(uint64_t number) {
    const std::lock_guard lock(mutex_);
    return number <= done_;
  }
  // Does the work up to this number.
  void finish(uint64_t number = ~uint64_t{0}) {
    const std::lock_guard lock(mutex_);
    while (!work_.empty() && done_ < number) {
      const Work work = std::move(work_.front());
      work_.pop_front();
      ++done_;
      if (!failure_.empty()) continue;
      try {
        work();
      } catch (const asap::Error& error) {
        failure_ = error.what();
      }
    }
  }
  cudaError_t wait(uint64_t number = ~uint64_t{0}) {
    finish(number);
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) return cudaSuccess;
    told_ = std::exchange(failure_, "");
    return cudaErrorLaunchFailure;
  }
  // The error that was returned last.
  const char* told() const { return told_.c_str(); }

 private:
  std::mutex mutex_;
  std::deque<Work> work_;
  uint64_t done_ = 0;
  std::string failure_, told_;
};

Queue& queue() {
  static Queue* one = new Queue;  // never destroyed: static objects may free memory later
  return *one;
}

void submit_work(Work work) {
  if (capturing) {
    capturing->work.push_back(std::move(work));
  } else if (options().queued) {
    queue().add(std::move(work));
  } else {
    work();
  }
}

bool fits(const void* p, size_t bytes) { return bytes == 0 || asap::emulate::is_device_memory(p, bytes); }

// How many blocks fit on the card, whatever registers they use. A multiprocessor has 1 KiB more shared memory than a block may
// have, and keeps 1 KiB for each.
unsigned all_at_once(const asap::emulate::LaunchShape& shape) {
  constexpr size_t kKept = 1 << 10, kThreads = 2048;
  const size_t each =
      std::min((options().shared_bytes() + kKept) / (shape.shared_bytes + kKept), kThreads / shape.block.count());
  return static_cast<unsigned>(each) * static_cast<unsigned>(options().multiprocessors);
}

// What CUDA says to a launch of this shape.
cudaError_t launch_error(const asap::emulate::LaunchShape& shape) {
  const auto fits = [](const dim3& d, unsigned x, unsigned y, unsigned z) {
    return d.x >= 1 && d.y >= 1 && d.z >= 1 && d.x <= x && d.y <= y && d.z <= z;
  };
  if (!fits(shape.grid, 0x7FFFFFFFu, 65535, 65535) || !fits(shape.block, 1024, 1024, 64) || shape.block.count() > 1024)
    return cudaErrorInvalidConfiguration;
  if (shape.shared_bytes > options().shared_bytes()) return cudaErrorInvalidValue;
  if (shape.together) {
    if (shape.cluster > 1) return cudaErrorNotSupported;  // here
    if (shape.grid.count() > all_at_once(shape)) return cudaErrorCooperativeLaunchTooLarge;
  }
  if (shape.cluster == 1) return cudaSuccess;
  if (options().capability < 90) return cudaErrorNotSupported;
  const bool legal =
      shape.cluster >= 1 && shape.cluster <= asap::emulate::kMaxCluster && shape.grid.x % shape.cluster == 0;
  return legal ? cudaSuccess : cudaErrorInvalidClusterSize;
}

}  // namespace

namespace asap::emulate {

void submit(const LaunchShape& shape, std::function<void()> thread) {
  if (report(launch_error(shape)) != cudaSuccess || options().kernels_skipped) return;
  submit_work([shape, thread = std::move(thread)] { run_grid(shape, thread); });
}

}  // namespace asap::emulate

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchFailure: return queue().told();
    case cudaErrorCooperativeLaunchTooLarge: return "too many blocks in cooperative launch";
    case cudaErrorNotSupported: return "operation not supported";
    case cudaErrorInvalidClusterSize: return "invalid cluster size";
    case cudaErrorHostMemoryAlreadyRegistered: return "part or all of the memory is page-locked already";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
  }
  return "unknown error";
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

// ASAP_EMULATE_DEVICES=0 emulates a machine without a card.
cudaError_t cudaGetDeviceCount(int* count) {
  const char* wanted = std::getenv("ASAP_EMULATE_DEVICES");
  *count = wanted ? std::atoi(wanted) : 1;
  return *count > 0 ? cudaSuccess : report(cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated card");
  properties->major = options().capability / 10;
  properties->minor = options().capability % 10;
  properties->multiProcessorCount = options().multiprocessors;
  properties->totalGlobalMem = asap::emulate::device_bytes_total();
  properties->sharedMemPerBlockOptin = options().shared_bytes();
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  *memory = asap::emulate::device_allocate(bytes);
  return report(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* memory) {
  queue().finish();
  return report(!memory || asap::emulate::device_free(memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = asap::emulate::device_bytes_free();
  *total = asap::emulate::device_bytes_total();
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(PageRange::kPage, (bytes + PageRange::kPage - 1) / PageRange::kPage * PageRange::kPage);
  if (!*memory) return report(cudaErrorMemoryAllocation);
  const std::lock_guard lock(page_locked_mutex);
  page_locked[*memory] = bytes;
  return cudaSuccess;
}
// Whole pages are registered: memory beside another's on one page cannot be.
cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned) {
  const PageRange pages(memory, bytes);
  const std::lock_guard lock(page_locked_mutex);
  for (const auto& [start, size] : page_locked) {
    const PageRange other(start, size);
    if (pages.first <= other.last && other.first <= pages.last) return report(cudaErrorHostMemoryAlreadyRegistered);
  }
  page_locked[memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* memory) {
  queue().finish();
  const std::lock_guard lock(page_locked_mutex);
  return report(page_locked.erase(memory) == 1 ? cudaSuccess : cudaErrorInvalidValue);
}

// From and to page-locked memory the queue copies. Other memory is read at once, and written before the call returns.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (kind != cudaMemcpyHostToDevice && !fits(from, bytes)) return report(cudaErrorInvalidValue);
  if (kind != cudaMemcpyDeviceToHost && !fits(to, bytes)) return report(cudaErrorInvalidValue);
  if (bytes == 0 || (options().kernels_skipped && kind != cudaMemcpyDeviceToHost)) return cudaSuccess;
  const bool wholly_queued = capturing || kind == cudaMemcpyDeviceToDevice ||
                             is_page_locked(kind == cudaMemcpyHostToDevice ? from : to, bytes);
  std::shared_ptr<std::vector<char>> staged;
  if (options().queued && !wholly_queued && kind == cudaMemcpyHostToDevice) {
    staged =
        std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  }
  submit_work([=] { std::memcpy(to, staged ? staged->data() : from, bytes); });
  return wholly_queued || staged ? cudaSuccess : queue().wait();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = new CUstream_st{}, cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return capturing ? report(cudaErrorInvalidValue) : queue().wait(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{.time = std::make_shared<std::chrono::steady_clock::time_point>()};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const auto note = [time = event->time] { *time = std::chrono::steady_clock::now(); };
  if (options().queued && !capturing) {
    event->number = queue().add(note);
  } else {
    note();
  }
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return capturing ? report(cudaErrorInvalidValue) : queue().wait(event->number);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!queue().is_done(std::max(begin->number, end->number))) return report(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(*end->time - *begin->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (capturing) return report(cudaErrorInvalidValue);
  capturing = new CUgraph_st{};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = std::exchange(capturing, nullptr);
  return report(*graph ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const Work& work : executable->work) submit_work(work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
