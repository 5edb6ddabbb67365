// Several ranks: this program starts itself under mpirun; the cases "rank: ..." are what each of those processes does. All on this
// machine, by shared memory.
#include <doctest/doctest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "tensor/threads.h"
#include "tests/support/ranks.h"
#include "train/files/user_text.h"
#include "train/ranks/mpi.h"
#include "train/run/shared_state.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

struct ShellEnded {
  int code = 0;
  double seconds = 0;
  std::string out, error;
};

// A command line of the shell, with an environment in which mpirun runs within this machine, and for root.
ShellEnded run_shell(const std::string& command) {
  const ScratchFolder folder;
  const std::string out = (folder / "out").string(), error = (folder / "error").string();
  const auto start = std::chrono::steady_clock::now();
  const int status = std::system(("export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1 "
                                  "OMPI_MCA_oob_tcp_if_include=lo OMP_NUM_THREADS=1; timeout -k 5 120 " +
                                  command + " > " + out + " 2> " + error + " < /dev/null")
                                     .c_str());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, took.count(), read_text(out), read_text(error)};
}

std::string mpirun(int size) { return "mpirun -q --bind-to none --oversubscribe -n " + std::to_string(size) + " "; }

// The case "rank: WORK" of this program, on so many ranks.
ShellEnded run_ranks_of_test(int size, const std::string& work) {
  return run_shell(mpirun(size) + shell_quoted(std::filesystem::read_symlink("/proc/self/exe").string()) + " --no-colors --no-skip --test-case=" +
                   shell_quoted("rank: " + work));
}

