// TrainingState: all that a training run must keep to go on where it was, in one safetensors file: models, optimisers with
// their learning rates, averages, the step and the random streams. A run that is resumed continues to the bit.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "nn/init.h"
#include "nn/optim.h"

namespace asap::nn {

class TrainingState {
 public:
  // The stream that layers draw from (default_random() of this thread) is part of every state.
  TrainingState() { add("default", default_random()); }

  // Anything with a state_dict() and load_state_dict(): Module, Optimizer, Ema. Its keys in the file begin with "NAME.". Like
  // a stream, it must outlive this.
  template <class T>
  void add(const std::string& name, T& part) {
    Part added{name, [&part] { return part.state_dict(); },
               [&part](const StateDict& state, const std::string& source) { part.load_state_dict(state, source); }};
    if constexpr (std::is_base_of_v<Optimizer, T>) added.optimizer = &part;
    add(std::move(added));
  }
  void add(const std::string& name, RandomStream& stream);

  int64_t step = 0;  // the caller's, to count in

  // Replaces the file whole or not at all: killed in the middle, a run leaves the file that was there.
  void save(const std::filesystem::path& path) const;
  // asap::Error naming the file: as read_file, no such state, or parts that do not fit; some may be loaded then.
  void load(const std::filesystem::path& path);

 private:
  struct Part {
    std::string name;
    std::function<StateDict()> save;
    std::function<void(const StateDict&, const std::string&)> load;
    Optimizer* optimizer = nullptr;
  };
  void add(Part part);

  std::vector<Part> parts_;
  std::map<std::string, RandomStream*> streams_;
};

}  // namespace asap::nn
