// The page of a run and that of several: what stands in it, that it needs nothing else and trusts no text, and which folders
// it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/run_program.h"
#include "tests/support/tiny_run.h"
#include "train/options/config_json.h"
#include "train/pictures/image_files.h"
#include "train/run/checkpoint.h"
#include "train/run/recorded_run.h"
#include "train/run/report.h"
#include "train/run/run_log.h"

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

// A folder as a training leaves it, but for the checkpoints: losses fall as 1/step, and psnr is best at `best`.
struct MadeRun {
  fs::path folder;
  int64_t steps = 8, best = 4;
  std::vector<int64_t> samples = {2, 4, 6, 8};
  std::vector<std::string> losses = {"GAN"};

  void make(const std::function<void(Options&)>& set = {}) const {
    Options options;
    options.train.steps = 8;
    if (set) set(options);
    fs::create_directories(folder / "samples");
    write_text(folder / "config.json", options_to_json(options));
    RunLog log(folder / "log.jsonl", 0);
    for (int64_t step = 1; step <= steps; ++step) {
      LogEntry entry{.step = step, .epoch = 1, .losses = {}, .lr = options.train.lr, .seconds = 0.5};
      for (const std::string& name : losses) entry.losses.emplace_back(name, 1.0 / static_cast<double>(step));
      log.append(entry);
      if (step % 2 == 0)
        log.append(ScoreEntry{.step = step,
                              .scores = {{"psnr", 20.0 - static_cast<double>(std::abs(step - best))},
                                         {"frechet", std::nan("")},
                                         {"seams_of_references", 1}}});
    }
    for (const int64_t step : samples)
      write_png(folder / "samples" / (step_name(step) + ".png"), Image(6, 2, 3, static_cast<uint8_t>(step)));
  }
};

size_t count(const std::string& text, const std::string& part) {
  size_t times = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++times;
  return times;
}

