// The card as a device: finding it, its memory, copies, and graphs. Declared in context.h and tensor/storage.h; the kernels'
// common ground is common.cuh. Next: register.cu, then any kernel family.
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "cuda/hopper.cuh"
#include "tensor/caching_allocator.h"

namespace asap::cuda {
namespace {

constexpr int kOldestCapability = 80;  // the oldest that kernels are compiled for by default and that tests emulate

std::string error_text(cudaError_t error, const char* expression, const std::source_location& where) {
  return str("cuda: ", expression, " failed: ", cudaGetErrorString(error), " (", where.file_name(), ":", where.line(),
             ")");
}

double mib(size_t bytes) { return static_cast<double>(bytes >> 10) / 1024; }

// Page-locked host memory that copies go through, so that the caller's memory is free again at once and the copy itself
// needs no waiting for. A ring: a slot is written again when its last copy is done.
class StagingRing {
 public:
  void upload(const void* host, void* device, size_t bytes) {
    const auto* from = static_cast<const char*>(host);
    auto* to = static_cast<char*>(device);
    for (size_t done = 0; done < bytes;) {
      const size_t piece = std::min(kSlotBytes, bytes - done);
      Slot& slot = next_slot();
      std::memcpy(slot.memory, from + done, piece);
      ASAP_CUDA_CHECK(cudaMemcpyAsync(to + done, slot.memory, piece, cudaMemcpyHostToDevice, stream()));
      ASAP_CUDA_CHECK(cudaEventRecord(slot.copied, stream()));
      done += piece;
    }
  }

 private:
  static constexpr size_t kSlotBytes = size_t{4} << 20;
  struct Slot {
    void* memory = nullptr;
    cudaEvent_t copied = nullptr;
  };
  Slot& next_slot() {
    Slot& slot = slots_[next_++ % slots_.size()];
    if (slot.memory) {
      ASAP_CUDA_CHECK(cudaEventSynchronize(slot.copied));
    } else {
      ASAP_CUDA_CHECK(cudaHostAlloc(&slot.memory, kSlotBytes, cudaHostAllocDefault));
      ASAP_CUDA_CHECK(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming));
    }
    return slot;
  }
  std::array<Slot, 4> slots_;
  size_t next_ = 0;
};

class CapturedGraph final : public DeviceGraph {
 public:
  CapturedGraph(cudaGraph_t graph, std::shared_ptr<CachingAllocator> memory)
      : graph_(graph), memory_(std::move(memory)) {
    ASAP_CUDA_CHECK(cudaGraphInstantiate(&executable_, graph_, 0));
  }
  ~CapturedGraph() override {
    cudaStreamSynchronize(stream());
    cudaGraphExecDestroy(executable_);
    cudaGraphDestroy(graph_);
  }
  void replay() override { ASAP_CUDA_CHECK(cudaGraphLaunch(executable_, stream())); }
  size_t bytes() const override { return memory_->use().cached; }
  const std::shared_ptr<CachingAllocator>& memory() const { return memory_; }

