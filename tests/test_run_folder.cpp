// A run's folder under hard use: two processes, damage, full disks, files of the user's in the way. What a training has
// learned stays, and nothing that somebody else wrote goes.
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cmath>
#include <iostream>
#include <map>

#include "tests/support/process.h"
#include "tests/support/skip.h"
#include "train/cli/cli.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"
#include "train/run/run_log.h"
#include "train/run/trainer.h"

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

int lock_error = 0;  // what flock below fails with; 0: nothing

}  // namespace

extern "C" int flock(int file, int operation) noexcept {
  if (lock_error == 0) return static_cast<int>(syscall(SYS_flock, file, operation));
  errno = lock_error;
  return -1;
}

namespace {

const auto never = [] { return false; };

// Runs f with standard error caught.
template <class F>
std::string complaints(F&& f) {
  std::ostringstream text;
  const std::unique_ptr<std::streambuf, void (*)(std::streambuf*)> old(std::cerr.rdbuf(text.rdbuf()),
                                                                       [](auto* before) { std::cerr.rdbuf(before); });
  f();
  return text.str();
}

struct Result {
  int code = 0;
  std::string error;
};

// The program, in this process.
Result run_program(const std::vector<std::string>& arguments) {
  Result result;
  std::ostringstream out;
  std::streambuf* old = std::cout.rdbuf(out.rdbuf());
  result.error = complaints([&] { result.code = run_command_line(arguments); });
  std::cout.rdbuf(old);
  return result;
}

// Every file below a folder, by its path there.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_text(entry.path());
  }
  return files;
}

// Data, and runs of a tiny model on it.
struct Workshop {
  ScratchFolder folder;
  fs::path run = folder / "run", checkpoints = run / "checkpoints";
  Options options = tiny_options(make_tiny_data(folder / "data"));

  Workshop() { options.train.sample_every = {0, false}; }

  fs::path step(int64_t number) const { return checkpoints / ("step_00000" + std::to_string(number)); }

  // What the training had to say on standard error.
  std::string train_fresh(int64_t steps, const std::function<bool()>& stop = never) {
    options.train.steps = steps;
    resolve(options);
    return complaints([&] { Trainer(options, run, StartMode::fresh).train(stop); });
  }
  std::string train_on(int64_t steps, const fs::path& checkpoint = {}) const {
    Options read;
    options_from_json_file(run / "config.json", read);
    read.train.steps = steps;
    resolve(read);
    return complaints([&] {
      Trainer trainer(read, run, StartMode::resume, checkpoint);
      CHECK(trainer.train(never) == Outcome::finished);
    });
  }
  std::string error_fresh() {
    resolve(options);
    return error_of([&] { Trainer(options, run, StartMode::fresh).train(never); });
  }
  std::string error_on(int64_t steps) const {
    return error_of([&] { train_on(steps); });
  }
};

void flip_bit(const fs::path& file, size_t place) {
  std::string bytes = read_text(file);
  bytes.at(place) = static_cast<char>(bytes.at(place) ^ 4);
  write_text(file, bytes);
}

// Files cannot grow beyond `bytes` while it lives.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE(
    "case 25-two-trainings-one-folder: the second process is refused and told the first; a dead one is not in the "
    "way") {
  const Workshop shop;
  Options options = shop.options;
  options.train.save_every = {2, false};
  write_text(shop.folder / "tiny.json", options_to_json(options));
  const std::string config = (shop.folder / "tiny.json").string(), run = shop.run.string();
  const std::vector<std::string> endless{"train", "--config", config, "--out", run, "--steps", "1000000"};
  const auto check_refused = [&](pid_t process) {
    fs::create_directory_symlink(shop.run, shop.folder / "link");
    for (const std::string& folder : {run, (shop.folder / "link").string()}) {
      for (const char* flag : {"--resume", "--out"}) {
        std::vector<std::string> arguments{"train", flag, folder, "--steps", "1"};
        if (std::string(flag) == "--out") arguments.insert(arguments.end(), {"--config", config});
        const Result refused = run_program(arguments);
        CHECK(refused.code == 1);
        CHECK(refused.error ==
              "asapnet: train: " + folder + " is being trained by process " + std::to_string(process) + "\n");
      }
    }
    fs::remove(shop.folder / "link");
  };
  {
    Program first(shop.folder.path(), endless);
    wait_until("a checkpoint", [&] { return fs::exists(shop.checkpoints / "latest"); });
    check_refused(first.id());
    kill(first.id(), SIGSTOP);  // one that hangs still has the run
    check_refused(first.id());
    kill(first.id(), SIGCONT);
    kill(first.id(), SIGKILL);
    first.wait();
  }
  CHECK(fs::exists(shop.run / "train.lock"));
  const int64_t saved = read_trainer_state(latest_checkpoint(shop.run)).step;
  CHECK(run_program({"train", "--resume", run, "--steps", std::to_string(saved + 1)}).code == 0);
  CHECK_FALSE(fs::exists(shop.run / "train.lock"));
  CHECK(read_log(shop.run / "log.jsonl").size() == static_cast<size_t>(saved) + 1);
  ran();
}

