// Golden numbers: tensors of tests/golden/NAME.safetensors and the comparison every golden test uses.
#pragma once

#include <map>
#include <string>

#include "nn/module.h"
#include "asapnet/config.h"

namespace asap::tests {

class Golden {
 public:
  explicit Golden(const std::string& name);
  bool has(const std::string& key) const { return tensors_.contains(key); }
  const Tensor& at(const std::string& key) const;  // throws naming file and key
  const std::string& meta(const std::string& key) const;
  double meta_number(const std::string& key) const;
  // A number inside a metadata value such as {'y': 1.2e-06, 'gx': 1e-06}.
  double meta_number(const std::string& key, const std::string& item) const;
  // All tensors whose key starts with prefix, without it.
  nn::StateDict with_prefix(const std::string& prefix) const;
  // The model configuration of the metadata.
  asapnet::Config config() const;

 private:
  std::string name_;
  nn::StateDict tensors_;
  std::map<std::string, std::string> metadata_;
};

// max |a - b| / max |b|, in double; infinite if a has a NaN or the shapes differ.
double golden_difference(const Tensor& a, const Tensor& b);

}  // namespace asap::tests
