// The stand-in device. Declared in fenced_device.h.
#include "tests/support/fenced_device.h"

#include <sys/mman.h>

#include <cstring>

#include "tensor/kernels.h"

namespace asap::tests {
namespace {

Traffic counted;

class FencedDevice final : public DeviceBackend {
 public:
  FencedDevice()
      : memory_(
            static_cast<char*>(mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    ASAP_CHECK(memory_ != MAP_FAILED, "fenced device: cannot map ", kBytes, " bytes");
  }

  void* allocate(size_t bytes) override {
    const auto found = free_.find(bytes);
    if (found != free_.end()) {
      void* memory = found->second;
      free_.erase(found);
      return memory;
    }
    if (bytes > kBytes - used_) {
      throw OutOfMemory(str("fenced device: ", bytes, " bytes do not fit"), bytes, kBytes - used_, kBytes);
    }
    void* memory = memory_ + used_;
    used_ += (bytes + 63) / 64 * 64;
    return memory;
  }
  void deallocate(void* memory, size_t bytes) noexcept override { free_.emplace(bytes, memory); }
  void copy_to_host(const void* device, void* host, size_t bytes) override {
    ++counted.to_host;
    counted.bytes_to_host += bytes;
    copy(device, host, bytes);
  }
  void copy_from_host(const void* host, void* device, size_t bytes) override {
    ++counted.from_host;
    copy(host, device, bytes);
  }
  void synchronize() override { ++counted.synchronized; }
  void beside(std::function<void()> work) override { work(); }
  void join() override {}

  // Kernels call kernels: the outermost opens and closes.
  void open() {
    if (depth_++ == 0) mprotect(memory_, kBytes, PROT_READ | PROT_WRITE);
  }
  void close() {
    if (--depth_ == 0) mprotect(memory_, kBytes, PROT_NONE);
  }

 private:
  void copy(const void* from, void* to, size_t bytes) {
    open();
    std::memcpy(to, from, bytes);
    close();
  }

  static constexpr size_t kBytes = size_t{2} << 30;  // of address space: only what is touched costs memory
  char* memory_;
  size_t used_ = 0;
  int depth_ = 0;
  std::multimap<size_t, void*> free_;
};

FencedDevice& fenced_device() {
  static auto* device = new FencedDevice;  // tensors in static objects may outlive the program's end
  return *device;
}

class Opened {
 public:
  Opened() { fenced_device().open(); }
  ~Opened() { fenced_device().close(); }
};

template <class... Args>
void lend(KernelSlot<void(Args...)>& slot) {
  slot.add(Device::cuda, "lent", [&slot](Args... args) {
    const Opened opened;
    ++counted.kernels[slot.name()];
    slot.run(Device::cpu, args...);
  }, {}, {.strided = true, .bf16 = true});
  slot.force("lent");  // also where a real device has kernels of its own
}

template <class... Slots>
void lend_all(Slots&... slots) {
  (lend(slots), ...);
}

}  // namespace

void use_fenced_device() {
  static bool done = false;
  if (done) return;
  done = true;
  ensure_kernels_registered();
  set_backend(Device::cuda, &fenced_device());
  using namespace kernels;
  lend_all(fill, copy, random_uniform, random_normal, unary, unary_backward, binary, reduce, gather_forward,
           gather_backward, matmul, conv2d_forward, conv2d_input_grad, conv2d_weight_grad, norm_forward, norm_backward,
           avg_pool2d_forward, avg_pool2d_backward, max_pool2d_forward, max_pool2d_backward,
           resize2d_forward, resize2d_backward, tile_mlp_forward, tile_mlp_backward, label_planes, conv2d_instance_norm,
           adam_begin, adam);
}

const Traffic& traffic() { return counted; }
void reset_traffic() { counted = {}; }

}  // namespace asap::tests
