// Switching between stacks: the one piece of the emulator that knows the processor. On x86-64 a dozen instructions; the
// C library's ucontext elsewhere. AddressSanitizer is told of each switch.
// Used by fibers.cpp only.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace asap::emulate {

struct Context {
  void* stack_bottom = nullptr;  // the lowest address; null for a core's own stack
  size_t stack_bytes = 0;
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t state;
#endif
  void* fake_stack = nullptr;  // AddressSanitizer's
};

#if defined(__x86_64__)
extern "C" void asap_switch_stack(void** save, void* load);
// Saves the registers that a called function must preserve, changes the stack, restores them from there.
asm(R"(
.text
.globl asap_switch_stack
.hidden asap_switch_stack
.type asap_switch_stack,@function
asap_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size asap_switch_stack,.-asap_switch_stack
)");
#endif

// `entry` runs on the context's stack when it is switched to for the first time; it must never return.
inline void prepare(Context& context, void* stack_bottom, size_t stack_bytes, void (*entry)()) {
  context.stack_bottom = stack_bottom;
  context.stack_bytes = stack_bytes;
  context.fake_stack = nullptr;
#if defined(__x86_64__)
  // Six registers, then the return address. At entry the stack pointer is 8 below a multiple of 16, as after a call.
  auto top = reinterpret_cast<uintptr_t>(stack_bottom) + stack_bytes;
  auto* words = reinterpret_cast<uintptr_t*>(top & ~uintptr_t{15}) - 8;
  for (int i = 0; i < 6; ++i) words[i] = 0;
  words[6] = reinterpret_cast<uintptr_t>(entry);
  words[7] = 0;
  context.stack_pointer = words;
#else
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack_bottom;
  context.state.uc_stack.ss_size = stack_bytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
#endif
}

// Of a context that was left in the middle for good, since another's error ended the kernel: its frames are no more.
inline void forget_frames(void* stack_bottom, size_t stack_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_bottom, stack_bytes);
#else
  (void)stack_bottom, (void)stack_bytes;
#endif
}

// Called first on the other side of a switch.
inline void arrived(Context& here, Context* from) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(here.fake_stack, &bottom, &bytes);
  if (from && !from->stack_bottom) {  // the core's own stack: learned when it is left for the first time
    from->stack_bottom = const_cast<void*>(bottom);
    from->stack_bytes = bytes;
  }
#else
  (void)here, (void)from;
#endif
}

// Leaves `from` and goes on where `to` was left. `ends`: from is never switched to again.
inline void switch_context(Context& from, Context& to, bool ends = false) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack, to.stack_bottom, to.stack_bytes);
#else
  (void)ends;
#endif
#if defined(__x86_64__)
  asap_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.state, &to.state);
#endif
  arrived(from, nullptr);
}

}  // namespace asap::emulate
