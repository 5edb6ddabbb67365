// What the ranks of a training must have in common before they begin and whenever they save: program, processors, data, weights. Sits on
// ranks.h; used by trainer.cpp.
#pragma once

#include "asapnet/model.h"
#include "nn/state_dict.h"
#include "train/data/list_pairs.h"
#include "train/ranks/ranks.h"

namespace asap::train {

// SharedError unless all ranks run the same program on processors that they use alike: others would round otherwise, and the weights
// of the ranks would drift apart.
void check_same_program(const Ranks& ranks);
// SharedError unless all have the same pairs: all names, and the content of a few files spread over them.
void check_same_data(const Ranks& ranks, const PairList& pairs);
// SharedError unless all have the same weights to the bit.
void check_same_weights(const Ranks& ranks, asapnet::AsapNet& model);

// Rank 0's, on every rank; what the others give is not looked at.
nn::StateDict broadcast(const Ranks& ranks, const nn::StateDict& mine);
// Weights, optimisers, average and place in the noise become rank 0's.
void share_state(const Ranks& ranks, asapnet::AsapNet& model, asapnet::GanStep& gan);

}  // namespace asap::train
