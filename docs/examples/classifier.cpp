// A small convolutional classifier, from nothing to a tested model: the library without ASAPNet.
// It learns to tell circles, squares, triangles and crosses apart in a few seconds. docs/library.md walks through it.
// Exit code 0 if it names more than 95 % of 1000 unseen pictures correctly.
#include <cstdio>

#include "docs/examples/shapes.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

// [N,1,16,16] -> logits [N,4]. Sequential numbers its layers, so the state's keys are 0.weight, 1.weight, ... as in
// PyTorch. Children are constructed in place: add<Layer>(constructor arguments).
static void build(nn::Sequential& net) {
  net.add<nn::Conv2d>(nn::Conv2dOptions{.in = 1, .out = 16, .kernel = 3, .padding = 1, .bias = false});
  net.add<nn::BatchNorm2d>(16);
  net.add<nn::ReLU>();
  net.add<nn::MaxPool2d>(Pool2dParams{.kernel = 2, .stride = 2});  // [N,16,8,8]
  net.add<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 32, .kernel = 3, .padding = 1, .bias = false});
  net.add<nn::BatchNorm2d>(32);
  net.add<nn::ReLU>();
  net.add<nn::MaxPool2d>(Pool2dParams{.kernel = 2, .stride = 2});  // [N,32,4,4]
  net.add<nn::Flatten>();
  net.add<nn::Linear>(32 * 4 * 4, shapes::kClasses);
}

static double accuracy(nn::Sequential& net, const shapes::Shapes& test) {
  const NoGrad no_grad;  // no graph is recorded while this lives
  net.eval();            // batch norm uses its running statistics
  const double share = shapes::accuracy(net(test.pictures).value(), test.labels);
  net.train();
  return share;
}

int main(int, char** argv) {
  let_waiting_threads_sleep(argv);
  nn::manual_seed(1);             // of the weights
  RandomStream random{.seed = 2};  // of the pictures
  const shapes::Shapes test = shapes::make(1000, random);

  nn::Sequential net;
  build(net);
  nn::Adam adam(net.named_parameters(), {.lr = 2e-3});
  std::printf("%lld parameters; before training %.1f %% are right\n", static_cast<long long>(net.parameter_count()),
              100 * accuracy(net, test));

  for (int step = 1; step <= 200; ++step) {
    const shapes::Shapes batch = shapes::make(64, random);
    const Variable loss = cross_entropy(net(batch.pictures), batch.labels);  // computes, and records the graph
    net.zero_grad();
    loss.backward();  // fills every parameter's grad, and frees the graph
    adam.step();
    if (step % 40 == 0) std::printf("step %3d  loss %.4f  %.1f %% right\n", step, loss.item(), 100 * accuracy(net, test));
  }

  return accuracy(net, test) > 0.95 ? 0 : 1;
}