 private:
  cudaGraph_t graph_;
  cudaGraphExec_t executable_ = nullptr;
  std::shared_ptr<CachingAllocator> memory_;  // what work() of this graph, or of several that share it, allocates
};

class CudaBackend final : public DeviceBackend {
 public:
  void* allocate(size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // not sticky: the program may go on with less
      size_t free = 0, total = 0;
      ASAP_CUDA_CHECK(cudaMemGetInfo(&free, &total));
      throw OutOfMemory(str("memory: could not get ", mib(bytes), " MiB on the cuda device: ", mib(free), " of ",
                            mib(total), " MiB are free"),
                        bytes, free, total);
    }
    ASAP_CUDA_CHECK(error);
    return memory;
  }
  // Work that still uses the memory is in the queue; cudaFree waits for it.
  void deallocate(void* memory, size_t) noexcept override { cudaFree(memory); }
  void copy_to_host(const void* device, void* host, size_t bytes) override {
    if (bytes > 0) ASAP_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()));
    synchronize();
  }
  void copy_from_host(const void* host, void* device, size_t bytes) override {
    const std::lock_guard lock(staging_mutex_);
    staging_.upload(host, device, bytes);
  }
  void synchronize() override { ASAP_CUDA_CHECK(cudaStreamSynchronize(stream())); }
  void beside(std::function<void()> work) override;
  void join() override;
  bool page_lock(void* host, size_t bytes) override {
    const cudaError_t error = cudaHostRegister(host, bytes, cudaHostRegisterDefault);
    if (error == cudaErrorHostMemoryAlreadyRegistered) return cudaGetLastError(), false;
    ASAP_CUDA_CHECK(error);
    return true;
  }
  void page_unlock(void* host) noexcept override { cudaHostUnregister(host); }

  // Once for real: so the allocator holds every block that the capture will ask for, since cudaMalloc cannot be captured.
  std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work, const DeviceGraph* beside) override {
    auto memory = std::make_shared<CachingAllocator>(Device::cuda, caching_allocator(Device::cuda).get());
    if (beside) memory = static_cast<const CapturedGraph*>(beside)->memory();
    const size_t in_use = memory->use().current;
    cudaGraph_t graph = nullptr;
    bool capturing = false;
    std::exception_ptr error;  // what went wrong first
    try {
      const ScopedAllocator scope(Device::cuda, memory);
      work();
      ASAP_CUDA_CHECK(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeRelaxed));
      capturing = true;
      work();
      capturing = false;
      ASAP_CUDA_CHECK(cudaStreamEndCapture(stream(), &graph));
    } catch (...) {
      error = std::current_exception();
      if (capturing) cudaStreamEndCapture(stream(), &graph);
      cudaGetLastError();
    }
    if (!error && memory->use().current > in_use) {
      error = std::make_exception_ptr(Error("memory: a tensor made while a graph was captured outlives the capture"));
    }
    if (error) {
      if (graph) cudaGraphDestroy(graph);
      std::rethrow_exception(error);
    }
    return std::make_unique<CapturedGraph>(graph, memory);
  }

 private:
  StagingRing staging_;
  std::mutex staging_mutex_;
  cudaStream_t side_ = nullptr;  // a second queue; none until it is needed
  cudaEvent_t turn_ = nullptr;   // marks what one queue waits for in the other
};

Card& card_slot() {
  static Card card;
  return card;
}
cudaStream_t& stream_slot() {
  static cudaStream_t stream = nullptr;
  return stream;
}

#if defined(ASAP_CUDA_EMULATE)
void CudaBackend::beside(std::function<void()> work) { work(); }  // the emulator does everything at once
void CudaBackend::join() {}
#else
// `later` goes on when what `first` has been given so far is done.
void let_wait(cudaStream_t later, cudaStream_t first, cudaEvent_t turn) {
  ASAP_CUDA_CHECK(cudaEventRecord(turn, first));
  ASAP_CUDA_CHECK(cudaStreamWaitEvent(later, turn, 0));
}

void CudaBackend::beside(std::function<void()> work) {
  if (!side_) {
    ASAP_CUDA_CHECK(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking));
    ASAP_CUDA_CHECK(cudaEventCreateWithFlags(&turn_, cudaEventDisableTiming));
  }
  let_wait(side_, stream(), turn_);
  const Scoped<cudaStream_t> on_side(stream_slot(), side_);
  work();
}

void CudaBackend::join() {
  if (side_) let_wait(stream(), side_, turn_);
}
#endif

// Whether this program holds kernels for the card: it is built for some compute capabilities. And whether they are those of
// 90a, which alone have wgmma.
#if defined(ASAP_CUDA_EMULATE)
bool has_kernels() { return true; }
bool has_wgmma_kernels() { return true; }
#else
__global__ void probe_kernel() {}
__global__ void probe_wgmma_kernel() {  // never run: its shared memory tells which code would
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  __shared__ volatile int used;
  used = 0;
#endif
}

bool has_kernels() {
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, probe_kernel);
  cudaGetLastError();
  return error == cudaSuccess;
}
bool has_wgmma_kernels() {
  cudaFuncAttributes attributes;
  ASAP_CUDA_CHECK(cudaFuncGetAttributes(&attributes, probe_wgmma_kernel));
  return attributes.sharedSizeBytes > 0;
}
#endif

