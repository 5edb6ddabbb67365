// What the contract (tensor/kernels.h, whose text is compiled in) says about one slot: for `asapnet kernels` and for the skeleton
// of a kernel that `asapnet kernel new` writes.
#pragma once

#include <string>
#include <vector>

namespace asap::bench {

struct Contract {
  struct Parameter {
    std::string type, name;  // "const Tensor&", "x"; those without a name in the contract get one
  };
  std::string text;  // the paragraph of kernels.h: comments, parameters, signatures
  std::vector<Parameter> parameters;

  std::string declaration() const;  // "const Tensor& x, const Conv2dParams& p, Tensor& y"
  std::string arguments() const;    // "x, p, y"
};

// asap::Error if kernels.h does not have the slot.
Contract contract_of(const std::string& slot);

}  // namespace asap::bench