std::string image_of(int64_t step) {
  ScratchFolder folder;
  write_png(folder / "x.png", Image(6, 2, 3, static_cast<uint8_t>(step)));
  const std::string bytes = read_text(folder / "x.png");
  return base64({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

TEST_CASE("one run: its report.html, written anew") {
  ran();
  ScratchFolder folder;
  const MadeRun made{.folder = folder / "my run"};
  made.make();
  const Result result = run({"report", made.folder.string()});
  CHECK(result.code == 0);
  CHECK(result.out == (made.folder / "report.html").string() + "\n");
  const std::string page = read_text(made.folder / "report.html");
  for (const char* part :
       {"<h1>ASAPNet training: my run</h1>", "<dd>8 of 8</dd>", "<dt>psnr, best</dt><dd>20 at step 4</dd>",
        "best 20 at step 4", "<dd>4 s</dd>", "data-steps=\"2 4 6 8\"", "label_nc"}) {
    CAPTURE(part);
    CHECK(contains(page, part));
  }
  CHECK(count(page, "<svg") ==
        5);  // psnr, seams_of_references, GAN, learning rate, seconds a step; no score that never was a number
  CHECK(count(page, "<img") == 4);
  CHECK(contains(page, ">psnr<"));
  CHECK_FALSE(contains(page, ">frechet"));  // as a help of options it is there
  for (const char* outside : {"http:", "https:", "<link", "src=\"/", "@import", "url("})
    CHECK_FALSE(contains(page, outside));
}

TEST_CASE("several runs: curves over each other, samples, results and settings that differ, every text escaped") {
  ScratchFolder folder;
  const MadeRun plain{.folder = folder / "a" / "plain"};
  const MadeRun hostile{
      .folder = folder / "b" / "<script>alert(1)\"&", .steps = 6, .best = 6, .samples = {3}, .losses = {"GAN", "L1"}};
  plain.make();
  hostile.make([](Options& options) {
    options.train.lr = 0.001;
    options.train.phase = "<b>";
  });
  const fs::path out = folder / "page.html";
  const Result result =
      run({"report", plain.folder.string(), hostile.folder.string(), (folder / "a" / ".." / "a" / "plain").string(),
           (folder / "nowhere").string(), folder.path().string(), "--out", out.string()});
  CHECK(result.code == 1);  // for the last two; the same run again is no other
  CHECK(result.error == "asapnet: " + (folder / "nowhere").string() + ": there is no such folder\nasapnet: " +
                            folder.path().string() + " is no run folder: it has no config.json\n");
  const std::string page = read_text(out);
  for (const char* part :
       {"<title>2 ASAPNet runs</title>", "&lt;script&gt;alert(1)&quot;&amp;", "after step 3",
        "<th>psnr, best</th><td class=\"run-0\"><b>20 at step 4</b></td><td class=\"run-1\">20 at step 6</td>",
        "<th>Step</th><td class=\"run-0\">8 of 8</td><td class=\"run-1\">6 of 8</td>",
        "<th>L1</th><td class=\"run-0\"></td><td class=\"run-1\">0.1667</td>",
        "<th>lr</th><td class=\"run-0\">0.0002</td><td class=\"run-1\">0.001</td>",
        "<th>phase</th><td class=\"run-0\">train</td><td class=\"run-1\">&lt;b&gt;</td>", "data-x-name=\"minute\"",
        "data-name=\"&lt;script&gt;alert(1)&quot;&amp;\""}) {
    CAPTURE(part);
    CHECK(contains(page, part));
  }
  CHECK_FALSE(contains(page, "<script>alert"));
  CHECK_FALSE(contains(page, "<b>\""));
  CHECK(count(page, "<svg") == 2 * 6);
  CHECK(count(page, "data-name=\"plain\"") == 2 * 5);
  CHECK(contains(page, "<th>seams_of_references, last</th>"));
  CHECK_FALSE(contains(page, "seams_of_references, best"));  // which could be no better
  Options options;
  CHECK(contains(page, str(option_fields(options).size() - 2, " settings in common")));
  // Each picture once.
  for (const int64_t step : {2, 4, 6, 8, 3}) CHECK(count(page, image_of(step)) == 1);
}

TEST_CASE("runs of one name are told apart by the folders above; more runs than colours have dashed lines") {
  ScratchFolder folder;
  std::vector<RecordedRun> runs;
  for (const char* name : {"a/run", "b/run", "1", "2", "3", "4", "5", "6", "7"}) {
    const MadeRun made{.folder = folder / name, .samples = {}};
    made.make();
    runs.push_back(read_run(made.folder));
  }
  write_report(runs, folder / "page.html");
  const std::string page = read_text(folder / "page.html");
  CHECK(contains(page, "data-name=\"a/run\""));
  CHECK(contains(page, "data-name=\"b/run\""));
  CHECK(contains(page, "<g class=\"run-8 dashed\" style=\"--c:var(--run-0)\""));
  CHECK_FALSE(contains(page, "<img"));
}

TEST_CASE("report: what it refuses, in one sentence each") {
  ScratchFolder folder;
  const MadeRun made{.folder = folder / "run"}, empty{.folder = folder / "empty", .steps = 0};
  made.make();
  empty.make();
  const std::string good = made.folder.string();
  const auto refused = [](const std::vector<std::string>& arguments, int code, const std::string& part) {
    const Result result = run(arguments);
    CAPTURE(result.error);
    CHECK(result.code == code);
    CHECK(contains(result.error, part));
    CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  };
  refused({"report"}, 2, "runs");
  refused({"report", good, empty.folder.string()}, 2, "--out FILE.html");
  refused({"report", good, "--out", (folder / "page.png").string()}, 2, "FILE.html");
  refused({"report", good, "--smoothing", "2"}, 2, "0 to 1");
  refused({"report", good, "--out", "x.html", "--tensorboard"}, 2, "--out does not go with it");
  refused({"report", empty.folder.string()}, 1, "holds no step of a training");
  write_text(made.folder / "config.json", "{\"lr\": }");
  refused({"report", good}, 1, "config.json");
  CHECK_FALSE(fs::exists(empty.folder / "report.html"));
}
