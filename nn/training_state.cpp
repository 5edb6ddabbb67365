// The file of a training run. Tensors lie under "PART.KEY"; what is no tensor is text in the file's metadata:
//   step = N, lr.PART = the optimiser's learning rate, random.NAME = "SEED OFFSET"
// Declared in training_state.h.
#include "nn/training_state.h"

#include <algorithm>
#include <sstream>

#include "nn/checkpoint_file.h"
#include "nn/safetensors.h"

namespace asap::nn {
namespace {

using Texts = std::map<std::string, std::string>;

// Numbers of a metadata entry, separated by spaces; all of the text must be read.
template <class... Numbers>
void read_text(const Texts& texts, const std::string& key, const std::string& source, Numbers&... numbers) {
  const auto found = texts.find(key);
  ASAP_CHECK(found != texts.end(), source, ": expected a training state, found none of '", key, "'");
  std::istringstream in(found->second);
  (in >> ... >> numbers);
  ASAP_CHECK(!in.fail() && (in >> std::ws).eof(), source, ": expected ", sizeof...(numbers), " number(s) in '", key,
             "', got '", printable(found->second), "'");
}

// So that reading gives the same bits.
std::string exact(double x) {
  std::ostringstream out;
  out.precision(17);
  out << x;
  return out.str();
}

}  // namespace

void TrainingState::add(Part part) {
  const auto overlaps = [&](const Part& other) {
    return (other.name + ".").starts_with(part.name + ".") || (part.name + ".").starts_with(other.name + ".");
  };
  ASAP_CHECK(std::none_of(parts_.begin(), parts_.end(), overlaps), "TrainingState: the name '", part.name,
             "' is taken, or begins another");
  parts_.push_back(std::move(part));
}

void TrainingState::add(const std::string& name, RandomStream& stream) {
  ASAP_CHECK(streams_.emplace(name, &stream).second, "TrainingState: the random stream '", name, "' is there already");
}

void TrainingState::save(const std::filesystem::path& path) const {
  StateDict tensors;
  Texts texts{{"step", std::to_string(step)}};
  for (const Part& part : parts_) {
    for (const auto& [key, tensor] : part.save()) tensors.set(part.name + "." + key, tensor);
    if (part.optimizer) texts["lr." + part.name] = exact(part.optimizer->lr());
  }
  for (const auto& [name, stream] : streams_) texts["random." + name] = str(stream->seed, " ", stream->offset);
  write_safetensors(path, tensors, texts);
}

void TrainingState::load(const std::filesystem::path& path) {
  CheckpointFile file(path);
  const std::string source = path.string();
  const Texts texts = file.contents().metadata();
  const StateDict tensors = with_prefix(source, [&] { return file.contents().read_all(); });
  int64_t saved_step = 0;
  read_text(texts, "step", source, saved_step);
  size_t used = 0;
  for (const Part& part : parts_) {
    StateDict state;
    for (const auto& [key, tensor] : tensors) {
      if (key.starts_with(part.name + ".")) state.set(key.substr(part.name.size() + 1), tensor);
    }
    used += state.size();
    part.load(state, source + ", " + part.name);
    if (!part.optimizer) continue;
    double lr = 0;
    read_text(texts, "lr." + part.name, source, lr);
    part.optimizer->set_lr(lr);
  }
  ASAP_CHECK(used == tensors.size(), source, ": holds parts that this training state does not have");
  for (const auto& [name, stream] : streams_) read_text(texts, "random." + name, source, stream->seed, stream->offset);
  step = saved_step;
}

}  // namespace asap::nn
