// Stands in for the CUDA backend when it is not built: registers nothing, so that asking for Device::cuda throws an
// Error that says how to get it. Keeps #ifdefs out of the rest of the library.
#include "tensor/backend.h"

namespace asap {

void register_cuda_backend() {}

}  // namespace asap
