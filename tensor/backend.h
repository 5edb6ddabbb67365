// The two functions by which a backend puts its kernels into the slots. The CPU's stands in cpu/register.cpp; the CUDA
// one in cuda/, where cuda/stub.cpp takes its place when CUDA is not built: it registers nothing.
#pragma once

namespace asap {

namespace cpu {
void register_kernels();
}
void register_cuda_backend();

}  // namespace asap
