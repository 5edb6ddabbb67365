// Uses every room of the installed package: trains a linear layer, writes and reads it back (libzip and JSON behind
// the file readers must link), loads a folder of pictures (so must their formats' libraries), and runs a small ASAPNet. Exit code 0 if all came out right.
#include <cmath>
#include <cstdio>

#include "asapnet/model.h"
#include "nn/checkpoint_file.h"
#include "nn/init.h"
#include "nn/safetensors.h"
#include "tensor/threads.h"
#include "train/data/image_folder.h"
#include "train/data/prefetcher.h"
#include "train/pictures/image_files.h"

using namespace asap;

// y = 2 x0 - 3 x1 + 1, learned from 64 points.
static bool linear_layer_learns(nn::Linear& layer) {
  const Tensor x = random_normal({64, 2}, {.seed = 1});
  const Tensor truth = Tensor::from<float>({2, -3}, {1, 2});
  const Tensor y = affine(matmul(x, truth, false, true), 1, 1);
  nn::Adam adam(layer.named_parameters(), {.lr = 0.05});
  double loss = 0;
  for (int step = 0; step < 400; ++step) {
    const Variable error = mse_loss(layer(x), y);
    layer.zero_grad();
    error.backward();
    adam.step();
    loss = error.item();
  }
  std::printf("linear layer: loss %g, weight %g %g, bias %g\n", loss, layer.weight.value().to_vector<float>()[0],
              layer.weight.value().to_vector<float>()[1], layer.bias.value().to_vector<float>()[0]);
  return loss < 1e-6;
}

static bool file_comes_back(nn::Linear& layer, const char* path) {
  nn::write_safetensors(path, layer.state_dict());
  nn::Linear copy(2, 1);
  copy.load_state_dict(nn::read_state_dict(path), path);
  return copy.weight.value().to_vector<float>() == layer.weight.value().to_vector<float>();
}

static bool pictures_are_loaded() {
  std::filesystem::create_directories("pictures/gray");
  train::write_png("pictures/gray/one.png", train::Image(8, 8, 3, 128));
  const train::ImageFolder folder = train::list_image_folder("pictures");
  train::Prefetcher<train::LabelledPicture> loader(
      1, [&](int64_t, int64_t i) { return train::load_labelled_picture(folder.pictures[static_cast<size_t>(i)], 4); }, {});
  loader.start_epoch(1);
  const train::PictureBatch batch = train::to_tensors(*loader.next());
  return batch.pictures.shape() == Shape{1, 3, 4, 4} && folder.classes[0] == "gray";
}

static bool asapnet_runs() {
  asapnet::AsapNet model(asapnet::preset("quick"), 1);
  const Tensor labels = Tensor::full({1, 128, 128}, 3, DType::i32);
  const Tensor y = model.inference({.labels = labels, .instance = {}, .image = {}});
  return y.shape() == Shape{1, 3, 128, 128} && std::isfinite(sum(y).item());
}

int main(int, char** argv) {
  let_waiting_threads_sleep(argv);
  nn::manual_seed(1);
  nn::Linear layer(2, 1);
  const bool learned = linear_layer_learns(layer);
  const bool came_back = file_comes_back(layer, "consumer.safetensors");
  const bool loaded = pictures_are_loaded(), ran = asapnet_runs();
  std::printf("learned %d, file %d, pictures %d, asapnet %d\n", learned, came_back, loaded, ran);
  return learned && came_back && loaded && ran ? 0 : 1;
}
