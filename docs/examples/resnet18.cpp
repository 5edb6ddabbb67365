// ResNet-18. Given a checkpoint with torchvision's names (.pth or .safetensors) and a photo, it prints the five likeliest
// classes; without, it trains a narrow one on the drawn shapes.
//   resnet18 [WEIGHTS PHOTO]
// Exit code 0 if, having trained, it names more than 95 % of 1000 unseen pictures correctly.
#include <cstdio>
#include <numeric>

#include "docs/examples/resnet.h"
#include "docs/examples/shapes.h"
#include "nn/checkpoint_file.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "tensor/threads.h"
#include "train/pictures/image_files.h"
#include "train/pictures/resize.h"

using namespace asap;

// The middle 224x224 of the photo whose shorter side was made 256, as the published network was evaluated: [1,3,224,224].
static Variable imagenet_input(const char* path) {
  const train::Image photo = train::read_photo(path);
  const int side = std::min(photo.width, photo.height);
  const int width = photo.width * 256 / side, height = photo.height * 256 / side;
  const train::Image small = train::resize_bicubic(photo, width, height);
  Tensor x = Tensor::empty({1, 3, 224, 224});
  train::image_to_floats(train::crop(small, (width - 224) / 2, (height - 224) / 2, 224, 224),
                         x.data<float>());  // -1 to 1
  const Tensor mean = Tensor::from<float>({0.485f, 0.456f, 0.406f}, {1, 3, 1, 1});
  const Tensor deviation = Tensor::from<float>({0.229f, 0.224f, 0.225f}, {1, 3, 1, 1});
  return (0.5 * Variable(x) + 0.5 - mean) / deviation;
}

static int classify(const char* weights, const char* photo) {
  const nn::StateDict state = nn::read_state_dict(weights);
  const Tensor* fc = state.find("fc.weight");
  ASAP_CHECK(fc, weights, ": expected torchvision's names of a ResNet-18, found no fc.weight");
  examples::ResNet18 net(fc->size(0), fc->size(1) / 8);
  net.load_state_dict(state, weights);

  const NoGrad no_grad;
  net.eval();
  const std::vector<float> shares = softmax(net(imagenet_input(photo)), 1).value().to_vector<float>();
  std::vector<int> classes(shares.size());
  std::iota(classes.begin(), classes.end(), 0);
  const auto end = classes.begin() + std::min<int64_t>(5, std::ssize(classes));
  std::partial_sort(classes.begin(), end, classes.end(), [&](int a, int b) { return shares[a] > shares[b]; });
  for (auto i = classes.begin(); i != end; ++i) std::printf("class %4d  %5.1f %%\n", *i, 100 * shares[*i]);
  return 0;
}

// The 16x16 gray pictures as a ResNet takes them: three channels, large enough for its five halvings.
static Variable enlarged(const Tensor& pictures) {
  return expand(resize2d(Variable(pictures), 64, ResizeMode::bilinear), {pictures.size(0), 3, 64, 64});
}

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc == 3) return classify(argv[1], argv[2]);
  if (argc != 1) return std::fprintf(stderr, "usage: resnet18 [WEIGHTS PHOTO]\n"), 2;
  nn::manual_seed(1);
  RandomStream random{.seed = 2};
  const shapes::Shapes test = shapes::make(1000, random);

  examples::ResNet18 net(shapes::kClasses, 16);
  std::printf("%lld parameters\n", static_cast<long long>(net.parameter_count()));
  const auto test_accuracy = [&] {
    const NoGrad no_grad;
    net.eval();
    const double share = shapes::accuracy(net(enlarged(test.pictures)).value(), test.labels);
    net.train();
    return share;
  };

  constexpr int kSteps = 120;
  nn::Sgd sgd(net.named_parameters(), {.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-4});
  for (int step = 1; step <= kSteps; ++step) {
    sgd.set_lr(nn::schedule::cosine(0.05, step, kSteps));
    const shapes::Shapes batch = shapes::make(32, random);
    const Variable loss = cross_entropy(net(enlarged(batch.pictures)), batch.labels);
    net.zero_grad();
    loss.backward();
    sgd.step();
    if (step % 20 == 0) std::printf("step %3d  loss %.4f  %.1f %% right\n", step, loss.item(), 100 * test_accuracy());
  }
  return test_accuracy() > 0.95 ? 0 : 1;
}