// Why there is no card to use; empty if there is one.
std::string find_card() {
  int driver = 0, runtime = 0, count = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (driver == 0) return "there is no NVIDIA driver on this machine; install one, or use the cpu";
  const auto version = [](int v) { return str(v / 1000, ".", v % 1000 / 10); };
  if (driver / 1000 < runtime / 1000) {
    return str("the NVIDIA driver supports CUDA ", version(driver), ", but this program was built with CUDA ",
               version(runtime), "; install a newer driver, or use the cpu");
  }
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (error != cudaSuccess || count == 0) {
    return str("the NVIDIA driver finds no card (",
               cudaGetErrorString(error == cudaSuccess ? cudaErrorNoDevice : error),
               "); check nvidia-smi and CUDA_VISIBLE_DEVICES, or use the cpu");
  }
  cudaDeviceProp properties;
  ASAP_CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  Card& card = card_slot();
  card = {.name = properties.name,
          .capability = 10 * properties.major + properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .shared_bytes = properties.sharedMemPerBlockOptin,
          .memory_bytes = properties.totalGlobalMem,
          .l2_bytes = static_cast<size_t>(properties.l2CacheSize)};
  if (card.capability < kOldestCapability) {
    return str("the card ", card.name, " has compute capability ", properties.major, ".", properties.minor,
               ", and 8.0 is the oldest that these kernels run on; use the cpu");
  }
  if (!has_kernels()) {
    return str("this program was built without kernels for compute capability ", properties.major, ".",
               properties.minor, " (", card.name, "); build with -DCMAKE_CUDA_ARCHITECTURES=", card.capability,
               ", or use the cpu");
  }
  return "";
}

}  // namespace

void check(cudaError_t error, const char* expression, std::source_location where) {
  if (error != cudaSuccess) fail(error_text(error, expression, where));
}

void check_launch(const Launch& launch) {
  static const bool wait = [] {
    const char* text = std::getenv("ASAP_CUDA_SYNC");
    return text && std::string(text) == "1";
  }();
  const auto text = [&] {
    return str("launch of a kernel in ", launch.where.function_name(), " with ", launch.blocks.x, "x", launch.blocks.y,
               "x", launch.blocks.z, " blocks of ", launch.threads.x, "x", launch.threads.y, "x", launch.threads.z,
               " threads, ", launch.shared_bytes, " bytes of shared memory",
               launch.cluster > 1 ? str(", in clusters of ", launch.cluster) : "",
               launch.at_once ? ", all at once" : "");
  };
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) check(error, text().c_str(), launch.where);
  if (!wait) return;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;  // what is being recorded cannot be waited for
  ASAP_CUDA_CHECK(cudaStreamIsCapturing(stream(), &capture));
  if (capture != cudaStreamCaptureStatusNone) return;
  if (const cudaError_t error = cudaStreamSynchronize(stream()); error != cudaSuccess)
    check(error, text().c_str(), launch.where);
}

#if !defined(ASAP_CUDA_EMULATE)
namespace {

void check_all_fit(const void* kernel, const Launch& launch) {
  int each = 0;
  const dim3 &blocks = launch.blocks, &threads = launch.threads;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, static_cast<int>(threads.x * threads.y * threads.z),
                                                      launch.shared_bytes),
        "cudaOccupancyMaxActiveBlocksPerMultiprocessor", launch.where);
  if (int64_t{blocks.x} * blocks.y * blocks.z <= int64_t{each} * card().multiprocessors) return;
  check(cudaErrorCooperativeLaunchTooLarge, str(blocks.x, "x", blocks.y, "x", blocks.z, " blocks together").c_str(),
        launch.where);
}

}  // namespace

void allow_launch(const void* kernel, const Launch& launch) {
  constexpr size_t kAlwaysShared = 48 << 10;
  constexpr unsigned kAlwaysCluster = 8;
  if (launch.shared_bytes <= kAlwaysShared && launch.cluster <= kAlwaysCluster && !launch.at_once) return;
  struct Allowed {
    size_t shared_bytes = kAlwaysShared;
    unsigned cluster = kAlwaysCluster;
  };
  static std::mutex mutex;
  static std::map<const void*, Allowed> kernels;
  const std::lock_guard lock(mutex);
  Allowed& allowed = kernels[kernel];
  if (launch.shared_bytes > allowed.shared_bytes) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(launch.shared_bytes)),
          "cudaFuncSetAttribute(MaxDynamicSharedMemorySize)", launch.where);
    allowed.shared_bytes = launch.shared_bytes;
  }
  if (launch.cluster > allowed.cluster) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
          "cudaFuncSetAttribute(NonPortableClusterSizeAllowed)", launch.where);
    allowed.cluster = launch.cluster;
  }
  if (!launch.at_once) return;
  // A multiprocessor divides its memory between cache and shared memory anew only when it is idle: as much as there is, so that
  // a block of the next kernel may start beside one of this.
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared),
        "cudaFuncSetAttribute(PreferredSharedMemoryCarveout)", launch.where);
  check_all_fit(kernel, launch);
}

