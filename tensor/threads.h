// How many threads the CPU kernels use. Results are the same bits for the same number of threads.
#pragma once

namespace asap {

void set_num_threads(int count);  // throws unless count >= 1
int num_threads();

}  // namespace asap
