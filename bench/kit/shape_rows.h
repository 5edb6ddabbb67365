// Rows of shapes that somebody names: "n=1,c=64,h=128" for a slot, as rows of the op table that can be verified and timed.
#pragma once

#include <string>

#include "tests/op_cases.h"

namespace asap::bench {

// asap::Error naming what the slot's shapes are made of, or, if it has none, the slots that do.
tests::OpCase row_of_shape(KernelSlotBase& slot, const std::string& shape);

// "n=1 c=64 h=64 ...": the sizes of a slot's shapes and what they are unless said; "" if it has none.
std::string shape_keys(const KernelSlotBase& slot);

}  // namespace asap::bench
