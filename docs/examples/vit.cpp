// A small vision transformer learns to tell the drawn shapes apart: 16 patches of 4x4 pixels and a class token.
// Exit code 0 if it names more than 95 % of 1000 unseen pictures correctly.
#include <cstdio>

#include "docs/examples/shapes.h"
#include "docs/examples/vit.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

int main(int, char** argv) {
  let_waiting_threads_sleep(argv);
  nn::manual_seed(1);
  RandomStream random{.seed = 2};
  const shapes::Shapes test = shapes::make(1000, random);
  examples::Vit net({.channels = 1,
                     .side = shapes::kSide,
                     .patch = 4,
                     .width = 64,
                     .heads = 4,
                     .layers = 3,
                     .classes = shapes::kClasses});
  std::printf("%lld parameters\n", static_cast<long long>(net.parameter_count()));
  const auto test_accuracy = [&] {
    const NoGrad no_grad;
    return shapes::accuracy(net(test.pictures).value(), test.labels);
  };

  constexpr int kSteps = 400, kWarmUp = 50;
  nn::AdamW adam(net.named_parameters(), {.lr = 1e-3, .weight_decay = 0.05});
  for (int step = 1; step <= kSteps; ++step) {
    adam.set_lr(nn::schedule::warmup_cosine(1e-3, step, kWarmUp, kSteps));
    const shapes::Shapes batch = shapes::make(64, random);
    const Variable loss = cross_entropy(net(batch.pictures), batch.labels);
    net.zero_grad();
    loss.backward();
    nn::clip_grad_norm(net.parameters(), 1);
    adam.step();
    if (step % 100 == 0) std::printf("step %3d  loss %.4f  %.1f %% right\n", step, loss.item(), 100 * test_accuracy());
  }
  return test_accuracy() > 0.95 ? 0 : 1;
}
