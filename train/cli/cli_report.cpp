// asapnet report. Declared in cli.h; the work is report.h's and tensorboard.h's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "train/cli/cli.h"
#include "train/files/user_text.h"
#include "train/run/report.h"
#include "train/run/tensorboard.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFooter =
    R"(One run: its report.html is written anew. Several: one page with their curves over each other, samples side by
side, what they came to, and the settings that differ. Unfinished runs will do; folders that cannot be shown are told, and
left out.
Examples:
  asapnet report runs/first
  asapnet report runs/* --out comparison.html
  asapnet report runs/* --tensorboard               then: tensorboard --logdir runs)";

struct ReportCommand {
  std::vector<std::string> folders;
  std::string out;
  ReportOptions options;
  bool tensorboard = false;

  int run() const;
};

// The same folder twice, by whatever path, is one run.
bool is_among(const std::vector<RecordedRun>& runs, const fs::path& folder) {
  std::error_code ignored;
  return std::any_of(runs.begin(), runs.end(),
                     [&](const RecordedRun& run) { return fs::equivalent(run.folder, folder, ignored); });
}

int ReportCommand::run() const {
  if (folders.size() > 1 && out.empty() && !tensorboard)
    throw UsageError("several runs make one page: say where with --out FILE.html");
  if (!out.empty() && tensorboard)
    throw UsageError("--tensorboard writes into each run's folder: --out does not go with it");
  if (!out.empty() && fs::path(out).extension() != ".html")
    throw UsageError("--out: expected the name of a page, FILE.html, got '" + out + "'");
  if (options.smoothing < 0 || options.smoothing > 1)
    throw UsageError(str("--smoothing: expected 0 to 1, got ", options.smoothing));
  if (tensorboard) check_tensorboard_possible();
  std::vector<RecordedRun> runs;
  int code = kOk;
  for (const std::string& folder : folders) {
    try {
      RecordedRun run = read_run(folder);
      ASAP_CHECK(!run.log.empty(), folder, ": its log.jsonl holds no step of a training");
      if (is_among(runs, folder)) continue;
      if (tensorboard) convert_to_tensorboard(run);
      runs.push_back(std::move(run));
    } catch (const Error& error) {
      warn(error.what());
      code = kError;
    }
  }
  if (tensorboard)
    for (const RecordedRun& run : runs) std::cout << terminal_safe(event_files(run.folder).back().string()) << std::endl;
  if (runs.empty() || tensorboard) return code;
  const fs::path page = out.empty() ? runs[0].folder / "report.html" : fs::path(out);
  write_report(runs, page, options);
  std::cout << terminal_safe(page.string()) << std::endl;
  return code;
}

}  // namespace

Command add_report_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("report", "Show what was trained: a page of one run, or of several beside each other");
  auto command = std::make_shared<ReportCommand>();
  app->add_option("runs", command->folders, "folders of runs")->type_name("RUN")->required();
  app->add_option("--out", command->out, "page to write; of one run its report.html unless given")->type_name("FILE.html");
  app->add_option("--smoothing", command->options.smoothing,
                  "width of the moving average over losses, as a part of a run; 0: none")
      ->type_name("X")
      ->capture_default_str();
  app->add_flag("--tensorboard", command->tensorboard, "write the runs' event files for TensorBoard instead of a page");
  app->footer(kFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
