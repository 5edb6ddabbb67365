// Slot bookkeeping, forcing by name, and the one place where the built-in kernels are registered.
// Declared in kernel_slot.h; the CPU's list is in cpu/register.cpp.
#include "tensor/kernel_slot.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <mutex>

#include "tensor/backend.h"
#include "tensor/kernels.h"

namespace asap {
namespace {

std::vector<KernelSlotBase*>& slot_list() {
  static std::vector<KernelSlotBase*> slots;
  return slots;
}

// What register_also() was given before the built-in variants were there.
std::vector<void (*)()>& registrations() {
  static std::vector<void (*)()> waiting;
  return waiting;
}
bool registered = false;

uint64_t forcings = 0;

std::atomic<int64_t> repacked = 0, converted = 0;

void count_adaptation(const Tensor& x) {
  if (x.dtype() == DType::bf16) ++converted;
  if (!x.is_contiguous()) ++repacked;
}

// Reads "slot=variant,slot=variant" from ASAP_KERNEL.
void force_from_environment() {
  const char* text = std::getenv("ASAP_KERNEL");
  if (!text) return;
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    const size_t equals = item.find('=');
    ASAP_CHECK(equals != std::string::npos, "ASAP_KERNEL: expected slot=variant[,slot=variant...], got '", text, "'");
    find_kernel_slot(item.substr(0, equals)).force(item.substr(equals + 1), true);
  }
}

}  // namespace

void ensure_kernels_registered() {
  // Registration itself may call slots; the flag lets those calls through instead of waiting for themselves.
  static thread_local bool registering = false;
  static std::once_flag once;
  static std::exception_ptr error;  // of ASAP_KERNEL: every use of a slot ends with it
  if (registering) return;
  std::call_once(once, [] {
    registering = true;
    cpu::register_kernels();
    register_cuda_backend();
    for (const auto registration : registrations()) registration();
    registered = true;
    try {
      force_from_environment();
    } catch (const Error&) {
      error = std::current_exception();
    }
    registering = false;
  });
  if (error) std::rethrow_exception(error);
}

void register_also(void (*registration)()) {
  if (registered) return registration();
  registrations().push_back(registration);
}

KernelSlotBase::KernelSlotBase(const char* name, Outputs outputs) : name_(name), outputs_(outputs) {
  slot_list().push_back(this);
}

const std::vector<KernelSlotBase*>& all_kernel_slots() {
  ensure_kernels_registered();
  return slot_list();
}

KernelSlotBase& find_kernel_slot(const std::string& name) {
  std::string known;
  for (KernelSlotBase* slot : slot_list()) {
    if (slot->name() == name) return *slot;
    known += (known.empty() ? "" : ", ") + slot->name();
  }
  fail("kernel: there is no slot '", name, "'; the slots are ", known);
}

Adaptations adaptations() { return {.repacked = repacked, .converted = converted}; }

Tensor KernelSlotBase::adapted(const Tensor& x) { return x.defined() ? x.contiguous().to(sum_dtype(x.dtype())) : x; }
Tensor KernelSlotBase::adapted(Tensor& y) {
  return Takes{}.tensor(y) ? y : Tensor::empty(y.shape(), sum_dtype(y.dtype()), y.device());
}

void KernelSlotBase::finish(const Tensor& x, const Tensor&) {
  if (x.defined()) count_adaptation(x);
}
void KernelSlotBase::finish(Tensor& y, const Tensor& result) {
  if (Takes{}.tensor(y)) return;
  count_adaptation(y);
  kernels::copy.run(y.device(), result, y);
}

uint64_t forcing_count() { return forcings; }

void KernelSlotBase::force(const std::string& variant, bool may_come) {
  ensure_kernels_registered();
  if (may_come) may_come_ = variant;
  if (!variant.empty() && variant != may_come_) check_known(variant);
  forced_ = variant;
  ++forcings;
  warned_ = false;
}

std::vector<std::string> KernelSlotBase::variants(Device device) const {
  std::vector<std::string> names;
  for (const VariantInfo& variant : describe(device)) names.push_back(variant.name);
  return names;
}

void KernelSlotBase::check_new(Device device, const std::string& variant) const {
  const auto names = variants(device);
  ASAP_CHECK(std::find(names.begin(), names.end(), variant) == names.end(), "kernel: ", name_,
             " already has a variant '", variant, "' on ", device);
}

void KernelSlotBase::check_known(const std::string& variant) const {
  std::string known;
  for (const Device device : {Device::cpu, Device::cuda}) {
    const auto names = variants(device);
    if (std::find(names.begin(), names.end(), variant) != names.end()) return;
    for (const auto& name : names) known += " " + name;
  }
  fail("kernel: ", name_, " has no variant '", variant, "'; it has", known);
}

void KernelSlotBase::fail_no_variant(Device device) const {
  std::string known;
  for (const auto& name : variants(device)) known += " " + name;
  fail(name_, ": no variant on ", device, " takes these arguments; registered there:", known.empty() ? " none" : known);
}

void KernelSlotBase::warn_forced_unsupported() const {
  if (warned_.exchange(true)) return;
  std::cerr << "kernel: the forced variant '" << forced_ << "' of " << name_
            << " does not take some arguments; the usual order applies to those\n";
}

ForcedVariant::ForcedVariant(KernelSlotBase& slot, const std::string& variant) : slot_(slot), before_(slot.forced()) {
  slot_.force(variant);
}
ForcedVariant::~ForcedVariant() { slot_.force(before_); }

}  // namespace asap
