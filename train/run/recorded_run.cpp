// Reading a run's folder. Declared in recorded_run.h.
#include "train/run/recorded_run.h"

#include <algorithm>
#include <charconv>

#include "nn/checkpoint_file.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

std::vector<SampleGrid> sample_grids(const fs::path& folder) {
  std::vector<SampleGrid> grids;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().stem().string();
    SampleGrid grid{.step = 0, .file = entry.path()};
    const size_t digits = name.find('_') + 1;
    std::from_chars(name.data() + digits, name.data() + name.size(), grid.step);
    if (entry.path().filename() == step_name(grid.step) + ".png") grids.push_back(grid);
  }
  std::sort(grids.begin(), grids.end(), [](const SampleGrid& a, const SampleGrid& b) { return a.step < b.step; });
  return grids;
}

// Spectral norm's vectors are state, not parameters.
int64_t parameter_count(const fs::path& weights) {
  int64_t count = 0;
  const nn::CheckpointFile file(weights);
  for (const nn::TensorInfo& tensor : file.contents().tensors()) {
    if (!tensor.name.ends_with("_u") && !tensor.name.ends_with("_v")) count += nn::element_count(tensor.sizes);
  }
  return count;
}

}  // namespace

RecordedRun read_run(const fs::path& folder) {
  ASAP_CHECK(is_there(folder), folder.string(), ": there is no such folder");
  ASAP_CHECK(is_there(folder / "config.json"), folder.string(), " is no run folder: it has no config.json");
  RecordedRun run{.folder = folder,
                  .options = {},
                  .log = read_log(folder / "log.jsonl"),
                  .scores = read_scores(folder / "log.jsonl"),
                  .samples = sample_grids(folder / "samples")};
  options_from_json_file(folder / "config.json", run.options);
  run.total_steps = run.options.train.steps;
  try {
    const fs::path checkpoint = latest_checkpoint(folder);
    const TrainOptions& o = run.options.train;
    if (run.total_steps == 0) run.total_steps = (o.niter + o.niter_decay) * read_trainer_state(checkpoint).batches_per_epoch;
    run.parameters = parameter_count(checkpoint / "G.safetensors");
  } catch (const Error&) {  // none yet, or damaged: what was logged can be shown all the same
  }
  return run;
}

}  // namespace asap::train
