// KernelSlot: one kernel of the contract (kernels.h) with, for each device, an ordered list of named variants.
// The first variant that supports the arguments runs, unless one was forced by name:
//   ASAP_KERNEL=conv2d_forward=naive,gemm=eigen   (environment)
//   ForcedVariant guard(kernels::conv2d_forward, "naive");
// A forced variant runs wherever it supports the arguments; elsewhere the usual order applies and stderr says so once.
// ASAP_KERNEL may name a variant that the program adds later: that there is none is an error of the slot's first run.
// Several threads may run() kernels at once, but none while a variant is being added or forced.
// Next: kernels.h.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace asap {

// What all slots share: name, variant names, forcing. Slots live for the whole program and list themselves.
class KernelSlotBase {
 public:
  explicit KernelSlotBase(const char* name);
  KernelSlotBase(const KernelSlotBase&) = delete;
  KernelSlotBase& operator=(const KernelSlotBase&) = delete;

  const std::string& name() const { return name_; }
  // Variant names on `device`, in the order they are tried.
  std::vector<std::string> variants(Device device) const;
  // Forces the variant of that name; an empty name lifts it. Throws if no device has it, unless ASAP_KERNEL names it.
  void force(const std::string& variant);
  const std::string& forced() const { return forced_; }
  // Name of the variant that ran last in this slot ("" before the first run): lets tests see what was tested.
  std::string last_variant() const {
    const std::string* last = last_variant_.load(std::memory_order_relaxed);
    return last ? *last : "";
  }
  void forget_last_variant() { last_variant_ = nullptr; }

 protected:
  void add_name(Device device, std::string name);
  // Index of the forced variant on `device`, or -1. Throws if no device has it.
  int forced_index(Device device) const;
  [[noreturn]] void fail_no_variant(Device device) const;
  void warn_forced_unsupported() const;
  // Throws, naming those there are, if no device has the variant.
  void check_known(const std::string& variant) const;

  std::string name_;
  std::deque<std::string> names_[kDeviceCount];  // which stay where they are when others are added
  std::string forced_;
  mutable std::atomic<const std::string*> last_variant_ = nullptr;
  mutable std::atomic<bool> warned_ = false;
};

// Every slot of the program, in no particular order.
const std::vector<KernelSlotBase*>& all_kernel_slots();
KernelSlotBase& find_kernel_slot(const std::string& name);
// How often a variant was forced or lifted so far: work that was recorded holds those that ran then.
uint64_t forcing_count();

// Registers the built-in variants and reads ASAP_KERNEL, once; called by the first use of any slot.
void ensure_kernels_registered();

template <class Signature>
class KernelSlot;

template <class... Args>
class KernelSlot<void(Args...)> : public KernelSlotBase {
 public:
  using Run = std::function<void(Args...)>;
  using Supports = std::function<bool(Args...)>;
  using KernelSlotBase::KernelSlotBase;

  // Adds a variant behind those already there (built-ins are registered fastest first, `naive` last).
  // Without `supports` it takes any arguments.
  void add(Device device, const std::string& variant, Run run, Supports supports = {}) {
    add_name(device, variant);
    variants_[static_cast<int>(device)].push_back({std::move(run), std::move(supports)});
  }

  // Whether the variant takes these arguments; false if the device has no such variant.
  bool supports(Device device, const std::string& variant, Args... args) const {
    ensure_kernels_registered();
    const auto& names = names_[static_cast<int>(device)];
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] == variant) return takes(variants_[static_cast<int>(device)][i], args...);
    }
    return false;
  }

  void run(Device device, Args... args) const {
    ensure_kernels_registered();
    const auto& list = variants_[static_cast<int>(device)];
    if (const int forced = forced_.empty() ? -1 : forced_index(device); forced >= 0) {
      if (takes(list[static_cast<size_t>(forced)], args...)) return run_variant(device, static_cast<size_t>(forced), args...);
      warn_forced_unsupported();
    }
    for (size_t i = 0; i < list.size(); ++i) {
      if (takes(list[i], args...)) return run_variant(device, i, args...);
    }
    fail_no_variant(device);
  }

 private:
  struct Variant {
    Run run;
    Supports supports;
  };
  static bool takes(const Variant& variant, Args... args) { return !variant.supports || variant.supports(args...); }
  void run_variant(Device device, size_t i, Args... args) const {
    last_variant_.store(&names_[static_cast<int>(device)][i], std::memory_order_relaxed);
    variants_[static_cast<int>(device)][i].run(args...);
  }

  std::vector<Variant> variants_[kDeviceCount];
};

// Forces a variant for the life of the guard.
class ForcedVariant {
 public:
  ForcedVariant(KernelSlotBase& slot, const std::string& variant);
  ~ForcedVariant();
  ForcedVariant(const ForcedVariant&) = delete;
  ForcedVariant& operator=(const ForcedVariant&) = delete;

 private:
  KernelSlotBase& slot_;
  std::string before_;
};

}  // namespace asap