TEST_CASE("two new runs at the same moment: one of them is refused before it writes") {
  Workshop shop;
  resolve(shop.options);
  shop.options.train.steps = 2;
  Trainer first(shop.options, shop.run, StartMode::fresh), second(shop.options, shop.run, StartMode::fresh);
  std::string error;
  int asked = 0;
  first.train([&] {
    if (asked++ == 1) error = error_of([&] { second.train(never); });
    return false;
  });
  CHECK(contains(error, "is being trained by process " + std::to_string(getpid())));
  CHECK(contains(error_of([&] { second.train(never); }), "is being trained by"));  // `first` still has the run
  CHECK(latest_checkpoint(shop.run) == shop.step(2));
}

TEST_CASE("a lock that somebody removed is taken again, or lost to who was faster: never do two write") {
  Workshop shop;
  shop.options.train.save_every = {1, false};
  const fs::path lock = shop.run / "train.lock";
  shop.train_fresh(2, [&] {
    fs::remove(lock);
    return false;
  });
  CHECK(latest_checkpoint(shop.run) == shop.step(2));
  std::unique_ptr<RunLock> other;
  std::string error;
  Options options;
  options_from_json_file(shop.run / "config.json", options);
  options.train.steps = 5;
  resolve(options);
  {
    Trainer trainer(options, shop.run, StartMode::resume);
    error = error_of([&] {
      trainer.train([&] {
        if (trainer.step() < 3 || other) return false;
        fs::remove(lock);
        other = std::make_unique<RunLock>(shop.run);
        return false;
      });
    });
  }
  CHECK(contains(error, "is being trained by process"));
  CHECK(contains(error, "the last good checkpoint is " + shop.step(3).string()));
  CHECK(fs::exists(lock));  // the other's
}

TEST_CASE("a file system without locks: said, and trained all the same") {
  Workshop shop;
  lock_error = ENOLCK;
  const std::string said = shop.train_fresh(1);
  lock_error = 0;
  CHECK(contains(said, "train.lock: cannot be locked (No locks available); make sure that no other process trains in"));
  CHECK(latest_checkpoint(shop.run) == shop.step(1));
}

TEST_CASE("samples, report and log that cannot be written are told once and end nothing; checkpoints come first") {
  Workshop shop;
  shop.options.train.sample_every = shop.options.train.save_every = {1, false};
  fs::create_directories(shop.run);
  resolve(shop.options);
  shop.options.train.steps = 4;
  const std::string said = complaints([&] {
    Trainer trainer(shop.options, shop.run, StartMode::fresh);
    CHECK(trainer.train([&] {
      if (trainer.step() != 1) return false;
      fs::remove_all(shop.run / "samples");
      fs::remove(shop.run / "report.html");
      write_text(shop.run / "samples", "in the way");
      fs::create_directories(shop.run / "report.html");
      return false;
    }) == Outcome::finished);
  });
  const auto count = [&](const std::string& part) {
    size_t times = 0;
    for (size_t at = said.find(part); at != std::string::npos; at = said.find(part, at + 1)) ++times;
    return times;
  };
  CHECK(count("training goes on without these samples") == 1);
  CHECK(count((shop.run / "samples").string()) == 1);
  CHECK(count((shop.run / "report.html").string() + ": cannot be written") == 1);
  CHECK(count("\n") == 2);
  CHECK(latest_checkpoint(shop.run) == shop.step(4));
  CHECK(read_log(shop.run / "log.jsonl").size() == 4);
}

