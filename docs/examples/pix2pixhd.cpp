// pix2pixHD's global generator, narrow and without its adversaries, learns eight synthetic facades by heart.
//   pix2pixhd [SHEET.png]
// Exit code 0 if its L1 loss is below half of that of painting every class in its mean colour.
#include <cstdio>

#include "docs/examples/facades.h"
#include "docs/examples/pix2pixhd_generator.h"
#include "nn/init.h"
#include "tensor/threads.h"

using namespace asap;

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc > 2) return std::fprintf(stderr, "usage: pix2pixhd [SHEET.png]\n"), 2;
  nn::manual_seed(1);
  examples::Pix2pixHdGenerator generator(
      {.classes = examples::kFacadeClasses, .width = 16, .halvings = 3, .blocks = 3});
  return examples::learn_by_heart(generator, examples::make_facades(8, 64), 300, 1e-3, argc == 2 ? argv[1] : nullptr);
}