LaunchAttributes::LaunchAttributes(const Launch& launch) {
  config = {.gridDim = launch.blocks,
            .blockDim = launch.threads,
            .dynamicSmemBytes = launch.shared_bytes,
            .stream = stream(),
            .attrs = values,
            .numAttrs = 0};
  if (launch.cluster > 1) {
    auto& value = values[config.numAttrs++];
    value.id = cudaLaunchAttributeClusterDimension;
    value.val.clusterDim.x = launch.cluster;
    value.val.clusterDim.y = value.val.clusterDim.z = 1;
  }
  if (launch.overlaps && card().capability >= 90) {
    auto& value = values[config.numAttrs++];
    value.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    value.val.programmaticStreamSerializationAllowed = 1;
  }
}
#endif

cudaStream_t stream() { return stream_slot(); }

const Card& card() {
  ASAP_CHECK(is_available(Device::cuda), "device: cuda is not available: ", unavailable_reason(Device::cuda));
  return card_slot();
}

bool is_emulated() {
#if defined(ASAP_CUDA_EMULATE)
  return true;
#else
  return false;
#endif
}

std::vector<std::string> launched_kernels() {
#if defined(ASAP_CUDA_EMULATE)
  return emulate::launched_kernels();
#else
  return {};
#endif
}

bool card_has_wgmma() {
  if (card().capability != 90) return false;
  static const bool has = has_wgmma_kernels();
  return has;
}

#if defined(ASAP_CUDA_EMULATE)
TileMap tile_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t row_bytes, int tile_rows) {
  return {reinterpret_cast<const char*>(matrix), rows, columns, row_bytes, tile_rows};
}
#else
TileMap tile_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t row_bytes, int tile_rows) {
  static const auto encode = [] {  // a function of the driver, which is not linked
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    constexpr int kSinceVersion = 12000;
    ASAP_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSinceVersion,
                                                     cudaEnableDefault, &found));
    ASAP_CHECK(function, "cuda: this driver has no cuTensorMapEncodeTiled; install one of CUDA 12 or newer");
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  const auto size = [](int64_t n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t sizes[] = {size(columns), size(rows)}, strides[] = {size(row_bytes)};
  const cuuint32_t tile[] = {kTileColumns, static_cast<cuuint32_t>(tile_rows)}, steps[] = {1, 1};
  TileMap map;
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<bf16*>(matrix), sizes, strides,
                                 tile, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  ASAP_CHECK(result == CUDA_SUCCESS, "cuda: cuTensorMapEncodeTiled of ", rows, " rows of ", row_bytes, " bytes, ", columns,
             " columns, in tiles of ", tile_rows, " rows failed: error ", static_cast<int>(result));
  return map;
}
#endif

unsigned blocks_for(int64_t count, int64_t per_thread, int threads) {
  constexpr int64_t kBlocksEach = 16;  // for each multiprocessor: enough to hide each other's waiting
  const int64_t needed = ceil_div(count, per_thread * threads), most = kBlocksEach * card().multiprocessors;
  return static_cast<unsigned>(std::max<int64_t>(1, std::min(needed, most)));
}

Timer::Timer() {
  cudaEvent_t begin, end;
  ASAP_CUDA_CHECK(cudaEventCreateWithFlags(&begin, 0));
  ASAP_CUDA_CHECK(cudaEventCreateWithFlags(&end, 0));
  begin_ = begin;
  end_ = end;
}
Timer::~Timer() {
  cudaEventDestroy(static_cast<cudaEvent_t>(begin_));
  cudaEventDestroy(static_cast<cudaEvent_t>(end_));
}
void Timer::start() { ASAP_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(begin_), stream())); }
double Timer::stop() {
  float milliseconds = 0;
  ASAP_CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(end_), stream()));
  ASAP_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(end_)));
  ASAP_CUDA_CHECK(
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin_), static_cast<cudaEvent_t>(end_)));
  return static_cast<double>(milliseconds) / 1000;
}

void register_kernels();

}  // namespace asap::cuda

namespace asap {

size_t cuda_memory() { return cuda::card().memory_bytes; }

void register_cuda_backend() {
  if (const std::string reason = cuda::find_card(); !reason.empty()) {
    set_unavailable(Device::cuda, reason);
    return;
  }
  ASAP_CUDA_CHECK(cudaSetDevice(0));
  ASAP_CUDA_CHECK(cudaStreamCreateWithFlags(&cuda::stream_slot(), cudaStreamNonBlocking));
  static cuda::CudaBackend* cuda_backend =
      new cuda::CudaBackend;  // never destroyed: tensors in static objects may outlive it
  set_backend(Device::cuda, cuda_backend);
  cuda::register_kernels();
}

}  // namespace asap
