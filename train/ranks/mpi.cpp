// MPI. Declared in mpi.h; the only file that includes MPI's own header. Every collective is made of chunks: chunk c of a tensor is
// rank c's part of it, which it computes and sends to all. A sum costs each rank 2 (size - 1) / size of the tensor's bytes, the least
// that it can (Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009).
#include "train/ranks/mpi.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "tensor/threads.h"
#include "train/files/user_text.h"

#if ASAP_MPI
#include <mpi.h>
#endif

namespace asap::train {
namespace {

struct Member {
  char host[64] = {};
  int process = 0;
};

Ranks ranks;
double timeout = 600;         // seconds
std::vector<Member> members;  // of each rank

// To standard error, past std::cerr, which is silent on all ranks but the first.
void tell(const std::string& sentence) {
  const std::string line = (isatty(STDERR_FILENO) ? "\nasapnet: " : "asapnet: ") + terminal_safe_message(sentence) + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // nobody reads it
}

}  // namespace

bool launched() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") || std::getenv("PMIX_RANK") || std::getenv("PMI_RANK");
}
const Ranks& program_ranks() { return ranks; }
void set_rank_timeout(double seconds) { timeout = seconds; }

#if ASAP_MPI

namespace {

using Clock = std::chrono::steady_clock;

bool joined = false;
MPI_Comm world_of_ours = MPI_COMM_NULL;

void check(int code) {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  abort_job(str("MPI failed: ", text.data()), 1);
}

enum class Tag { part, whole, failed };

// Messages on their way. All ranks send each other the same ones in the same order, so a sender and a tag say which one it is.
class Messages {
 public:
  explicit Messages(Tag tag) : tag_(static_cast<int>(tag)) {}

  void send(int to, const void* data, size_t bytes) {
    each_piece(bytes, [&](size_t at, int count) {
      check(MPI_Isend(static_cast<const std::byte*>(data) + at, count, MPI_BYTE, to, tag_, world_of_ours, add(to)));
    });
  }
  void receive(int from, void* data, size_t bytes) {
    each_piece(bytes, [&](size_t at, int count) {
      check(MPI_Irecv(static_cast<std::byte*>(data) + at, count, MPI_BYTE, from, tag_, world_of_ours, add(from)));
    });
  }
  // Until all are through. The first rank to lose patience ends the job; the others leave it the time to say why. Those that wait for
  // a rank's part know better than those that wait for its sum, which may itself wait.
  void wait() {
    const int others = ranks.rank() + (tag_ == static_cast<int>(Tag::part) ? 0 : ranks.size());
    if (!wait_for(timeout + 0.3 * others)) end_job();
  }
  // Whether they are through before so many seconds have passed. Spins while pieces arrive, and for a moment after, then sleeps: another
  // thread of this rank, or another rank of this machine, computes meanwhile.
  bool wait_for(double seconds) {
    std::vector<int> ended(requests_.size());
    const auto start = Clock::now();
    for (auto last = start;;) {
      int count = 0;
      check(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, ended.data(), MPI_STATUSES_IGNORE));
      if (count == MPI_UNDEFINED) return true;  // none was left
      const auto now = Clock::now();
      if (count > 0) last = now;
      if (now - start > std::chrono::duration<double>(seconds)) return false;
      if (now - last < std::chrono::milliseconds(1)) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  }

 private:
  MPI_Request* add(int partner) {
    partners_.push_back(partner);
    return &requests_.emplace_back(MPI_REQUEST_NULL);
  }
  // Small ones, so that their arrival tells whether there is anything to wait for.
  template <class Post>
  static void each_piece(size_t bytes, const Post& post) {
    constexpr size_t kPiece = size_t{1} << 20;
    for (size_t at = 0; at < bytes; at += kPiece) post(at, static_cast<int>(std::min(kPiece, bytes - at)));
  }
  [[noreturn]] void end_job() {
    std::vector<int> missing;
    for (size_t i = 0; i < requests_.size(); ++i) {
      int done = 0;
      check(MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE));
      if (!done) missing.push_back(partners_[i]);
    }
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    std::vector<std::string> names;
    for (const int rank : missing) {
      const Member& member = members[static_cast<size_t>(rank)];
      names.push_back(str("rank ", rank, " (host ", member.host, ", process ", member.process, ")"));
    }
    const bool one = names.size() == 1;
    tell(str(comma_list(names), one ? " has" : " have", " not answered for ", timeout, " s: ", one ? "it is" : "they are",
             " stopped, stuck or cut off; the job ends here, and what was saved last stays"));
    MPI_Abort(MPI_COMM_WORLD, 1);
    _exit(1);
  }

  int tag_;
  std::vector<MPI_Request> requests_;
  std::vector<int> partners_;  // of each request
};

