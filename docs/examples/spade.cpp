// SPADE's generator, narrow and without its adversary, learns eight synthetic facades by heart. One run in half a minute;
// write the sheet to see what it makes of the label maps.
//   spade [SHEET.png]
// Exit code 0 if its L1 loss is below half of that of painting every class in its mean colour.
#include <cstdio>

#include "docs/examples/facades.h"
#include "docs/examples/spade_generator.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc > 2) return std::fprintf(stderr, "usage: spade [SHEET.png]\n"), 2;
  nn::manual_seed(1);
  const examples::Facades facades = examples::make_facades(8, 64);
  const double baseline = examples::class_colour_loss(facades);

  examples::SpadeGenerator generator({.classes = examples::kFacadeClasses, .width = 8, .hidden = 32});
  std::printf("%lld parameters; L1 loss of the mean colour of each class: %.4f\n",
              static_cast<long long>(generator.parameter_count()), baseline);
  constexpr int kSteps = 300;
  nn::Adam adam(generator.named_parameters(), {.lr = 2e-3, .beta1 = 0.5});
  double last = 0;  // mean loss of the last 20 steps
  for (int step = 1; step <= kSteps; ++step) {
    adam.set_lr(nn::schedule::cosine(2e-3, step, kSteps));
    const examples::Facades batch = facades.part(step % 2 * 4, step % 2 * 4 + 4);
    const Variable loss = l1_loss(generator(batch.labels), batch.photos);
    generator.zero_grad();
    loss.backward();
    adam.step();
    if (step > kSteps - 20) last += loss.item() / 20;
    if (step % 50 == 0) std::printf("step %3d  L1 loss %.4f\n", step, loss.item());
  }

  if (argc == 2) {
    const NoGrad no_grad;
    examples::write_sheet(argv[1], facades, generator(facades.labels).value());
  }
  return last < 0.5 * baseline ? 0 : 1;
}
