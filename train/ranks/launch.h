// Several ranks of this program on this machine, without mpirun's own words and habits: `asapnet train --ranks 4`.
// Sits on mpirun. Next: mpi.h, by which the ranks meet.
#pragma once

#include <string>
#include <vector>

namespace asap::train {

// Starts `count` of this program with `arguments`, waits for them, and returns their exit code. Ctrl-C (SIGINT), SIGTERM and SIGHUP
// reach the ranks as kAsInterrupt and kAsTerminate. A rank that something killed is told of on standard error. Error: no mpirun.
int run_ranks(int count, const std::vector<std::string>& arguments);

// mpirun passes on SIGUSR1 and SIGUSR2 alone; to Ctrl-C and SIGTERM it answers itself, and kills the ranks a second later. In ranks of
// run_ranks(), SIGTERM is thus the end of a job of which a rank was lost.
inline constexpr int kAsInterrupt = 10, kAsTerminate = 12;  // SIGUSR1, SIGUSR2
bool started_by_run_ranks();

}  // namespace asap::train