// Rank c's part of a tensor's elements in a row.
struct Chunk {
  std::byte* data;
  int64_t count;
  size_t bytes;
};
Chunk chunk_of(const Tensor& x, const World& world, int c) {
  const int64_t begin = x.numel() * c / world.size, count = x.numel() * (c + 1) / world.size - begin;
  const auto width = static_cast<int64_t>(size_of(x.dtype()));
  return {static_cast<std::byte*>(x.raw()) + begin * width, count, static_cast<size_t>(count * width)};
}

// Every rank's chunk of its x, on all ranks.
void share_chunks(const World& world, Tensor& x) {
  Messages messages(Tag::whole);
  const Chunk mine = chunk_of(x, world, world.rank);
  for (int other = 0; other < world.size; ++other) {
    if (other == world.rank) continue;
    const Chunk theirs = chunk_of(x, world, other);
    messages.receive(other, theirs.data, theirs.bytes);
    messages.send(other, mine.data, mine.bytes);
  }
  messages.wait();
}

void all_gather_mpi(const World& world, const Tensor& x, Tensor& y) {
  const Chunk mine = chunk_of(y, world, world.rank);
  if (mine.bytes > 0) std::memcpy(mine.data, x.raw(), mine.bytes);
  share_chunks(world, y);
}

// sum[i] = parts[0, i] + parts[1, i] + ..., in f64, rounded once; parts [size, n].
void add_up(const Tensor& parts, void* sum) {
  constexpr int64_t kBlock = 1024;  // stays in the nearest cache
  std::array<double, kBlock> sums{};
  dispatch_all(parts.dtype(), [&](auto type) {
    using T = decltype(type);
    const int64_t count = parts.size(1);
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const auto n = static_cast<size_t>(std::min(kBlock, count - begin));
      for (int64_t part = 0; part < parts.size(0); ++part) {
        const T* from = parts.data<T>() + part * count + begin;
        for (size_t i = 0; i < n; ++i) sums[i] = static_cast<double>(from[i]) + (part > 0 ? sums[i] : -0.0);  // -0 + x is x
      }
      T* to = static_cast<T*>(sum) + begin;
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(sums[i]);
    }
  });
}

void all_reduce_mpi(const World& world, DType wire, Tensor& x) {
  constexpr size_t kFewBytes = 16384;  // all to all in one message costs less than parts and sums in two
  Tensor sent = x.to(wire);            // x itself, unless half of its bytes travel
  if (sent.bytes() <= kFewBytes) {
    Tensor parts = Tensor::empty({world.size, sent.numel()}, wire);
    all_gather_mpi(world, sent, parts);
    add_up(parts, sent.raw());
  } else {
    const Chunk mine = chunk_of(sent, world, world.rank);
    const Tensor parts = Tensor::empty({world.size, mine.count}, wire);
    Messages messages(Tag::part);
    for (int other = 0; other < world.size; ++other) {
      std::byte* part = static_cast<std::byte*>(parts.raw()) + static_cast<size_t>(other) * mine.bytes;
      if (other == world.rank) {
        std::memcpy(part, mine.data, mine.bytes);
      } else {
        messages.receive(other, part, mine.bytes);
        const Chunk theirs = chunk_of(sent, world, other);
        messages.send(other, theirs.data, theirs.bytes);
      }
    }
    messages.wait();
    add_up(parts, mine.data);
    share_chunks(world, sent);
  }
  if (wire != x.dtype()) x.copy_from(sent);
}

void broadcast_mpi(const World& world, Tensor& x) {
  Messages messages(Tag::part);
  for (int other = 1; other < world.size; ++other) {
    const Chunk theirs = chunk_of(x, world, other);
    if (world.rank == 0) messages.send(other, theirs.data, theirs.bytes);
    if (world.rank == other) messages.receive(0, theirs.data, theirs.bytes);
  }
  messages.wait();
  share_chunks(world, x);
}

bool has_others(const World& world) { return world.size > 1; }

// On the CPU, and, where there is no NCCL, for tensors of a card by way of host memory.
void register_collectives() {
  const Takes any{.strided = false, .bf16 = true};
  kernels::all_reduce.add_first(Device::cpu, "mpi", all_reduce_mpi, [](const World& world, DType, const Tensor&) { return has_others(world); });
  kernels::broadcast.add_first(Device::cpu, "mpi", broadcast_mpi, [](const World& world, const Tensor&) { return has_others(world); }, any);
  kernels::all_gather.add_first(
      Device::cpu, "mpi", all_gather_mpi, [](const World& world, const Tensor&, const Tensor&) { return has_others(world); }, any);
  const std::vector<std::string> of_card = kernels::all_reduce.variants(Device::cuda);
  if (std::find(of_card.begin(), of_card.end(), "nccl") != of_card.end()) return;
  const auto there_and_back = [](Tensor& x, const auto& collective) {
    Tensor host = x.to(Device::cpu);
    collective(host);
    x.copy_from(host);
  };
  kernels::all_reduce.add_first(
      Device::cuda, "mpi",
      [=](const World& world, DType wire, Tensor& x) { there_and_back(x, [&](Tensor& host) { all_reduce_mpi(world, wire, host); }); },
      [](const World& world, DType, const Tensor&) { return has_others(world); });
  kernels::broadcast.add_first(
      Device::cuda, "mpi", [=](const World& world, Tensor& x) { there_and_back(x, [&](Tensor& host) { broadcast_mpi(world, host); }); },
      [](const World& world, const Tensor&) { return has_others(world); }, any);
  kernels::all_gather.add_first(
      Device::cuda, "mpi",
      [=](const World& world, const Tensor& x, Tensor& y) {
        there_and_back(y, [&](Tensor& host) { all_gather_mpi(world, x.to(Device::cpu), host); });
      },
      [](const World& world, const Tensor&, const Tensor&) { return has_others(world); }, any);
}

