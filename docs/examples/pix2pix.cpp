// pix2pix, small: a U-Net and a discriminator of patches train each other on synthetic facades.
//   pix2pix [SHEET.png]
// Exit code 0 if the L1 loss is below 0.6 of that of painting every class in its mean colour, while the discriminator is neither
// fooled by everything nor by nothing.
#include <cmath>
#include <cstdio>

#include "docs/examples/facades.h"
#include "docs/examples/pix2pix.h"
#include "nn/init.h"
#include "tensor/threads.h"

using namespace asap;

// What the discriminator loses if it should call all patches real (1) or fake (0): equation 1.
static Variable gan_loss(const Variable& logits, double target) {
  return bce_with_logits(logits, Tensor::full(logits.shape(), target));
}

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc > 2) return std::fprintf(stderr, "usage: pix2pix [SHEET.png]\n"), 2;
  nn::manual_seed(1);
  const examples::Facades facades = examples::make_facades(8, 64);
  const double baseline = examples::class_colour_loss(facades);
  std::printf("L1 loss of the mean colour of each class: %.4f\n", baseline);

  examples::UNet generator({.classes = examples::kFacadeClasses, .width = 16, .halvings = 5});
  examples::PatchGan discriminator(examples::kFacadeClasses + 3, 16);
  constexpr int kSteps = 300, kBatch = 4;
  constexpr double kLr = 2e-3, kLambda = 100;
  nn::Adam generator_adam(generator.named_parameters(), {.lr = kLr, .beta1 = 0.5});
  nn::Adam discriminator_adam(discriminator.named_parameters(), {.lr = kLr / 4, .beta1 = 0.5});
  const auto judged = [&](const Tensor& labels, const Variable& picture) {
    return discriminator(cat({Variable(labels), picture}, 1));
  };
  double l1 = 0, d = 0;  // means of the last 50 steps
  for (int step = 1; step <= kSteps; ++step) {
    generator_adam.set_lr(nn::schedule::cosine(kLr, step, kSteps));
    const int64_t start = step * kBatch % facades.photos.size(0);
    const examples::Facades batch = facades.part(start, start + kBatch);
    const Variable fake = generator(batch.labels);

    const Variable on_fake = gan_loss(judged(batch.labels, fake.detach()), 0);
    const Variable d_loss = 0.5 * (on_fake + gan_loss(judged(batch.labels, batch.photos), 1));
    discriminator.zero_grad();
    d_loss.backward();
    discriminator_adam.step();

    const Variable l1_term = l1_loss(fake, batch.photos);
    generator.zero_grad();
    (gan_loss(judged(batch.labels, fake), 1) + kLambda * l1_term)
        .backward();  // into the discriminator's gradients, too
    generator_adam.step();

    if (step > kSteps - 50) {
      l1 += l1_term.item() / 50;
      d += d_loss.item() / 50;
    }
    if (step % 50 == 0) std::printf("step %3d  L1 %.4f  discriminator %.4f\n", step, l1_term.item(), d_loss.item());
  }

  if (argc == 2) {
    const NoGrad no_grad;
    examples::write_sheet(argv[1], facades, generator(facades.labels).value());
  }
  std::printf("last 50 steps: L1 %.4f, discriminator %.4f (%.4f where it cannot tell)\n", l1, d, std::log(2.0));
  return l1 < 0.6 * baseline && d > 0.05 && d < 0.69 ? 0 : 1;
}
