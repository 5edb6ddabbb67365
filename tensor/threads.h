// How many threads the CPU kernels use. Results are the same bits for the same number of threads.
#pragma once

namespace asap {

void set_num_threads(int count);  // throws unless count >= 1
int num_threads();

// What a program takes that was told no number: one a core, or this process's share of the cores where others of its job run beside it.
int default_threads();
void set_default_threads(int count);  // at the program's start; throws unless count >= 1

// For the first line of main(argc, argv): between two parallel loops OpenMP's threads spin by default, and on a machine with
// other work they then wait for each other's time slices: the quick preset fell from 22 to 1 step a second on two busy cores.
// Sleeping costs microseconds. The OpenMP runtime decides before main, so the program starts itself again with
// OMP_WAIT_POLICY=passive; if that or GOMP_SPINCOUNT is set already, or there is no /proc, nothing happens.
void let_waiting_threads_sleep(char** argv);

}  // namespace asap
