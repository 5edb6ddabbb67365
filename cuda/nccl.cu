// The collectives between cards: NVIDIA's NCCL (docs.nvidia.com/deeplearning/nccl), where this build found its header; queued like kernels, so
// that DeviceBackend::beside() overlaps them with others. Without it there are no such variants (train/ranks/mpi.cpp has some that go
// through host memory).
#include <cstring>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "tensor/ops.h"

#if ASAP_NCCL
#include <dlfcn.h>
#include <nccl.h>
#endif

namespace asap::cuda {
namespace {

#if ASAP_NCCL
// Functions of the library by name: it is loaded when ranks first meet, so that a program of one rank starts without it.
template <class Function>
Function* loaded(const char* name) {
  static void* const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_GLOBAL);
  ASAP_CHECK(library, "nccl: libnccl.so.2 cannot be loaded (", dlerror(), "); install NCCL, or put its folder into LD_LIBRARY_PATH");
  void* const function = dlsym(library, name);
  ASAP_CHECK(function, "nccl: libnccl.so.2 has no ", name, "; install a newer NCCL");
  return reinterpret_cast<Function*>(function);
}

void check_nccl(ncclResult_t result, const char* call) {
  ASAP_CHECK(result == ncclSuccess, "nccl: ", call, ": ", loaded<decltype(ncclGetErrorString)>("ncclGetErrorString")(result),
             "; each rank needs a card of its own");
}
#define ASAP_NCCL_CALL(function, ...) check_nccl(loaded<decltype(function)>(#function)(__VA_ARGS__), #function)

// Of this process with all ranks, made by its first collective. Rank 0's id reaches the others through host memory.
ncclComm_t communicator(const World& world) {
  static const ncclComm_t made = [&] {
    ncclUniqueId id{};
    if (world.rank == 0) ASAP_NCCL_CALL(ncclGetUniqueId, &id);
    Tensor bytes = Tensor::empty({sizeof id}, DType::u8);
    std::memcpy(bytes.raw(), &id, sizeof id);
    asap::broadcast(world, bytes);
    std::memcpy(&id, bytes.raw(), sizeof id);
    ncclComm_t all = nullptr;
    ASAP_NCCL_CALL(ncclCommInitRank, &all, world.size, id, world.rank);
    return all;
  }();
  return made;
}

ncclDataType_t type_of(DType dtype) {
  return dtype == DType::f64 ? ncclFloat64 : dtype == DType::bf16 ? ncclBfloat16 : ncclFloat32;
}

void sum(const World& world, Tensor& x) {
  const auto count = static_cast<size_t>(x.numel());
  ASAP_NCCL_CALL(ncclAllReduce, x.raw(), x.raw(), count, type_of(x.dtype()), ncclSum, communicator(world), stream());
}

// What travels in bf16 lies in memory of its own, which stays: the queue may use it after this call.
void all_reduce(const World& world, DType wire, Tensor& x) {
  if (wire == x.dtype()) return sum(world, x);
  static Tensor kept;
  if (!kept.defined() || kept.numel() < x.numel()) kept = Tensor::empty({x.numel()}, wire, Device::cuda);
  Tensor narrow = kept.slice(0, 0, x.numel());
  narrow.copy_from(x.reshape({-1}));
  sum(world, narrow);
  x.copy_from(narrow.reshape(x.shape()));
}

void broadcast(const World& world, Tensor& x) {
  ASAP_NCCL_CALL(ncclBroadcast, x.raw(), x.raw(), x.bytes(), ncclUint8, 0, communicator(world), stream());
}

void all_gather(const World& world, const Tensor& x, Tensor& y) {
  ASAP_NCCL_CALL(ncclAllGather, x.raw(), y.raw(), x.bytes(), ncclUint8, communicator(world), stream());
}
#endif

}  // namespace

void register_collectives() {
#if ASAP_NCCL
  const auto takes = [](const World& world, const auto&...) { return world.size > 1; };
  kernels::all_reduce.add(Device::cuda, "nccl", all_reduce, takes);
  kernels::broadcast.add(Device::cuda, "nccl", broadcast, takes, {.bf16 = true});
  kernels::all_gather.add(Device::cuda, "nccl", all_gather, takes, {.bf16 = true});
#endif
}

}  // namespace asap::cuda
