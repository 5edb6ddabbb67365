// What the outside does to a training: signals, a reader that leaves, closed streams, sudden death. All on the program
// itself; what it leaves goes on to the same weights as a run that nobody disturbed.
#include <sys/stat.h>

#include <map>

#include "tests/support/child.h"
#include "tests/support/process.h"
#include "tests/support/skip.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"
#include "train/run/interrupt.h"
#include "train/run/run_log.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

constexpr const char* kEndless = "1000000";

// Data and a config file; runs go to `run`.
struct Workshop {
  ScratchFolder folder;
  fs::path config = folder / "tiny.json", run = folder / "run";

  Workshop() { write_text(config, train::options_to_json(tiny_options(make_tiny_data(folder / "data")))); }

  std::vector<std::string> fresh(const std::string& steps, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"train", "--config", config.string(), "--out", run.string(), "--steps", steps});
    return more;
  }
  void wait_for_steps(size_t count) const {
    wait_until("steps in the log", [&] { return train::read_log(run / "log.jsonl").size() >= count; });
  }
  // Goes on to one step more than are done; the step it went on from.
  int64_t resume_one_step() const {
    const int64_t saved = train::read_trainer_state(train::latest_checkpoint(run)).step;
    Program program(folder.path(), {"train", "--resume", run.string(), "--steps", std::to_string(saved + 1)});
    CHECK(program.wait() == 0);
    CHECK(contains(program.out(), "finished after step " + std::to_string(saved + 1)));
    return saved;
  }
};

bool catches(pid_t process, int signal_number) {
  const std::string status = read_text("/proc/" + std::to_string(process) + "/status");
  const size_t place = status.find("SigCgt:");
  return place != std::string::npos &&
         (std::stoull(status.substr(place + 7), nullptr, 16) >> (signal_number - 1) & 1) != 0;
}

void wait_past_double_press() { std::this_thread::sleep_for(std::chrono::milliseconds(1100)); }

}  // namespace

TEST_CASE("case own-sighup: Ctrl-C, SIGTERM and a closed terminal finish the step, save, and exit with 130") {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    CAPTURE(signal_number);
    const Workshop shop;
    // No saves on the way: the signal meets a step. What one says that meets a save is tested below.
    Program program(shop.folder.path(), shop.fresh(kEndless, {"--save-every", "0"}));
    shop.wait_for_steps(3);
    program.send(signal_number);
    CHECK(program.wait() == train::kInterruptedExitCode);
    CHECK(program.error() == "asapnet: finishing this step, then saving; Ctrl-C again ends without saving\n");
    CHECK(contains(program.out(), "everything is saved; continue with: asapnet train --resume " + shop.run.string()));
    const auto log = train::read_log(shop.run / "log.jsonl");
    CHECK(shop.resume_one_step() == log.back().step);
    CHECK_FALSE(fs::exists(shop.run / "train.lock"));
  }
  ran();
}

TEST_CASE("a hangup that was ignored at the start (nohup) stays ignored") {
  const Workshop shop;
  signal(SIGHUP, SIG_IGN);
  Program program(shop.folder.path(), shop.fresh(kEndless));
  signal(SIGHUP, SIG_DFL);
  shop.wait_for_steps(2);
  program.send(SIGHUP);
  shop.wait_for_steps(train::read_log(shop.run / "log.jsonl").size() + 3);
  program.send(SIGTERM);
  CHECK(program.wait() == train::kInterruptedExitCode);
}

TEST_CASE("a signal during set-up ends the program at once, and nothing was made") {
  const Workshop shop;
  fs::create_directories(shop.run);  // the user's own empty folder
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    // Weights that take a while to draw; the signal comes as soon as it is caught.
    Program program(shop.folder.path(), shop.fresh("1", {"--lr-max-width", "1024", "--lr-depth", "6"}));
    wait_until("the signals' handlers", [&] { return catches(program.id(), signal_number); });
    program.send(signal_number);
    CHECK(program.wait() == train::kInterruptedExitCode);
    CHECK(program.error() == "asapnet: stopped before the training began; nothing was changed\n");
    CHECK(fs::is_empty(shop.run));
  }
}

