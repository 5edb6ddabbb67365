// The functions by which a backend puts its kernels into the slots. The CPU's stands in cpu/register.cpp; the CUDA
// one in cuda/, where cuda/stub.cpp takes its place when CUDA is not built: it registers nothing. And how a program adds more.
#pragma once

#include <cstddef>

namespace asap {

namespace cpu {
void register_kernels();
}
void register_cuda_backend();
// Bytes of memory that the card has in all; asap::Error where there is none.
size_t cuda_memory();

// Registers more variants behind the built-in ones: together with them, so that ASAP_KERNEL may name the new ones too, or at
// once if they are there already.
void register_also(void (*registration)());

}  // namespace asap
