// The facades layout of list_pairs (list_pairs.h): the CMP base folder with its splits, or folders PHASE_label and PHASE_img.
#pragma once

#include <string>

#include "train/data/list_pairs.h"

namespace asap::train {

// "cmp_b0042": the name of a pair of the CMP base folder.
std::string cmp_name(int number);

PairList list_facades(const DatasetOptions& options);

}  // namespace asap::train
