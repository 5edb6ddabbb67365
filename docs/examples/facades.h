// Synthetic facades (train/synth) as tensors, for the examples that make pictures from label maps; a sheet of pictures to look at;
// and the training that two of them share.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "nn/optim.h"
#include "train/data/batch.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"
#include "train/synth/synth.h"

namespace asap::examples {

inline constexpr int kFacadeClasses = 13;  // 1 background .. 12 shop; 0 is unused

struct Facades {
  Tensor labels;                   // one-hot planes f32 [N,13,S,S]
  Tensor photos;                   // f32 [N,3,S,S], -1 to 1
  std::vector<train::Image> maps;  // the labels in colours
  Facades part(int64_t start, int64_t end) const {
    return {labels.slice(0, start, end), photos.slice(0, start, end), {maps.begin() + start, maps.begin() + end}};
  }
};

// `count` facades, size x size pixels; the same numbers give the same facades.
inline Facades make_facades(int64_t count, int size, int64_t first = 0) {
  Facades result;
  Tensor labels = Tensor::empty({count, size, size}, DType::i32);
  result.photos = Tensor::empty({count, 3, size, size});
  for (int64_t i = 0; i < count; ++i) {
    const train::SyntheticFacade facade = train::make_synthetic_facade(size, 1, first + i);
    std::copy(facade.label.values.begin(), facade.label.values.end(), labels.select(0, i).data<int32_t>());
    train::image_to_floats(facade.photo, result.photos.select(0, i).data<float>());
    result.maps.push_back(train::colorize(facade.label, kFacadeClasses));
  }
  result.labels = one_hot(labels, kFacadeClasses);
  return result;
}

// The L1 loss of painting each class in its mean colour: a generator that is better knows more than each pixel's class.
inline double class_colour_loss(const Facades& facades) {
  const NoGrad no_grad;
  const Variable labels(facades.labels), photos(facades.photos);
  Variable colours;  // [3,13,1,1]
  for (int c = 0; c < kFacadeClasses; ++c) {
    const Variable mask = slice(labels, 1, c, c + 1);
    const Variable colour = reshape(sum(photos * mask, {0, 2, 3}) / (sum(mask) + 1e-9), {3, 1, 1, 1});
    colours = c == 0 ? colour : cat({colours, colour}, 1);
  }
  return l1_loss(conv2d(labels, colours, {}), photos).item();
}

// Writes rows of label map | generated | photo.
inline void write_sheet(const std::string& path, const Facades& facades, const Tensor& generated) {
  std::vector<std::vector<train::Image>> rows;
  for (int64_t i = 0; i < generated.size(0); ++i) {
    rows.push_back({facades.maps[i], train::to_image(generated, i), train::to_image(facades.photos, i)});
  }
  train::write_png(path, train::compose_grid(rows));
  std::printf("%s: label map | generated | photo\n", path.c_str());
}

// Trains the generator on the L1 loss alone until it knows a few facades by heart, and writes a sheet unless it is nullptr.
// The program's exit code: 0 if the loss is below half of class_colour_loss.
inline int learn_by_heart(nn::Layer& generator, const Facades& facades, int steps, double lr, const char* sheet) {
  constexpr int64_t kBatch = 4;
  const double baseline = class_colour_loss(facades);
  std::printf("%lld parameters; L1 loss of the mean colour of each class: %.4f\n",
              static_cast<long long>(generator.parameter_count()), baseline);
  nn::Adam adam(generator.named_parameters(), {.lr = lr, .beta1 = 0.5});
  double last = 0;  // mean loss of the last 20 steps
  for (int step = 1; step <= steps; ++step) {
    adam.set_lr(nn::schedule::cosine(lr, step, steps));
    const int64_t start = step * kBatch % facades.photos.size(0);
    const Facades batch = facades.part(start, start + kBatch);
    const Variable loss = l1_loss(generator(batch.labels), batch.photos);
    generator.zero_grad();
    loss.backward();
    adam.step();
    if (step > steps - 20) last += loss.item() / 20;
    if (step % 50 == 0) std::printf("step %3d  L1 loss %.4f\n", step, loss.item());
  }
  if (sheet) {
    const NoGrad no_grad;
    write_sheet(sheet, facades, generator(facades.labels).value());
  }
  return last < 0.5 * baseline ? 0 : 1;
}

}  // namespace asap::examples
