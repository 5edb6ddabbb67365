// The emulated runtime: one card, one queue. While a graph is captured, kernels, copies and fills are kept as closures
// instead of being done, as on a card. Declared in cuda_runtime.h.
#include "cuda/emulate/cuda_runtime.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "cuda/emulate/memory.h"
#include "tensor/error.h"

struct CUstream_st {
  int unused;
};
struct CUevent_st {
  std::chrono::steady_clock::time_point time;
};
struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};

namespace {

struct PageRange {
  uintptr_t first, last;
  PageRange(const void* memory, size_t bytes)
      : first(reinterpret_cast<uintptr_t>(memory) / kPage),
        last((reinterpret_cast<uintptr_t>(memory) + bytes - 1) / kPage) {}
  static constexpr uintptr_t kPage = 4096;
};
std::map<void*, PageRange> registered;  // page-locked memory
std::mutex registered_mutex;

thread_local CUgraph_st* capturing = nullptr;
thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

void do_or_capture(std::function<void()> work) {
  if (capturing) {
    capturing->work.push_back(std::move(work));
  } else {
    work();
  }
}

// ASAP_EMULATE_CAPABILITY=75 emulates an older card.
int capability() {
  const char* wanted = std::getenv("ASAP_EMULATE_CAPABILITY");
  return wanted ? std::atoi(wanted) : 90;
}

bool fits(const void* p, size_t bytes) { return bytes == 0 || asap::emulate::is_device_memory(p, bytes); }

}  // namespace

namespace asap::emulate {

void submit(const LaunchShape& shape, std::function<void()> thread) {
  ASAP_CHECK(shape.cluster == 1 || capability() >= 90, "kernel ", shape.name, ": clusters need compute capability 9.0");
  do_or_capture([shape, thread = std::move(thread)] { run_grid(shape, thread); });
}

}  // namespace asap::emulate

unsigned __ballot_sync(unsigned mask, int predicate) {
  const int vote = predicate != 0;
  const auto* payloads = asap::emulate::exchange(mask, &vote, sizeof vote);
  const unsigned first = asap::emulate::this_thread().linear / 32 * 32;
  unsigned result = 0;
  for (unsigned lane = 0; lane < 32 && first + lane < blockDim.count(); ++lane) {
    if (asap::emulate::lane_value<int>(payloads, static_cast<int>(lane))) result |= 1u << lane;
  }
  return result;
}
int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
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
  properties->major = capability() / 10;
  properties->minor = capability() % 10;
  properties->multiProcessorCount = 4;  // few: grids that are cut to the card stay small
  properties->totalGlobalMem = asap::emulate::device_bytes_total();
  properties->sharedMemPerBlockOptin = 227 << 10;
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
  return report(!memory || asap::emulate::device_free(memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = asap::emulate::device_bytes_free();
  *total = asap::emulate::device_bytes_total();
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return report(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
// Whole pages are registered: memory beside another's on one page cannot be.
cudaError_t cudaHostRegister(void* memory, size_t bytes, unsigned) {
  const PageRange pages(memory, bytes);
  const std::lock_guard lock(registered_mutex);
  for (const auto& [start, other] : registered) {
    if (pages.first <= other.last && other.first <= pages.last) return report(cudaErrorHostMemoryAlreadyRegistered);
  }
  registered.emplace(memory, pages);
  return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* memory) {
  const std::lock_guard lock(registered_mutex);
  return report(registered.erase(memory) == 1 ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (kind != cudaMemcpyHostToDevice && !fits(from, bytes)) return report(cudaErrorInvalidValue);
  if (kind != cudaMemcpyDeviceToHost && !fits(to, bytes)) return report(cudaErrorInvalidValue);
  do_or_capture([=] {
    const asap::emulate::DeviceAccess access;
    if (bytes > 0) std::memcpy(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (!fits(to, bytes)) return report(cudaErrorInvalidValue);
  do_or_capture([=] {
    const asap::emulate::DeviceAccess access;
    if (bytes > 0) std::memset(to, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = new CUstream_st{}, cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return report(capturing ? cudaErrorInvalidValue : cudaSuccess); }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new CUevent_st{}, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return report(capturing ? cudaErrorInvalidValue : cudaSuccess); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
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
  for (const auto& work : executable->work) work();
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
