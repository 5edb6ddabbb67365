// What the outside does to a training by several ranks: a rank is killed or stopped, the disk of the first is full, signals come, the
// ranks are given different options. On the program itself; what was saved goes on.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>

#include "tests/support/ranks.h"
#include "train/files/user_text.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"
#include "train/run/run_log.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

constexpr const char* kEndless = "1000000";

bool can_run() {
  // mpirun, of tests: as root, too, and within this machine.
  for (const char* pair : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"}) setenv(pair, "1", 1);
  return can_run_ranks();
}

// Data and a config file of batches of 4; runs go to `run`.
struct Workshop {
  ScratchFolder folder;
  fs::path config = folder / "tiny.json", run = folder / "run";

  Workshop() {
    train::Options options = tiny_options(make_tiny_data(folder / "data"));
    options.train.batchSize = 4;
    write_text(config, train::options_to_json(options));
  }
  std::vector<std::string> fresh(int ranks, const std::string& steps, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"train", "--config", config.string(), "--out", run.string(), "--steps", steps, "--save-every", "5", "--ranks",
                               std::to_string(ranks)});
    return more;
  }
  void wait_for_steps(size_t count) const {
    wait_until("steps in the log", [&] { return train::read_log(run / "log.jsonl").size() >= count; });
  }
  // Goes on to one step more than are saved.
  void resume_one_step(int ranks) const {
    const std::string next = std::to_string(train::read_trainer_state(train::latest_checkpoint(run)).step + 1);
    Program program(folder.path(), {"train", "--resume", run.string(), "--steps", next, "--ranks", std::to_string(ranks)});
    const int code = program.wait();
    CAPTURE(program.error());
    CHECK(code == 0);
    CHECK(contains(program.out(), "finished after step " + next));
  }
  // The process of a rank of this workshop's run, by the environment that mpirun gave it.
  pid_t process_of(int rank) const {
    const std::string mark = std::string(1, '\0') + "OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + '\0';
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (!std::isdigit(static_cast<unsigned char>(name[0])) || !contains(read_text(entry.path() / "cmdline"), folder.path().string())) continue;
      if (contains(read_text(entry.path() / "environ"), mark)) return std::stoi(name);
    }
    FAIL("no such rank");
    return 0;
  }
};

std::string rank_one() { return "asapnet: rank 1 (host " + train::host_name(); }

}  // namespace

TEST_CASE("a rank that is killed is named, and the last checkpoint goes on") {
  if (!can_run()) return;
  const Workshop shop;
  Program program(shop.folder.path(), shop.fresh(2, kEndless));
  shop.wait_for_steps(10);
  REQUIRE(kill(shop.process_of(1), SIGKILL) == 0);
  CHECK(program.wait() == 1);
  CHECK(program.error() == rank_one() + ") was killed by signal 9 (Killed), and with it the job ends; what was saved last stays\n");
  shop.resume_one_step(2);
}

TEST_CASE("a rank that is stopped is named in time") {
  if (!can_run()) return;
  const Workshop shop;
  Program program(shop.folder.path(), shop.fresh(4, kEndless, {"--rank-timeout", "3"}));
  shop.wait_for_steps(10);
  const pid_t stopped = shop.process_of(1);
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(kill(stopped, SIGSTOP) == 0);
  CHECK(program.wait() == 1);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK(program.error() == rank_one() + ", process " + std::to_string(stopped) +
                               ") has not answered for 3 s: it is stopped, stuck or cut off; the job ends here, and what was saved last stays\n");
  shop.resume_one_step(1);
}

TEST_CASE("Ctrl-C, SIGTERM and a closed terminal let the ranks finish their step and save") {
  if (!can_run()) return;
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal_number);
    const Workshop shop;
    Program program(shop.folder.path(), shop.fresh(2, kEndless));
    shop.wait_for_steps(3);
    program.send(signal_number);
    CHECK(program.wait() == 130);
    CHECK(program.error() == "asapnet: finishing this step, then saving; Ctrl-C again ends without saving\n");
    CHECK(contains(program.out(), "everything is saved"));
    if (signal_number == SIGINT) shop.resume_one_step(2);
  }
}

TEST_CASE("while the first rank's disk is full, the ranks train on; they save when there is room") {
  if (!can_run()) return;
  const Workshop shop;
  Program program(shop.folder.path(), shop.fresh(2, kEndless));
  shop.wait_for_steps(10);
  const pid_t first = shop.process_of(0);
  rlimit before{};
  REQUIRE(prlimit(first, RLIMIT_FSIZE, nullptr, &before) == 0);
  const rlimit full{.rlim_cur = 2000, .rlim_max = before.rlim_max};
  REQUIRE(prlimit(first, RLIMIT_FSIZE, &full, nullptr) == 0);
  wait_until("a save that fails", [&] { return contains(program.error(), "the next save tries again"); });
  REQUIRE(prlimit(first, RLIMIT_FSIZE, &before, nullptr) == 0);
  program.send(SIGINT);
  CHECK(program.wait() == 130);
  CHECK(contains(program.error(), "cannot be written (File too large); training goes on"));
  CHECK(contains(program.out(), "everything is saved"));
  shop.resume_one_step(2);
}

TEST_CASE("ranks that were given different options are refused by one of them") {
  if (!can_run()) return;
  const Workshop shop;
  const auto rank = [&](const std::string& seed) {
    return " --bind-to none -n 1 " + train::shell_quoted(ASAPNET_PROGRAM) + " train --config " + shop.config.string() + " --out " +
           shop.run.string() + " --seed " + seed;
  };
  const std::string error = (shop.folder / "error").string();
  const std::string command = "timeout 60 mpirun -q --oversubscribe --mca btl self,vader --mca pml ob1" + rank("1") + " :" + rank("2") +
                              " > /dev/null 2> " + error;
  const int status = std::system(command.c_str());
  const std::string text = read_text(error);
  CAPTURE(text);
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(text.starts_with("asapnet: the ranks' "));
  CHECK(contains(text, "seed"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK_FALSE(fs::exists(shop.run / "checkpoints"));
}