TEST_CASE("log: what does not fit the disk is written once it does") {
  ScratchFolder folder;
  const LogEntry entry{.step = 1, .epoch = 1, .losses = {{"GAN", 0.5}}, .lr = 0.1, .seconds = 2};
  RunLog log(folder / "log.jsonl", 0);
  log.append(entry);
  {
    const FileLimit full(fs::file_size(folder / "log.jsonl") + 10);
    for (int i = 0; i < 2; ++i) CHECK(contains(error_of([&] { log.append(entry); }), "log.jsonl: cannot be written ("));
    CHECK(read_log(folder / "log.jsonl").size() == 1);
  }
  log.append(entry);
  CHECK(read_log(folder / "log.jsonl").size() == 4);
}

TEST_CASE("log: lines that are no entry are kept aside, told once, and block neither resuming nor the report") {
  Workshop shop;
  shop.train_fresh(3);
  std::string text = read_text(shop.run / "log.jsonl");
  const size_t second = text.find('\n') + 1;
  text.insert(second, "nonsense\n\n{\"step\":\"one\"}\n");
  write_text(shop.run / "log.jsonl", text + "{\"step\":9,\"epo");  // and what a crash cut off
  CHECK(read_log(shop.run / "log.jsonl").size() == 3);
  const std::string said = shop.train_on(4);
  CHECK(said == "asapnet: " + (shop.run / "log.jsonl").string() +
                    ": line 2 (and 2 more) is no entry of a training step; left out and kept in log.jsonl.bad\n");
  CHECK(read_text(shop.run / "log.jsonl.bad") == "nonsense\n\n{\"step\":\"one\"}\n");
  const auto log = read_log(shop.run / "log.jsonl");
  REQUIRE(log.size() == 4);
  for (size_t i = 0; i < 4; ++i) CHECK(log[i].step == static_cast<int64_t>(i) + 1);
  CHECK(contains(read_text(shop.run / "report.html"), "4 of 4"));
  CHECK(shop.train_on(5) == "");

  write_text(shop.run / "log.jsonl", "more\n" + read_text(shop.run / "log.jsonl"));
  shop.train_on(6);
  CHECK(read_text(shop.run / "log.jsonl.bad").ends_with("{\"step\":\"one\"}\nmore\n"));
}

TEST_CASE("log: scores stand between the steps, and go with those that are done again") {
  ScratchFolder folder;
  const fs::path path = folder / "log.jsonl";
  const LogEntry entry{.step = 1, .epoch = 1, .losses = {{"GAN", 0.5}}, .lr = 0.1, .seconds = 2};
  {
    RunLog log(path, 0);
    for (int64_t step : {1, 2, 3}) {
      LogEntry next = entry;
      next.step = step;
      log.append(next);
      log.append({.step = step, .scores = {{"psnr", 10.0 + double(step)}, {"frechet", std::nan("")}}});
    }
  }
  CHECK(contains(read_text(path), "{\"step\":2,\"scores\":{\"psnr\":12.0,\"frechet\":null}}\n"));
  CHECK(read_log(path).size() == 3);
  REQUIRE(read_scores(path).size() == 3);
  CHECK(read_scores(path)[2].step == 3);
  CHECK(read_scores(path)[2].scores[0] == std::pair<std::string, double>{"psnr", 13});
  CHECK(std::isnan(read_scores(path)[2].scores[1].second));
  const RunLog resumed(path, 2);
  CHECK(resumed.warning() == "");
  CHECK(read_log(path).size() == 2);
  CHECK(read_scores(path).size() == 2);
  CHECK(read_scores(path).back().step == 2);
}