TEST_CASE("Ctrl-C twice ends without saving; what comes within a second is one request; other signals never hurry") {
  const auto presses = [](const std::function<void()>& press) {
    return in_child(
        "UNUSED", "",
        [&] {
          train::InterruptGuard guard;
          guard.training_begins();
          CHECK_FALSE(guard.requested());
          press();
          std::cerr << "alive\n";
          _exit(guard.requested() ? 130 : 1);
        },
        130);
  };
  const std::string first = "asapnet: finishing this step, then saving; Ctrl-C again ends without saving\n",
                    last = "asapnet: ended at once; the checkpoint saved last stays\n";
  CHECK(presses([] { raise(SIGINT), raise(SIGINT); }) == first + "alive\n");
  CHECK(presses([] {
          raise(SIGHUP);
          wait_past_double_press();
          raise(SIGTERM), raise(SIGHUP);
        }) == first + "alive\n");
  CHECK(presses([] {
          raise(SIGTERM);
          wait_past_double_press();
          raise(SIGINT);
        }) == first + last);
  // A save that has begun is dropped by a third only.
  CHECK(presses([] {
          raise(SIGINT);
          const train::SavingNow saving;
          wait_past_double_press();
          raise(SIGINT);
        }) == first + "asapnet: still saving; Ctrl-C once more ends without this save\nalive\n");
  CHECK(presses([] {
          const train::SavingNow saving;
          raise(SIGINT);
          wait_past_double_press();
          raise(SIGINT);
          wait_past_double_press();
          raise(SIGINT);
        }) == "asapnet: saving, then ending\nasapnet: still saving; Ctrl-C once more ends without this save\n" + last);
}

TEST_CASE("a reader that leaves (| head): the training goes on without it and says so; other commands end quietly") {
  const Workshop shop;
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const auto into_pipe = [&](posix_spawn_file_actions_t* actions) {
    posix_spawn_file_actions_adddup2(actions, ends[1], STDOUT_FILENO);
  };
  close(ends[0]);
  Program program(shop.folder.path(), shop.fresh("4"), into_pipe);
  program.wait();
  CHECK(contains(program.error(), "standard output takes no more; training goes on without it"));
  CHECK(train::latest_checkpoint(shop.run).filename() == "step_000004");
  Program inspect(shop.folder.path(), {"inspect", shop.run.string()}, into_pipe);
  CHECK(inspect.wait() == 128 + SIGPIPE);
  CHECK(inspect.error() == "");
  close(ends[1]);
}

TEST_CASE("case 26-stdout-closed: no file of the run takes the place of a closed stream") {
  for (const std::vector<int>& closed : std::vector<std::vector<int>>{{1}, {0, 1, 2}, {2}}) {
    const Workshop shop;
    Program program(shop.folder.path(), shop.fresh("2"), [&](posix_spawn_file_actions_t* actions) {
      for (const int stream : closed) posix_spawn_file_actions_addclose(actions, stream);
    });
    CHECK(program.wait() == 0);
    CHECK(train::read_log(shop.run / "log.jsonl").size() == 2);
    const std::string log = read_text(shop.run / "log.jsonl");
    CHECK(std::count(log.begin(), log.end(), '\n') == 2);
    CHECK(read_text(shop.run / "config.json").ends_with("}\n"));
  }
}

TEST_CASE("killed at any moment, the run goes on to the weights of a run that was not") {
  const Workshop shop;
  std::map<std::string, std::string> whole;
  constexpr int64_t kSteps = 12;
  {
    Program program(shop.folder.path(), shop.fresh(std::to_string(kSteps)));
    REQUIRE(program.wait() == 0);
    for (const auto& entry : fs::directory_iterator(train::latest_checkpoint(shop.run)))
      whole[entry.path().filename().string()] = read_text(entry.path());
    fs::remove_all(shop.run);
  }
  bool begun = false;
  for (int kills = 0; kills < 8; ++kills) {
    const std::vector<std::string> go_on{"train", "--resume", shop.run.string()};
    Program program(shop.folder.path(),
                    begun ? go_on : shop.fresh(std::to_string(kSteps), {"--save-every", "1", "--sample-every", "1"}));
    // At another moment of a step and a save each time.
    const size_t before = train::read_log(shop.run / "log.jsonl").size();
    if (before + 1 >= kSteps) break;
    shop.wait_for_steps(before + 1);
    std::this_thread::sleep_for(std::chrono::microseconds(kills * 1700));
    kill(program.id(), SIGKILL);
    program.wait();
    begun = !train::latest_checkpoint(shop.run).empty();
  }
  Program program(shop.folder.path(), {"train", "--resume", shop.run.string()});
  REQUIRE(program.wait() == 0);
  const fs::path checkpoint = train::latest_checkpoint(shop.run);
  CHECK(checkpoint.filename() == "step_000012");
  for (const auto& [name, bytes] : whole) {
    CAPTURE(name);
    CHECK(read_text(checkpoint / name) == bytes);
  }
  for (const auto& entry : fs::recursive_directory_iterator(shop.run)) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    CHECK_FALSE(name.starts_with("."));  // nothing half written is left
  }
  CHECK(train::read_log(shop.run / "log.jsonl").size() == kSteps);
}
