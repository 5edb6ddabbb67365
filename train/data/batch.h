// Samples (pictures as integers) to a Batch (tensors the model takes), and tensors back to pictures and grids to look
// at. Sits between load_sample.h and asapnet/model.h. Next: trainer.h, generate.h.
#pragma once

#include <vector>

#include "asapnet/model.h"
#include "train/data/load_sample.h"

namespace asap::train {

// labels [N,H,W] (with no_one_hot f32 [N,3,H,W]), instance [N,1,H,W] if the model takes it, image [N,3,H,W] if the
// samples have photos. asap::Error naming the sample: sizes that differ within the batch or do not suit the model's
// tiles, no instance map where the model takes one. That the labels are classes was checked by load_sample: on a device,
// one_hot does not look at them again.
asapnet::Batch make_batch(const std::vector<Sample>& samples, const asapnet::Config& config,
                          Device device = Device::cpu);

// Picture `index` of x [N,3 or 1,H,W] in [-1,1].
Image to_image(const Tensor& x, int64_t index);
// The same of a session's picture u8 [1,H,W,C].
Image picture_of(const Tensor& picture);

// One row a sample: label in colours (RGB labels as they are) | generated | real (left out where no sample has a
// photo).
Image sample_grid(const std::vector<Sample>& samples, const std::vector<Image>& generated,
                  const asapnet::Config& config);

}  // namespace asap::train
