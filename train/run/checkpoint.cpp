// Writing and reading checkpoint folders. Declared in checkpoint.h.
#include "train/run/checkpoint.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <vector>

#include "nn/checkpoint_file.h"
#include "nn/file_io.h"
#include "nn/json_text.h"
#include "nn/safetensors.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/run/architecture.h"
#include "train/run/built_in.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char *kTrainer = "trainer.json", *kChecksums = "crc32_of_files";
constexpr const char* kAverage = "G_ema.safetensors";
const std::vector<std::string> kTensorFiles{"G.safetensors",           "D.safetensors",           "E.safetensors", kAverage,
                                            "optimizer_G.safetensors", "optimizer_D.safetensors"};
const std::set<std::string> kNotInAll{"E.safetensors", kAverage};  // without an encoder, without an average

void move_to(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  ASAP_CHECK(!error, from.string(), ": cannot be renamed to ", to.filename().string(), " (", error.message(), ")");
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) paths.push_back(entry.path());
  return paths;
}

// The step in a name that step_name makes; nothing for all other names.
std::optional<int64_t> step_in(const std::string& name) {
  const size_t prefix = std::string("step_").size();
  int64_t step = -1;
  if (name.size() > prefix) std::from_chars(name.data() + prefix, name.data() + name.size(), step);
  return step >= 0 && step_name(step) == name ? std::optional(step) : std::nullopt;
}

// While it is written or removed a checkpoint has such a name, which says that it is not whole.
fs::path unfinished_name(const fs::path& folder) {
  return folder.parent_path() / ("." + folder.filename().string() + ".partial");
}

std::string hexadecimal(uint32_t number) {
  char text[16];
  std::snprintf(text, sizeof text, "%08x", number);
  return text;
}

// CRC-32 as in zip and PNG: finds every damage of up to 32 neighbouring bits, and misses one in 4e9 of the others.
std::string checksum(const std::string& text) {
  return hexadecimal(static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size())));
}

void check_finite(const nn::Module& network, const std::string& what) {
  for (const auto& [name, tensor] : network.state_dict()) {
    if (!is_floating(tensor.dtype())) continue;
    const double total = sum(abs(tensor)).item();
    ASAP_CHECK(std::isfinite(total), "checkpoint: the weight ", name, " of the ", what, " is no longer finite");
  }
}

void write_network(const fs::path& file, const nn::StateDict& weights, const char* what, const asapnet::Config& config,
                   std::map<std::string, std::string> metadata = {}) {
  metadata.merge(
      std::map<std::string, std::string>{{"format", "pt"}, {"network", what}, {"config", config_to_json(config)}});
  nn::write_safetensors(file, weights, metadata);
}

// trainer.json: the state, a checksum of every other file, and last one of itself, that is of all before it.
void write_state(const fs::path& folder, const TrainerState& state) {
  Json object{{"step", state.step},
              {"epoch", state.step / state.batches_per_epoch + 1},
              {"batch_in_epoch", state.step % state.batches_per_epoch},
              {"batches_per_epoch", state.batches_per_epoch},
              {"noise_seed", state.noise_seed},
              {"noise_offset", state.noise_offset},
              {"lr", state.lr},
              {"ranks", state.ranks},
              {"settings", state.settings},
              {kChecksums, Json::object()}};
  for (const std::string& name : kTensorFiles) {
    if (is_there(folder / name)) object[kChecksums][name] = file_checksum(folder / name);
  }
  object["crc32"] = checksum(object.dump());
  write_file(folder / kTrainer, object.dump(2) + "\n");
}

struct StateFile {
  TrainerState state;
  std::map<std::string, std::string> checksums;  // by file name; empty in checkpoints from before there were any
};