void check_passes(int size, const std::string& work) {
  const ShellEnded ended = run_ranks_of_test(size, work);
  CAPTURE(size);
  CAPTURE(ended.out);
  CAPTURE(ended.error);
  CHECK(ended.code == 0);
  CHECK(ended.error == "");
  const std::regex one_case("test cases: +1 \\| +1 passed");  // a name that no case has would pass, too
  CHECK(std::distance(std::sregex_iterator(ended.out.begin(), ended.out.end(), one_case), std::sregex_iterator()) == size);
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// One of the ranks, for as long as it lives.
struct Member {
  Member() {
    ran();
    join_ranks();
    world = ranks.world();
    is_last = world.rank == world.size - 1;
  }
  ~Member() { leave_ranks(); }
  const Ranks& ranks = program_ranks();
  World world;
  bool is_last = false;
};

// Element i of rank r's tensor: of sizes so different that the order of a sum is seen in its last bits.
template <class T>
T number(int r, int64_t i) {
  const uint32_t hash = (static_cast<uint32_t>(i) * 2654435761u) ^ (static_cast<uint32_t>(r + 1) * 2246822519u);
  if constexpr (std::is_integral_v<T>) return static_cast<T>(hash >> 7);
  const double signed_part = static_cast<double>(static_cast<int32_t>(hash * 3266489917u)) / 2147483648.0;
  const auto value = static_cast<float>(std::ldexp(signed_part, static_cast<int>(hash % 40)));
  if constexpr (std::is_same_v<T, double>) return std::ldexp(signed_part, static_cast<int>(hash % 40)) / 3;
  return T(value);
}

template <class T>
Tensor numbers(int r, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = number<T>(r, i);
  return Tensor::from(values, {count});
}

template <class T>
void check_bits(const Tensor& x, const std::vector<T>& expected) {
  const std::vector<T> values = x.to_vector<T>();
  REQUIRE(values.size() == expected.size());
  CHECK((values.empty() || std::memcmp(values.data(), expected.data(), values.size() * sizeof(T)) == 0));
}

constexpr int64_t kCounts[] = {0, 1, 3, 1'000'003};

// Sent is the type on the wire.
template <class T, class Sent>
void check_all_reduce(const Member& me) {
  for (const int64_t count : kCounts) {
    CAPTURE(count);
    std::vector<T> expected;
    for (int64_t i = 0; i < count; ++i) {
      double sum = 0;
      for (int r = 0; r < me.world.size; ++r) sum += static_cast<double>(static_cast<Sent>(number<T>(r, i)));
      expected.push_back(static_cast<T>(static_cast<Sent>(sum)));
    }
    for (int run = 0; run < 2; ++run) {
      Tensor x = numbers<T>(me.world.rank, count);
      all_reduce(me.world, dtype_of<Sent>, x);
      check_bits(x, expected);
    }
  }
}

template <class T>
void check_copies(const Member& me) {
  for (const int64_t count : kCounts) {
    CAPTURE(count);
    Tensor x = numbers<T>(me.world.rank, count);
    std::vector<T> all;
    for (int r = 0; r < me.world.size; ++r) {
      for (int64_t i = 0; i < count; ++i) all.push_back(number<T>(r, i));
    }
    const Tensor gathered = all_gather(me.world, x);
    CHECK(gathered.shape() == Shape{me.world.size, count});
    check_bits(gathered, all);
    broadcast(me.world, x);
    all.resize(static_cast<size_t>(count));
    check_bits(x, all);
  }
}

// The text of the SharedError that all ranks get from `work` on this one.
template <class Work>
std::string shared_error(const Ranks& ranks, const Work& work) {
  try {
    ranks.together(work);
  } catch (const SharedError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("rank: collectives" * doctest::skip()) {
  const Member me;
  REQUIRE(me.world.size > 1);
  check_all_reduce<float, float>(me);
  check_all_reduce<double, double>(me);
  check_all_reduce<float, bf16>(me);
  check_all_reduce<double, bf16>(me);
  CHECK(kernels::all_reduce.last_variant() == "mpi");
  check_copies<float>(me);
  check_copies<double>(me);
  check_copies<bf16>(me);
  check_copies<uint8_t>(me);
  check_copies<int32_t>(me);
  CHECK(default_threads() >= 1);
  CHECK(default_threads() <= std::max(1u, std::thread::hardware_concurrency() / static_cast<unsigned>(me.world.size)));
}

TEST_CASE("rank: what they tell each other" * doctest::skip()) {
  const Member me;
  const Ranks& ranks = me.ranks;
  const int rank = ranks.rank(), size = ranks.size();
  CHECK(ranks.any(me.is_last));
  CHECK_FALSE(ranks.any(false));
  const std::vector<std::string> texts = ranks.gather(std::string(static_cast<size_t>(3 * rank), 'x') + '\0');
  REQUIRE(std::ssize(texts) == size);
  for (size_t r = 0; r < texts.size(); ++r) CHECK(texts[r] == std::string(3 * r, 'x') + '\0');
  CHECK(ranks.gather(std::string()) == std::vector<std::string>(static_cast<size_t>(size)));
  CHECK(ranks.broadcast("from " + std::to_string(rank)) == "from 0");
  std::vector<double> all;
  for (int r = 0; r < size; ++r) all.insert(all.end(), static_cast<size_t>(r), r / 3.0);
  CHECK(ranks.gather(std::vector<double>(static_cast<size_t>(rank), rank / 3.0)) == all);
  for (const size_t count : {0, 1, 7, 1000}) {
    const auto share = ranks.share_of(count);
    const std::vector<double> edges = ranks.gather(std::vector<double>{static_cast<double>(share.begin), static_cast<double>(share.end)});
    CHECK(edges.front() == 0);
    CHECK(edges.back() == static_cast<double>(count));
    for (size_t i = 1; i + 1 < edges.size(); i += 2) CHECK(edges[i] == edges[i + 1]);
    CHECK(share.end - share.begin <= count / static_cast<size_t>(size) + 1);
  }
}

TEST_CASE("rank: errors of one and of all" * doctest::skip()) {
  const Member me;
  const Ranks& ranks = me.ranks;
  const std::string host = " (host " + host_name() + ")", last = "rank " + std::to_string(ranks.size() - 1) + host;
  CHECK(shared_error(ranks, [] {}) == "none");
  CHECK(shared_error(ranks, [&] { if (me.is_last) fail("no such picture"); }) == last + ": no such picture");
  CHECK(shared_error(ranks, [&] { if (ranks.is_first()) fail("no such picture"); }) == "no such picture");
  CHECK(shared_error(ranks, [&] { fail("no such picture"); }) == "no such picture");
  CHECK(shared_error(ranks, [&] { if (me.is_last) throw OutOfMemory("the card is full", 1, 0, 0); }) == last + ": the card is full");
  CHECK(contains(shared_error(ranks, [&] { if (me.is_last) throw std::bad_alloc(); }), last + ": out of memory"));
  CHECK(shared_error(ranks, [&] { ranks.together([] { fail("twice"); }); }) == "twice");
  CHECK(shared_error(ranks, [&] { ranks.check_alike("options", "seed 1", "use one file"); }) == "none");
  CHECK(shared_error(ranks, [&] { ranks.check_alike("options", me.is_last ? "seed 2" : "seed 1", "use one file"); }) ==
        "the ranks' options differ: " + last + " has seed 2, rank 0" + host + " seed 1; use one file");
}

// Unlike data are files of another content, or other names; a network that is another one becomes rank 0's.
TEST_CASE("rank: what they must have in common" * doctest::skip()) {
  const Member me;
  const Ranks& ranks = me.ranks;
  const ScratchFolder folder;
  const fs::path file = folder / "label.png";
  const PairList pairs = std::vector<Pair>{{.name = me.is_last ? "a" : "b", .label = file}, {.name = "c", .label = file}};
  const PairList alike = std::vector<Pair>{{.name = "a", .label = file}};
  write_text(file, "the same");
  CHECK(shared_error(ranks, [&] { check_same_program(ranks); }) == "none");
  CHECK(shared_error(ranks, [&] { check_same_data(ranks, alike); }) == "none");
  CHECK(contains(shared_error(ranks, [&] { check_same_data(ranks, pairs); }), "the ranks' data sets differ: "));
  write_text(file, me.is_last ? "another one" : "the same");
  CHECK(contains(shared_error(ranks, [&] { check_same_data(ranks, alike); }), "the ranks' pictures differ: "));

  asapnet::AsapNet model(tiny_model(), me.is_last ? 1 : 2);
  asapnet::GanStep gan(model, {}, 1);
  gan.keep_average(0.9);
  CHECK(contains(shared_error(ranks, [&] { check_same_weights(ranks, model); }), "the ranks' weights differ: "));
  share_state(ranks, model, gan);
  CHECK(shared_error(ranks, [&] { check_same_weights(ranks, model); }) == "none");
}

TEST_CASE("rank: stopped" * doctest::skip()) {
  const Member me;
  set_rank_timeout(2);
  if (me.ranks.rank() == 1) raise(SIGSTOP);
  CHECK_FALSE(me.ranks.any(false));
}

TEST_CASE("rank: fails alone" * doctest::skip()) {
  const Member me;
  if (me.ranks.rank() == 1) abort_job("the card\x1b is gone", 3);
  CHECK_FALSE(me.ranks.any(false));
}

TEST_CASE("one rank alone: what it says is everybody's, and its own exceptions pass") {
  ran();
  const Ranks alone;
  CHECK(alone.alone());
  CHECK(alone.gather(std::string("a")) == std::vector<std::string>{"a"});
  CHECK(alone.gather(std::vector<double>{1, 2}) == std::vector<double>{1, 2});
  CHECK(alone.broadcast("a") == "a");
  CHECK(alone.any(true));
  CHECK_THROWS_AS(alone.together([] { throw std::bad_alloc(); }), std::bad_alloc);
  CHECK_FALSE(launched());
  CHECK(default_threads() >= 1);
}

TEST_CASE("collectives of 2 and 4 ranks equal their definition, bit for bit") {
  if (!can_run_ranks()) return;
  for (const int size : {2, 4}) check_passes(size, "collectives");
}

TEST_CASE("2 and 4 ranks share texts, numbers and errors") {
  if (!can_run_ranks()) return;
  for (const int size : {2, 4}) {
    check_passes(size, "what they tell each other");
    check_passes(size, "errors of one and of all");
  }
  check_passes(3, "what they must have in common");
}

TEST_CASE("a rank that does not answer is named, once, and ended with the others") {
  if (!can_run_ranks()) return;
  const ShellEnded ended = run_ranks_of_test(4, "stopped");
  CAPTURE(ended.error);
  CHECK(ended.code != 0);      // 1, unless one of those that mpirun kills dies of something else first
  CHECK(ended.seconds < 15);  // 2 to wait; starting and ending take about 2
  CHECK(count_of(ended.error, "asapnet: ") == 1);
  const std::string sentence = "asapnet: rank 1 (host " + host_name() + ", process ";
  REQUIRE(ended.error.starts_with(sentence));
  CHECK(contains(ended.error, ") has not answered for 2 s: it is stopped, stuck or cut off"));
  const int process = std::stoi(ended.error.substr(sentence.size()));
  for (int i = 0; i < 500 && kill(process, 0) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(kill(process, 0) != 0);
}

TEST_CASE("an error that one rank alone knows of ends all of them") {
  if (!can_run_ranks()) return;
  const ShellEnded ended = run_ranks_of_test(2, "fails alone");
  CHECK(ended.code == 3);
  CHECK(ended.error == "asapnet: rank 1 (host " + host_name() + "): the card\\x1b is gone\n");
}

TEST_CASE("of several ranks the program speaks with one voice") {
  if (!can_run_ranks()) return;
  const std::string program = shell_quoted(ASAPNET_PROGRAM);
  const ShellEnded version = run_shell(mpirun(2) + program + " --version");
  CHECK(version.code == 0);
  CHECK(count_of(version.out, "asapnet ") == 1);
  CHECK(version.error == "");
  const ShellEnded serve = run_shell(mpirun(2) + program + " serve");
  CHECK(serve.code == 2);
  CHECK(serve.error == "asapnet: asapnet serve is the work of one process, and 2 were launched\n");
  const ShellEnded alone = run_shell(mpirun(1) + program + " --version : -n 1 " + program + " serve");
  CHECK(alone.code == 2);
  CHECK(alone.error == "asapnet: rank 1 (host " + host_name() + "): asapnet serve is the work of one process, and 2 were launched\n");
}

TEST_CASE("--ranks starts them; what it cannot do is one sentence") {
  if (!can_run_ranks()) return;
  const std::string program = shell_quoted(ASAPNET_PROGRAM);
  const ShellEnded nowhere = run_shell(program + " train --ranks 2");
  CHECK(nowhere.code == 2);
  CHECK(nowhere.error == "asapnet: train needs either --out DIR for a new run or --resume DIR to continue one\n");
  const ShellEnded other = run_shell(mpirun(2) + program + " train --ranks 3 --out nowhere");
  CHECK(other.code == 2);
  CHECK(other.error == "asapnet: --ranks 3 does not go with the 2 that were launched\n");
  const ShellEnded lost = run_shell("env PATH=/nowhere " + program + " train --ranks 2");
  CHECK(lost.code == 1);
  CHECK(contains(lost.error, "asapnet: --ranks 2 needs the program mpirun of Open MPI"));
}
