// MPI between the ranks: who they are, and the collectives of tensor/ops.h for worlds of more than one. What is sent goes from point
// to point, so that a rank that does not answer is known by name. Without MPI in the build, a program is alone.
// Sits on ranks.h. Next: launch.h, which starts the processes.
#pragma once

#include <string>

#include "train/ranks/ranks.h"

namespace asap::train {

// Whether this build has MPI.
bool mpi_is_built_in();
// Whether a launcher (mpirun, srun with PMI) started this process, whose name for it stands in the environment.
bool launched();

// The ranks of this program: one alone, until join_ranks().
const Ranks& program_ranks();

// At the program's start: meets the other ranks if it was launched, takes this rank's share of the machine's cores as
// default_threads(), and registers the collectives "mpi". Does nothing a second time. Error: launched as one of several without MPI.
void join_ranks();
// At its end, on all ranks, if all come to it.
void leave_ranks();

// How long a rank waits for another one before it ends the job, with a sentence that names those it waits for.
void set_rank_timeout(double seconds);  // 600 unless set

// For a rank that is about to end by an error: whether all others do so, too, within some seconds. If not, they know nothing of it,
// and wait: abort_job.
bool all_ranks_fail();

// For what the other ranks cannot learn of: "asapnet: rank 2 (host b): SENTENCE" on standard error, and the end of all ranks.
[[noreturn]] void abort_job(const std::string& sentence, int code);

}  // namespace asap::train