StateFile read_state_file(const fs::path& file) {
  try {
    Json object = nn::with_prefix(file.string(), [&] { return nn::parse_json<Json>(file_text(file)); });
    if (object.contains("crc32") || object.contains(kChecksums)) {
      const std::string sum = object.at("crc32");
      object.erase("crc32");
      ASAP_CHECK(checksum(object.dump()) == sum, file.string(), ": damaged (its checksum is ", checksum(object.dump()),
                 ", not ", nn::printable(sum), ")");
    }
    return {.state = {.step = object.at("step"),
                      .batches_per_epoch = object.at("batches_per_epoch"),
                      .noise_seed = object.at("noise_seed"),
                      .noise_offset = object.at("noise_offset"),
                      .lr = object.at("lr"),
                      .ranks = object.value("ranks", 1),
                      .settings = object.value("settings", std::map<std::string, std::string>())},
            .checksums = object.value(kChecksums, std::map<std::string, std::string>())};
  } catch (const Json::exception&) {
    fail(file.string(), ": expected the state of a training run as JSON, found something else");
  }
}

void check_sum(const fs::path& file, const std::string& wanted) {
  const std::string found = file_checksum(file);
  ASAP_CHECK(found == wanted, file.string(), ": damaged (its checksum is ", found, ", but ", kTrainer,
             " beside it was written with ", nn::printable(wanted), ")");
}

bool is_complete(const fs::path& folder) {
  try {
    const StateFile file = read_state_file(folder / kTrainer);
    for (const auto& [name, sum] : file.checksums) check_sum(folder / name, sum);
    return std::all_of(kTensorFiles.begin(), kTensorFiles.end(), [&](const std::string& name) {
      return kNotInAll.contains(name) || is_there(folder / name);
    });
  } catch (const Error&) {
    return false;
  }
}

// The newest complete one but `other`.
fs::path newest_complete(const fs::path& checkpoints, const fs::path& other) {
  std::map<int64_t, fs::path, std::greater<>> by_step;
  for (const fs::path& path : entries(checkpoints)) {
    const auto step = step_in(path.filename().string());
    if (step && path.filename() != other.filename()) by_step[*step] = path;
  }
  for (const auto& [step, path] : by_step) {
    if (is_complete(path)) return path;
  }
  return {};
}

void write_folder(const fs::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan, const TrainerState& state) {
  make_folder(folder);
  write_network(folder / "G.safetensors", model.generator().state_dict(), "generator", model.config());
  write_network(folder / "D.safetensors", model.discriminator().state_dict(), "discriminator", model.config());
  if (model.encoder()) write_network(folder / "E.safetensors", model.encoder()->state_dict(), "encoder", model.config());
  if (gan.average()) {
    write_network(folder / kAverage, gan.average()->state_dict(), "generator", model.config(),
                  {{"average", "exponential moving average over the steps"}});
  }
  nn::write_safetensors(folder / "optimizer_G.safetensors", gan.generator_optimizer().state_dict());
  nn::write_safetensors(folder / "optimizer_D.safetensors", gan.discriminator_optimizer().state_dict());
  write_state(folder, state);
}

// Whether it is as save_checkpoint left it: a folder, not a link, of that step, with no file that somebody added.
bool is_ours(const fs::path& folder, int64_t step) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(folder, ignored))) return false;
  for (const fs::path& path : entries(folder)) {
    const std::string name = path.filename().string();
    if (name != kTrainer && std::find(kTensorFiles.begin(), kTensorFiles.end(), name) == kTensorFiles.end())
      return false;
  }
  try {
    return read_trainer_state(folder).step == step;
  } catch (const Error&) {
    return false;
  }
}

// One that is killed in the middle of this leaves an unfinished name.
void remove_checkpoint(const fs::path& folder) {
  std::error_code ignored;
  const fs::path unfinished = unfinished_name(folder);
  fs::remove_all(unfinished, ignored);
  fs::rename(folder, unfinished, ignored);
  fs::remove_all(unfinished, ignored);
}

