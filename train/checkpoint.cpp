// Writing and reading checkpoint folders. Declared in checkpoint.h.
#include "train/checkpoint.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "nn/checkpoint_file.h"
#include "nn/file_io.h"
#include "nn/safetensors.h"
#include "train/architecture.h"
#include "train/config_json.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void write_text(const fs::path& path, const std::string& text) {
  const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  nn::write_file(path, {&bytes, 1});
}

std::string read_text(const fs::path& path) {
  const auto bytes = nn::read_file(path);
  return {bytes.begin(), bytes.end()};
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  ASAP_CHECK(!error, folder.string(), ": the folder cannot be made (", error.message(), ")");
}

std::string folder_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%06lld", static_cast<long long>(step));
  return name;
}

// A gradient may overflow although the losses were finite; such weights must not replace good ones on disk.
void check_finite(const nn::Module& network, const std::string& what, const fs::path& run) {
  for (const auto& [name, tensor] : network.state_dict()) {
    if (!is_floating(tensor.dtype())) continue;
    const double total = sum(abs(tensor)).item();
    ASAP_CHECK(std::isfinite(total), "checkpoint: the weight ", name, " of the ", what, " is no longer finite; ",
               last_checkpoint_text(run));
  }
}

void write_network(const fs::path& file, const nn::Module& network, const char* what, const asapnet::Config& config) {
  nn::write_safetensors(file, network.state_dict(),
                        {{"format", "pt"}, {"network", what}, {"config", config_to_json(config)}});
}

void write_state(const fs::path& file, const TrainerState& state) {
  const Json object{{"step", state.step},
                    {"epoch", state.step / state.batches_per_epoch + 1},
                    {"batch_in_epoch", state.step % state.batches_per_epoch},
                    {"batches_per_epoch", state.batches_per_epoch},
                    {"noise_seed", state.noise_seed},
                    {"noise_offset", state.noise_offset},
                    {"lr", state.lr}};
  write_text(file, object.dump(2) + "\n");
}

TrainerState read_state(const fs::path& file) {
  try {
    const Json object = Json::parse(read_text(file));
    return {.step = object.at("step"),
            .batches_per_epoch = object.at("batches_per_epoch"),
            .noise_seed = object.at("noise_seed"),
            .noise_offset = object.at("noise_offset"),
            .lr = object.at("lr")};
  } catch (const Json::exception&) {
    fail(file.string(), ": expected the state of a training run as JSON, found something else");
  }
}

void write_folder(const fs::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan, const TrainerState& state) {
  make_folder(folder);
  write_network(folder / "G.safetensors", model.generator(), "generator", model.config());
  write_network(folder / "D.safetensors", model.discriminator(), "discriminator", model.config());
  if (model.encoder()) write_network(folder / "E.safetensors", *model.encoder(), "encoder", model.config());
  nn::write_safetensors(folder / "optimizer_G.safetensors", gan.generator_optimizer().state_dict());
  nn::write_safetensors(folder / "optimizer_D.safetensors", gan.discriminator_optimizer().state_dict());
  write_state(folder / "trainer.json", state);
}

// Earlier checkpoints and what a crash left half written.
void remove_others(const fs::path& checkpoints, const std::string& kept) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step_") && name != kept) fs::remove_all(entry.path(), ignored);
  }
}

void load_optimizer(const fs::path& file, nn::Adam& optimizer) {
  const nn::StateDict state = nn::read_state_dict(file);
  nn::check_finite(state, file.string());
  optimizer.load_state_dict(state, file.string());
}

}  // namespace

fs::path save_checkpoint(const fs::path& run, asapnet::AsapNet& model, asapnet::GanStep& gan, const TrainerState& state,
                         bool keep_earlier) {
  check_finite(model.generator(), "generator", run);
  check_finite(model.discriminator(), "discriminator", run);
  if (model.encoder()) check_finite(*model.encoder(), "encoder", run);
  const fs::path checkpoints = run / "checkpoints", folder = checkpoints / folder_name(state.step);
  if (latest_checkpoint(run) == folder) return folder;  // the same step of the same run: already there
  try {
    write_folder(folder, model, gan, state);
    write_text(checkpoints / "latest", folder.filename().string() + "\n");
  } catch (const Error&) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    throw;
  }
  if (!keep_earlier) remove_others(checkpoints, folder.filename().string());
  return folder;
}

fs::path latest_checkpoint(const fs::path& run) {
  const fs::path latest = run / "checkpoints" / "latest";
  if (!fs::exists(latest)) return {};
  std::string name = read_text(latest);
  name.erase(name.find_last_not_of(" \r\n") + 1);
  ASAP_CHECK(name.starts_with("step_") && name.find('/') == std::string::npos, latest.string(),
             ": expected the name of a checkpoint like step_000100, found '", nn::printable(name), "'");
  return run / "checkpoints" / name;
}

std::string last_checkpoint_text(const fs::path& run) {
  const fs::path checkpoint = latest_checkpoint(run);
  return checkpoint.empty() ? "no checkpoint had been saved yet" : "the last good checkpoint is " + checkpoint.string();
}

TrainerState load_checkpoint(const fs::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan) {
  load_weights(folder / "G.safetensors", model.generator());
  load_weights(folder / "D.safetensors", model.discriminator());
  if (model.encoder()) load_weights(folder / "E.safetensors", *model.encoder());
  const fs::path optimizer_G = folder / "optimizer_G.safetensors", optimizer_D = folder / "optimizer_D.safetensors";
  load_optimizer(optimizer_G, gan.generator_optimizer());
  load_optimizer(optimizer_D, gan.discriminator_optimizer());
  const TrainerState state = read_state(folder / "trainer.json");
  gan.noise() = {.seed = state.noise_seed, .offset = state.noise_offset};
  gan.set_lr(state.lr);
  return state;
}

void load_weights(const fs::path& file, nn::Module& network) {
  nn::CheckpointFile opened(file);
  const std::string first_key = network.state_dict().begin()->first;
  const nn::NetworkWeights weights(opened, first_key.substr(0, first_key.find('.') + 1));
  say_notes(opened, weights);
  weights.load_into(network);
}

}  // namespace asap::train
