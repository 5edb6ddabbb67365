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
#include <type_traits>
#include <vector>

#include "tensor/tensor.h"
#include "tensor/trace.h"

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

// What all slots share: name and forcing. Slots live for the whole program and list themselves.
class KernelSlotBase {
 public:
  explicit KernelSlotBase(const char* name, Outputs outputs = Outputs::written);
  virtual ~KernelSlotBase() = default;
  KernelSlotBase(const KernelSlotBase&) = delete;
  KernelSlotBase& operator=(const KernelSlotBase&) = delete;

  const std::string& name() const { return name_; }
  // Variant names on `device`, in the order they are tried.
  virtual std::vector<std::string> variants(Device device) const = 0;
  // Forces the variant of that name; an empty name lifts it. Throws if no device has it, unless it `may_come`: it was or is
  // named by ASAP_KERNEL.
  void force(const std::string& variant, bool may_come = false);
  const std::string& forced() const { return forced_; }
  // Name of the variant that ran last in this slot ("" before the first run): lets tests see what was tested.
  std::string last_variant() const {
    const std::string* last = last_variant_.load(std::memory_order_relaxed);
    return last ? *last : "";
  }
  void forget_last_variant() { last_variant_ = nullptr; }

 protected:
  static constexpr const char* kDefinition = "naive";
  // Throws if the device has a variant of that name already.
  void check_new(Device device, const std::string& variant) const;
  // Throws, naming those there are, if no device has the variant.
  void check_known(const std::string& variant) const;
  [[noreturn]] void fail_no_variant(Device device) const;
  void warn_forced_unsupported() const;

  // What an adapted call gets in an argument's place: of an input a row-major f32 copy, for an output memory that is so.
  // And finish() behind the call counts it, and copies an output to where it belongs.
  static Tensor adapted(const Tensor& x);
  static Tensor adapted(Tensor& y);
  static void finish(const Tensor& x, const Tensor& copy);
  static void finish(Tensor& y, const Tensor& result);
  template <class Arg>
  static Arg adapted(const Arg& arg) {
    return arg;
  }
  template <class Arg>
  static void finish(const Arg&, const Arg&) {}

  std::string name_;
  Outputs outputs_;
  std::string forced_, may_come_;
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
    ensure_kernels_registered();  // a user's variant stands behind the built-in ones
    check_new(device, variant);
    variants_[static_cast<int>(device)].push_back({variant, std::move(run), std::move(supports), takes});
  }
  void add_definition(Device device, Run run) { add(device, kDefinition, std::move(run), {}, {.strided = true, .bf16 = true}); }

  std::vector<std::string> variants(Device device) const override {
    ensure_kernels_registered();
    std::vector<std::string> names;
    for (const Variant& variant : variants_[static_cast<int>(device)]) names.push_back(variant.name);
    return names;
  }

  void run(Device device, Args... args) const {
    ensure_kernels_registered();
    if (!forced_.empty()) {
      const Variant* forced = find(device, [&](const Variant& variant) { return variant.name == forced_; });
      if (!forced) check_known(forced_);  // on another device
      if (forced && takes(*forced, args...)) return run_variant(*forced, args...);
      if (forced) warn_forced_unsupported();
    }
    const Variant* first = first_that_takes(device, args...);
    const bool fast = first && first->name != kDefinition;
    if (!fast && outputs_ == Outputs::written && !(is_ordinary(args) && ...) && run_adapted(device, args...)) return;
    if (!first) fail_no_variant(device);
    run_variant(*first, args...);
  }

 private:
  struct Variant {
    std::string name;
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
  // The first for which `wanted` holds, or nullptr.
  template <class Wanted>
  const Variant* find(Device device, const Wanted& wanted) const {
    for (const Variant& variant : variants_[static_cast<int>(device)]) {
      if (wanted(variant)) return &variant;
    }
    return nullptr;
  }
  const Variant* first_that_takes(Device device, Args... args) const {
    return find(device, [&](const Variant& variant) { return takes(variant, args...); });
  }
  // On row-major f32 copies, if another variant than the definition takes those.
  bool run_adapted(Device device, Args... args) const {
    std::tuple<std::remove_cvref_t<Args>...> copies{adapted(args)...};
    return std::apply(
        [&](auto&... copy) {
          const Variant* variant = first_that_takes(device, copy...);
          if (!variant || variant->name == kDefinition) return false;
          run_variant(*variant, copy...);
          (finish(args, copy), ...);
          return true;
        },
        copies);
  }
  void run_variant(const Variant& variant, Args... args) const {
    last_variant_.store(&variant.name, std::memory_order_relaxed);
    const Traced traced(TraceKind::kernel, [&] {
      TraceLabel label{name_ + "=" + variant.name};
      (append_shape(args, label.shapes), ...);
      return label;
    });
    variant.run(args...);
  }
  template <class Arg>
  static void append_shape(const Arg& arg, std::vector<Shape>& shapes) {
    if constexpr (std::is_same_v<Arg, Tensor>) {
      if (arg.defined()) shapes.push_back(arg.shape());
    }
  }

  std::deque<Variant> variants_[kDeviceCount];  // which stay where they are when others are added
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