// The name of a checkpoint in the first line of `file`; "" if it is missing or has none.
std::string named_by(const fs::path& file) {
  try {
    std::string name = file_text(file);
    name.erase(std::min(name.find('\n'), name.size()));
    name.erase(name.find_last_not_of(" \r") + 1);
    return name.starts_with("step_") && name.find('/') == std::string::npos ? name : "";
  } catch (const Error&) {
    return "";
  }
}

// Makes room for a new checkpoint of this name. A kill between two saves leaves one of a step that is then done again. If it was
// the best one, `best` goes with it, and first: at no time does it name another.
void put_aside(const fs::path& folder, const fs::path& successor) {
  if (!is_there(folder)) return;
  const bool same = is_there(folder / kTrainer) && file_text(folder / kTrainer) == file_text(successor / kTrainer);
  fs::path aside = folder;
  while (is_there(aside)) aside += ".old";
  const fs::path run = folder.parent_path().parent_path();
  if (auto best = best_checkpoint(run); best && !same && best->folder == folder) {
    best->folder = aside;
    mark_best(run, *best);
  }
  move_to(folder, same ? unfinished_name(aside) : aside);
}

nn::StateDict checked_state(const fs::path& file) {
  check_unchanged(file);
  nn::StateDict state = nn::read_state_dict(file);
  nn::check_finite(state, file.string());
  return state;
}

void load_optimizer(const fs::path& file, nn::Adam& optimizer) {
  optimizer.load_state_dict(checked_state(file), file.string());
}

}  // namespace

std::string file_checksum(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> part(1 << 20);
  uLong sum = 0;
  do {
    file.read(part.data(), static_cast<std::streamsize>(part.size()));
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(part.data()), static_cast<size_t>(file.gcount()));
  } while (file);
  ASAP_CHECK(file.eof(), path.string(), ": cannot be read");
  return hexadecimal(static_cast<uint32_t>(sum));
}

std::string step_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%06lld", static_cast<long long>(step));
  return name;
}

void check_weights(asapnet::AsapNet& model) {
  check_finite(model.generator(), "generator");
  check_finite(model.discriminator(), "discriminator");
  if (model.encoder()) check_finite(*model.encoder(), "encoder");
}

fs::path save_checkpoint(const fs::path& run, asapnet::AsapNet& model, asapnet::GanStep& gan,
                         const TrainerState& state) {
  const fs::path checkpoints = run / "checkpoints", folder = checkpoints / step_name(state.step);
  const fs::path unfinished = unfinished_name(folder);
  remove_unfinished_checkpoints(run);
  try {
    write_folder(unfinished, model, gan, state);
    put_aside(folder, unfinished);
    move_to(unfinished, folder);
  } catch (const Error&) {
    remove_unfinished_checkpoints(run);
    throw;
  }
  write_file(checkpoints / "latest", folder.filename().string() + "\n");
  remove_unfinished_checkpoints(run);
  return folder;
}

void remove_earlier_checkpoints(const fs::path& run, int64_t step) {
  const std::string best = named_by(run / "checkpoints" / "best");
  for (const fs::path& path : entries(run / "checkpoints")) {
    const auto other = step_in(path.filename().string());
    if (other && *other < step && path.filename() != best && is_ours(path, *other)) remove_checkpoint(path);
  }
}

std::optional<BestCheckpoint> best_checkpoint(const fs::path& run) {
  const fs::path file = run / "checkpoints" / "best";
  const std::string name = named_by(file);
  if (name.empty() || !is_there(file.parent_path() / name)) return std::nullopt;
  BestCheckpoint best{.folder = file.parent_path() / name, .score = {}};
  std::istringstream text(file_text(file));
  std::string value;
  text >> value >> best.score >> value;
  best.value = std::strtod(value.c_str(), nullptr);  // "inf", too
  return best;
}

void mark_best(const fs::path& run, const BestCheckpoint& best) {
  char value[64];
  std::snprintf(value, sizeof value, "%.17g", best.value);
  write_file(run / "checkpoints" / "best", str(best.folder.filename().string(), "\n", best.score, " ", value, "\n"));
}

