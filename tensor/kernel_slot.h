// KernelSlot: one kernel of the contract (kernels.h) with, for each device, an ordered list of named variants.
// The first variant that takes the arguments runs, unless one was forced by name:
//   ASAP_KERNEL=conv2d_forward=naive,matmul=eigen   (environment)
//   ForcedVariant guard(kernels::conv2d_forward, "naive");
// A forced variant runs wherever it takes the arguments; elsewhere the usual order applies and stderr says so once.
// The last one, `naive`, is the definition (definitions/): it takes any layout and f64, f32 and bf16. The others take row-major
// f32 and f64 unless they say more (Takes). Where none of them takes the arguments as they lie, but one would take row-major f32
// copies, it gets those, and adaptations() counts them; only then comes the definition.
// ASAP_KERNEL may name a variant that the program adds later: that there is none is an error of the slot's first run.
// Several threads may run() kernels at once, but none while a variant is being added or forced.
// Next: kernels.h.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "tensor/tensor.h"

namespace asap {

// What a variant takes beyond row-major f32, f64, i32 and u8: other strides, bf16.
struct Takes {
  bool strided = false, bf16 = false;
  bool tensor(const Tensor& x) const {
    return !x.defined() || ((strided || x.is_contiguous()) && (bf16 || x.dtype() != DType::bf16));
  }
};

// How many tensors were copied for a kernel so far, because it wanted them row-major, or in f32 instead of bf16.
struct Adaptations {
  int64_t repacked = 0, converted = 0;
  bool operator==(const Adaptations&) const = default;
};
Adaptations adaptations();

// Whether a kernel reads what its outputs held: such a call gets no copies.
enum class Outputs { written, updated };

// A kernel's argument, and the one that an adapted call gets in its place.
template <class Arg>
struct Adapted {
  Arg given;
  Arg get() { return static_cast<Arg>(given); }
  void finish() {}
};
template <>
struct Adapted<const Tensor&> {
  explicit Adapted(const Tensor& x);
  const Tensor& get() { return ordinary; }
  void finish();
  const Tensor& given;
  Tensor ordinary;
};
template <>
struct Adapted<Tensor&> {
  explicit Adapted(Tensor& y);
  Tensor& get() { return ordinary; }
  void finish();
  Tensor& given;
  Tensor ordinary;
};

// What all slots share: name, variant names, forcing. Slots live for the whole program and list themselves.
class KernelSlotBase {
 public:
  explicit KernelSlotBase(const char* name, Outputs outputs = Outputs::written);
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
  static constexpr const char* kDefinition = "naive";
  void add_name(Device device, std::string name);
  // Index of the forced variant on `device`, or -1. Throws if no device has it.
  int forced_index(Device device) const;
  [[noreturn]] void fail_no_variant(Device device) const;
  void warn_forced_unsupported() const;
  // Whether variant i, if there is one, is the definition.
  bool is_definition(Device device, size_t i) const {
    const auto& names = names_[static_cast<int>(device)];
    return i >= names.size() || names[i] == kDefinition;
  }
  // Throws, naming those there are, if no device has the variant.
  void check_known(const std::string& variant) const;

  std::string name_;
  Outputs outputs_;
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

  // Adds a variant behind those already there: built-ins are registered fastest first, the definition last.
  // Without `supports` it takes any arguments that `takes` allows.
  void add(Device device, const std::string& variant, Run run, Supports supports = {}, Takes takes = {}) {
    add_name(device, variant);
    variants_[static_cast<int>(device)].push_back({std::move(run), std::move(supports), takes});
  }
  void add_definition(Device device, Run run) { add(device, kDefinition, std::move(run), {}, {.strided = true, .bf16 = true}); }

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
    const size_t first = first_that_takes(list, args...);
    if (is_definition(device, first) && outputs_ == Outputs::written && !(is_ordinary(args) && ...)) {
      if (run_adapted(device, args...)) return;
    }
    if (first == list.size()) fail_no_variant(device);
    run_variant(device, first, args...);
  }

 private:
  struct Variant {
    Run run;
    Supports supports;
    Takes takes;
  };
  template <class Arg>
  static bool allows(const Takes& takes, const Arg& arg) {
    if constexpr (std::is_same_v<Arg, Tensor>) return takes.tensor(arg);
    return true;
  }
  template <class Arg>
  static bool is_ordinary(const Arg& arg) {
    return allows(Takes{}, arg);
  }
  static bool takes(const Variant& variant, Args... args) {
    return (allows(variant.takes, args) && ...) && (!variant.supports || variant.supports(args...));
  }
  // The list's size if there is none.
  static size_t first_that_takes(const std::vector<Variant>& list, Args... args) {
    size_t i = 0;
    while (i < list.size() && !takes(list[i], args...)) ++i;
    return i;
  }
  // On row-major f32 copies, if another variant than the definition takes those.
  bool run_adapted(Device device, Args... args) const {
    const auto& list = variants_[static_cast<int>(device)];
    std::tuple<Adapted<Args>...> adapted{Adapted<Args>{args}...};
    return std::apply(
        [&](auto&... arg) {
          const size_t i = first_that_takes(list, arg.get()...);
          if (i == list.size() || is_definition(device, i)) return false;
          run_variant(device, i, arg.get()...);
          (arg.finish(), ...);
          return true;
        },
        adapted);
  }
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