TEST_CASE("a save that fails on the way is tried again; the last one that succeeded is named") {
  Workshop shop;
  shop.options.train.save_every = {1, false};
  resolve(shop.options);
  shop.options.train.steps = 4;
  const std::string said = complaints([&] {
    std::unique_ptr<FileLimit> full;
    Trainer trainer(shop.options, shop.run, StartMode::fresh);
    CHECK(trainer.train([&] {
      if (trainer.step() == 1) full = std::make_unique<FileLimit>(4000);
      if (trainer.step() == 3) full.reset();
      return false;
    }) == Outcome::finished);
  });
  CHECK(contains(said,
                 "G.safetensors: cannot be written (File too large); training goes on, and the next save tries "
                 "again; the last good checkpoint is " +
                     shop.step(1).string()));
  CHECK(contains(contents(shop.run).at("log.jsonl"), "\"step\":4"));
  CHECK(latest_checkpoint(shop.run) == shop.step(4));
  CHECK_FALSE(fs::exists(shop.step(1)));
  for (const auto& entry : fs::directory_iterator(shop.checkpoints))
    CHECK_FALSE(entry.path().filename().string().starts_with("."));
}

TEST_CASE("a disk that is full from the first save on: one sentence at the end, and everything as it was") {
  Workshop shop;
  const fs::path disk = shop.folder / "disk";
  fs::create_directories(disk);
  if (mount("none", disk.c_str(), "tmpfs", 0, "size=300k") != 0)
    return skip("a full disk needs a tmpfs, and mounting one is not permitted here");
  ran();
  shop.run = disk / "run";
  shop.checkpoints = shop.run / "checkpoints";
  shop.train_fresh(2);
  const auto before = contents(shop.checkpoints);
  {
    std::ofstream filler(disk / "filler", std::ios::binary);
    while (filler.put('x').flush()) {
    }
  }
  const Result full = run_program({"train", "--resume", shop.run.string(), "--steps", "4"});
  CHECK(full.code == 1);
  CHECK(contains(full.error, "No space left on device"));
  CHECK(contents(shop.checkpoints) == before);
  // Room for settings and log, not for a second checkpoint.
  fs::resize_file(disk / "filler", fs::file_size(disk / "filler") - 20'000);
  const Result short_of = run_program({"train", "--resume", shop.run.string(), "--steps", "4", "--save-every", "1"});
  CHECK(short_of.code == 1);
  CHECK(contains(short_of.error, "training goes on, and the next save tries again"));
  CHECK(contains(short_of.error,
                 "what was learned up to step 4 is not saved; the last good checkpoint is " + shop.step(2).string()));
  CHECK(contents(shop.checkpoints) == before);
  fs::remove(disk / "filler");
  CHECK(run_program({"train", "--resume", shop.run.string(), "--steps", "4"}).code == 0);
  CHECK(latest_checkpoint(shop.run) == shop.step(4));
  umount2(disk.c_str(), MNT_DETACH);
}

TEST_CASE("`latest` lost or unreadable: complete checkpoints are found by looking, and never started over") {
  Workshop shop;
  shop.options.train.keep_checkpoints = true;
  shop.options.train.save_every = {1, false};
  shop.train_fresh(3);
  fs::remove(shop.step(3) / "D.safetensors");  // not complete
  const fs::path latest = shop.checkpoints / "latest";
  SUBCASE("missing") { fs::remove(latest); }
  SUBCASE("empty") { write_text(latest, ""); }
  SUBCASE("no name") { write_text(latest, "../../etc\n"); }
  SUBCASE("no such checkpoint") { write_text(latest, "step_000009\n"); }
  SUBCASE("a folder") {
    fs::remove(latest);
    fs::create_directories(latest);
  }
  const auto before = contents(shop.run);
  CHECK(contains(shop.error_fresh(), "already holds a training run"));
  CHECK(contents(shop.run) == before);
  CHECK(latest_checkpoint(shop.run) == shop.step(2));
  if (fs::is_directory(latest)) return;  // a file cannot take its place: the end of this one
  const std::string said = shop.train_on(4);
  CHECK(contains(said, latest.string()));
  CHECK(contains(said, "; taking step_000002, the newest complete one"));
  CHECK(latest_checkpoint(shop.run) == shop.step(4));
}

TEST_CASE("checkpoints that are all incomplete are not started over either") {
  Workshop shop;
  shop.train_fresh(1);
  fs::remove(shop.checkpoints / "latest");
  fs::remove(shop.step(1) / "trainer.json");
  const auto before = contents(shop.run);
  const std::string error = shop.error_fresh();
  CHECK(contains(error, shop.step(1).string()));
  CHECK(contains(error, "choose another --out"));
  CHECK(contains(shop.error_on(2), "no checkpoint"));
  CHECK(contents(shop.run) == before);
}

TEST_CASE("a flipped bit in any file of a checkpoint is noticed and named, and the checkpoint before it goes on") {
  Workshop shop;
  shop.options.train.keep_checkpoints = true;
  shop.options.train.save_every = {1, false};
  shop.train_fresh(3);
  std::map<std::string, std::string> whole = contents(shop.step(3));
  REQUIRE(whole.size() == 5);
  for (const auto& [name, bytes] : whole) {
    CAPTURE(name);
    const fs::path file = shop.step(3) / name;
    // trainer.json has digits at its end, and neither a digit nor a tensor's number is wrong by itself.
    flip_bit(file, bytes.size() - 6);
    const std::string error = shop.error_on(4);
    CHECK(contains(error, file.string() + ": damaged (its checksum is "));
    CHECK(contains(error,
                   "step_000002 is complete: go on from there with asapnet train --resume " + shop.step(2).string()));
    if (name == "G.safetensors") {
      const std::vector<std::string> out{"--labels", (shop.folder / "data" / "base" / "cmp_b0001.png").string(),
                                         "--out", (shop.folder / "out").string()};
      for (const fs::path& weights : {shop.run, shop.step(3), file}) {
        std::vector<std::string> arguments{"generate", "--weights", weights.string()};
        arguments.insert(arguments.end(), out.begin(), out.end());
        const Result refused = run_program(arguments);
        CHECK(refused.code == 1);
        CHECK(contains(refused.error, "damaged"));
        CHECK(run_program({"inspect", weights.string()}).code == 1);
      }
    }
    write_text(file, bytes);
  }
  // From the checkpoint before, by the command that the error gave. What it would replace and is no copy stays.
  flip_bit(shop.step(3) / "G.safetensors", whole.at("G.safetensors").size() / 2);
  CHECK(run_program({"train", "--resume", shop.step(2).string() + "/", "--steps", "3"}).code == 0);
  CHECK(contents(shop.step(3)) == whole);
  CHECK_FALSE(fs::exists(shop.checkpoints / "step_000003.old"));
  write_text(shop.step(3) / "trainer.json", "mine");
  CHECK(run_program({"train", "--resume", shop.step(2).string(), "--steps", "3"}).code == 0);
  CHECK(contents(shop.step(3)) == whole);
  CHECK(read_text(shop.checkpoints / "step_000003.old" / "trainer.json") == "mine");
}

TEST_CASE("checkpoints from before there were checksums are read") {
  Workshop shop;
  shop.train_fresh(2);
  write_text(shop.step(2) / "trainer.json",
             R"({"step": 2, "epoch": 2, "batch_in_epoch": 0, "batches_per_epoch": 2, "noise_seed": 1,)"
             R"( "noise_offset": 0, "lr": 0.0002})");
  CHECK(shop.train_on(3) == "");
  CHECK(read_trainer_state(shop.step(3)).noise_seed == 1);
}

TEST_CASE("only checkpoints that a run wrote are removed, and those that a kill left half written") {
  Workshop shop;
  shop.train_fresh(2);
  const std::vector<fs::path> kept{shop.checkpoints / "step_000002 copy", shop.checkpoints / "step_best",
                                   shop.checkpoints / "step_2", shop.checkpoints / "step_000001",
                                   shop.checkpoints / "step_000009"};
  for (const fs::path& copy : kept) fs::copy(shop.step(2), copy);  // steps 1 and 9 by name alone
  write_text(shop.checkpoints / "step_notes", "mine");
  for (const fs::path& half : {shop.checkpoints / ".step_000001.partial", shop.checkpoints / ".step_000007.partial"}) {
    fs::create_directories(half);
    write_text(half / "G.safetensors", "half");
  }
  write_text(shop.run / ".asapnet-77-1.tmp", "half");
  shop.train_on(4);
  for (const fs::path& copy : kept) {
    CAPTURE(copy.string());
    CHECK(contents(copy).size() == 5);
  }
  CHECK(read_text(shop.checkpoints / "step_notes") == "mine");
  CHECK_FALSE(fs::exists(shop.step(2)));
  CHECK_FALSE(fs::exists(shop.checkpoints / ".step_000001.partial"));
  CHECK_FALSE(fs::exists(shop.checkpoints / ".step_000007.partial"));
  CHECK_FALSE(fs::exists(shop.run / ".asapnet-77-1.tmp"));

  write_text(shop.step(4) / "notes.txt", "the best so far");  // what somebody wrote into one keeps it
  shop.train_on(5);
  CHECK(contents(shop.step(4)).size() == 6);
}

TEST_CASE("a new run replaces nothing: what is in the way is named") {
  Workshop shop;
  fs::create_directories(shop.run / "samples");
  const auto refused = [&](const fs::path& file, const std::string& text) {
    write_text(file, text);
    CAPTURE(file.string());
    CHECK(contains(shop.error_fresh(), "train: " + file.string() + " is there already"));
    CHECK(read_text(file) == text);
    fs::remove(file);
  };
  refused(shop.run / "config.json", "{\"of\": \"another program\"}");
  refused(shop.run / "config.json", "{\"ndf\": 6}");  // options by hand
  refused(shop.run / "report.html", "mine");
  refused(shop.run / "log.jsonl", "mine");
  refused(shop.run / "samples" / "mine.png", "mine");
  refused(shop.run / "checkpoints", "mine");
  write_text(shop.folder / "file", "");
  shop.run = shop.folder / "file";
  CHECK(contains(shop.error_fresh(), "is a file"));
  shop.run = shop.folder / std::string(300, 'z');
  CHECK(contains(shop.error_fresh(), "zzz cannot be the folder of a run (File name too long)"));
}

TEST_CASE("files beside a run's own, and a run that ended before its first save, are in nobody's way") {
  Workshop shop;
  fs::create_directories(shop.run);
  write_text(shop.run / "notes.txt", "mine");
  shop.train_fresh(2);
  CHECK(read_text(shop.run / "notes.txt") == "mine");
  fs::remove_all(shop.checkpoints);
  CHECK(contains(shop.error_fresh(), "is there already"));  // its report is left
  fs::remove(shop.run / "report.html");
  fs::remove_all(shop.run / "samples");
  shop.train_fresh(1);
  CHECK(read_log(shop.run / "log.jsonl").size() == 1);
}

TEST_CASE("settings that a run cannot change are compared with the checkpoint's") {
  Workshop shop;
  shop.train_fresh(2);
  const std::string config = read_text(shop.run / "config.json");
  const auto with = [&](const std::string& before, const std::string& after) {
    std::string text = config;
    REQUIRE(contains(text, before));
    write_text(shop.run / "config.json", text.replace(text.find(before), before.size(), after));
  };
  const fs::path checkpoint = shop.step(2);
  with("\"lr\": 0.0002", "\"lr\": 0.5");
  CHECK(shop.error_on(3) ==
        "train: " + (shop.run / "config.json").string() + " says lr = 0.5, but " + checkpoint.string() +
            " was trained with 0.0002, and that cannot change when a run is resumed; set it back, or "
            "begin a new run from these weights: --out DIR --init-g " +
            (checkpoint / "G.safetensors").string() + " --init-d " + (checkpoint / "D.safetensors").string());
  with("\"seed\": 7", "\"seed\": 8");
  CHECK(contains(shop.error_on(3), "says seed = 8, but " + checkpoint.string() + " was trained with 7"));
  with("\"ndf\": 4", "\"ndf\": 8");
  CHECK(contains(shop.error_on(3), "says ndf = 8"));
  with("\"nThreads\": 2", "\"nThreads\": 1");
  CHECK(shop.train_on(3) == "");
}

TEST_CASE("synth writes over nothing") {
  ScratchFolder folder;
  const std::string data = (folder / "data").string();
  fs::create_directories(folder / "data" / "base");
  write_text(folder / "data" / "base" / "cmp_b0002.jpg", "a real photo");
  const Result refused = run_program({"synth", "--out", data, "--count", "3", "--size", "32"});
  CHECK(refused.code == 1);
  CHECK(contains(refused.error, "cmp_b0002.jpg is there already; synth writes over nothing"));
  CHECK(contents(folder / "data").size() == 1);
  CHECK(run_program({"synth", "--out", data, "--count", "1", "--size", "32"}).code == 0);
  CHECK(contains(run_program({"synth", "--out", data, "--count", "1", "--size", "32"}).error, "is there already"));
}