fs::path named_checkpoint(const fs::path& path) {
  std::error_code ignored;
  const bool names_one = path.filename() == "best" || path.filename() == "latest";
  if (!names_one || !fs::is_regular_file(path, ignored)) return path;
  const std::string name = named_by(path);
  ASAP_CHECK(!name.empty(), path.string(), ": expected the name of a checkpoint beside it, found something else");
  ASAP_CHECK(is_there(path.parent_path() / name), path.string(), " names ", nn::printable(name),
             ", which is not there");
  return path.parent_path() / name;
}

FoundCheckpoint find_checkpoint(const fs::path& run) {
  const fs::path checkpoints = run / "checkpoints", latest = checkpoints / "latest";
  const std::string name = named_by(latest);
  if (!name.empty() && is_there(checkpoints / name)) return {checkpoints / name, ""};
  const fs::path newest = newest_complete(checkpoints, "");
  if (newest.empty()) return {};
  return {newest,
          str(latest.string(),
              name.empty() ? " does not name a checkpoint" : " names " + nn::printable(name) + ", which is not there",
              "; taking ", newest.filename().string(), ", the newest complete one")};
}

fs::path latest_checkpoint(const fs::path& run) { return find_checkpoint(run).folder; }

fs::path generator_file(const fs::path& checkpoint) {
  return checkpoint / (is_there(checkpoint / kAverage) ? kAverage : "G.safetensors");
}

fs::path whole_checkpoint_beside(const fs::path& folder) { return newest_complete(folder.parent_path(), folder); }

std::string last_checkpoint_text(const fs::path& run) {
  const fs::path checkpoint = latest_checkpoint(run);
  return checkpoint.empty() ? "no checkpoint had been saved yet" : "the last good checkpoint is " + checkpoint.string();
}

bool is_unfinished_checkpoint(const std::string& name) {
  return name.starts_with(".step_") && name.ends_with(".partial");
}

void remove_unfinished_checkpoints(const fs::path& run) {
  std::error_code ignored;
  for (const fs::path& path : entries(run / "checkpoints")) {
    const std::string name = path.filename().string();
    if (is_unfinished_checkpoint(name) || nn::is_unfinished(name)) fs::remove_all(path, ignored);
  }
}

void check_unchanged(const fs::path& file) {
  const fs::path trainer = file.parent_path() / kTrainer;
  if (!is_there(trainer) || file_text(trainer).find(kChecksums) == std::string::npos) return;
  const auto checksums = read_state_file(trainer).checksums;
  const auto place = checksums.find(file.filename().string());
  if (place != checksums.end()) check_sum(file, place->second);
}

TrainerState read_trainer_state(const fs::path& checkpoint) { return read_state_file(checkpoint / kTrainer).state; }

TrainerState load_checkpoint(const fs::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan) {
  const TrainerState state = read_trainer_state(folder);
  load_weights(folder / "G.safetensors", model.generator());
  load_weights(folder / "D.safetensors", model.discriminator());
  if (model.encoder()) load_weights(folder / "E.safetensors", *model.encoder());
  if (gan.average()) gan.average()->load_state_dict(checked_state(folder / kAverage), (folder / kAverage).string());
  load_optimizer(folder / "optimizer_G.safetensors", gan.generator_optimizer());
  load_optimizer(folder / "optimizer_D.safetensors", gan.discriminator_optimizer());
  gan.noise() = {.seed = state.noise_seed, .offset = state.noise_offset};
  gan.set_lr(state.lr);
  return state;
}

void load_weights(const fs::path& file, nn::Module& network, const nn::Form& form) {
  check_unchanged(file);
  nn::CheckpointFile opened = open_weights(file);
  const std::string first_key = network.state_dict().begin()->first;
  const nn::NetworkWeights weights(opened, first_key.substr(0, first_key.find('.') + 1));
  say_notes(opened, weights);
  weights.load_into(network, form);
}

}  // namespace asap::train