// A card for each rank of this machine: of those that the process may see, the one with its number among them. Before any is looked for.
void choose_card(int rank_on_host) {
  constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";
  const char* visible = std::getenv(kVisible);
  std::vector<std::string> cards;
  std::istringstream list(visible ? visible : "");
  for (std::string card; std::getline(list, card, ',');) cards.push_back(card);
  if (visible && cards.size() <= 1) return;  // chosen already, or none
  const auto place = static_cast<size_t>(rank_on_host);
  setenv(kVisible, place < cards.size() ? cards[place].c_str() : std::to_string(rank_on_host).c_str(), 1);
}

// This rank's part of what its machine has: a card; and of the cores that all of its ranks may use, an equal share, as far as it may
// use them.
void settle_on_host() {
  MPI_Comm host = MPI_COMM_NULL;
  check(MPI_Comm_split_type(world_of_ours, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  int count = 0, number = 0;
  check(MPI_Comm_size(host, &count));
  check(MPI_Comm_rank(host, &number));
  choose_card(number);
  cpu_set_t mine, all;
  CPU_ZERO(&mine);
  const bool known = sched_getaffinity(0, sizeof mine, &mine) == 0;
  check(MPI_Allreduce(&mine, &all, sizeof mine, MPI_BYTE, MPI_BOR, host));
  check(MPI_Comm_free(&host));
  set_default_threads(known ? std::max(1, std::min(CPU_COUNT(&mine), CPU_COUNT(&all) / count)) : 1);
}

}  // namespace

bool mpi_is_built_in() { return true; }

void join_ranks() {
  if (joined || !launched()) return;
  joined = true;
  int threading = MPI_THREAD_SINGLE;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &threading));
  check(MPI_Comm_dup(MPI_COMM_WORLD, &world_of_ours));
  check(MPI_Comm_set_errhandler(world_of_ours, MPI_ERRORS_RETURN));
  World world;
  check(MPI_Comm_rank(world_of_ours, &world.rank));
  check(MPI_Comm_size(world_of_ours, &world.size));
  if (world.size == 1) return;
  ranks = Ranks(world);
  Member member;
  host_name().copy(member.host, sizeof member.host - 1);
  member.process = getpid();
  members.resize(static_cast<size_t>(world.size));
  check(MPI_Allgather(&member, sizeof member, MPI_BYTE, members.data(), sizeof member, MPI_BYTE, world_of_ours));
  // Another thread than the main one reduces gradients, though never at the same time.
  ASAP_CHECK(threading >= MPI_THREAD_SERIALIZED, "this MPI library takes no calls from several threads in turn (MPI_THREAD_SERIALIZED)");
  settle_on_host();
  register_collectives();
}

void leave_ranks() {
  if (joined) MPI_Finalize();
}

bool all_ranks_fail() {
  constexpr double kSeconds = 3;
  Messages messages(Tag::failed);
  std::vector<std::byte> theirs(members.size());
  const std::byte mine{};
  for (int other = 0; other < ranks.size(); ++other) {
    if (other == ranks.rank()) continue;
    messages.receive(other, &theirs[static_cast<size_t>(other)], 1);
    messages.send(other, &mine, 1);
  }
  return messages.wait_for(kSeconds);
}

void abort_job(const std::string& sentence, int code) {
  tell(str("rank ", ranks.rank(), " (host ", host_name(), "): ", sentence));
  MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

#else

bool mpi_is_built_in() { return false; }

void join_ranks() {
  if (!launched()) return;
  // The launcher's own number, where it gives one; that of Slurm's job else.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}) {
    const char* size = std::getenv(name);
    if (!size) continue;
    ASAP_CHECK(std::atoi(size) <= 1, "a launcher started ", size,
               " of this program to work together, but it was built without MPI (libopenmpi-dev)");
    return;
  }
}
void leave_ranks() {}
bool all_ranks_fail() { return true; }
void abort_job(const std::string& sentence, int code) {
  tell(sentence);
  _exit(code);
}

#endif

}  // namespace asap::train
