// One network's tensors in a checkpoint file, whatever the program that saved it wrapped around them: dicts
// (state_dict, netG, params_ema), DataParallel's "module.", torch.compile's "_orig_mod.", spectral norm as a
// parametrization.
// Sits on checkpoint_file.h. Next: module.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"
#include "nn/module.h"

namespace asap::nn {

// True if the file holds such a network, perhaps more than once.
bool holds_network(const CheckpointFile& file, const std::string& signature);

// What is kept of a weight that was read: another dtype, layout or device, same shape.
using Form = std::function<Tensor(const Tensor&)>;

class NetworkWeights {
 public:
  // `signature` is what the network's own keys begin with, as "lowres_stream.": wherever it starts within a name, the
  // part before it is the prefix. Of several prefixes, one with an averaged network ("ema") is taken first, then none
  // at all, then the usual names. Beside the network, a tensor whose name has no dot (a seed, an epoch) is left alone.
  // asap::Error naming the file and the prefixes that nothing tells apart. Where the signature does not occur, the
  // tensors are all of the file's under its names. `file` must outlive this.
  NetworkWeights(CheckpointFile& file, const std::string& signature);

  // Under the network's names; the index counts as tensors() does, not as the file does.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::vector<size_t>& indices() const { return indices_; }  // of each in the file
  // What was done to the names, each as a clause: "took the prefix 'module.' off".
  const std::vector<std::string>& notes() const { return notes_; }

  // asap::Error naming file and tensor, as TensorReader::read. `beginnings`: only names that start with one of them.
  StateDict read(const std::vector<std::string>& beginnings = {""}) const;
  // As Module::load_state_dict, but refuses NaN and infinity (check_finite), and changes nothing then either. Checks the keys
  // first, so that of a file that does not fit nothing is read.
  // Every parameter and buffer gets a new tensor, of its type and on its device, or what `form` makes of that. They are read one
  // after the other, and what the file and `form` took meanwhile goes back to the system: a blank network (init.h) is filled
  // with little memory beside its own.
  void load_into(Module& network, const Form& form = [](const Tensor& x) { return x; }) const;

 private:
  void take(const std::string& prefix, const std::vector<std::string>& others);

  CheckpointFile& file_;
  std::vector<TensorInfo> tensors_;
  std::vector<size_t> indices_;
  std::vector<std::string> notes_;
};

}  // namespace asap::nn
