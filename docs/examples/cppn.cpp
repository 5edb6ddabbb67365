// Two networks learn one picture, pixel by pixel: the plain one sees x and y, the other sines and cosines of random
// multiples of them. The plain one stays blurred.
//   cppn [SHEET.png]
// Exit code 0 if the features gain more than 5 dB, and reach 25 dB.
#include <cmath>
#include <cstdio>

#include "docs/examples/cppn.h"
#include "docs/examples/facades.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

static constexpr int kSide = 96, kSteps = 300;

// The middle of every pixel, [kSide*kSide,2].
static Tensor pixel_places() {
  std::vector<float> places;
  for (int i = 0; i < kSide * kSide; ++i) {
    places.push_back((static_cast<float>(i % kSide) + 0.5f) / kSide);
    places.push_back((static_cast<float>(i / kSide) + 0.5f) / kSide);
  }
  return Tensor::from(places, {kSide * kSide, 2});
}

// [P,3] in 0..1 -> [1,3,kSide,kSide] in -1..1
static Tensor as_picture(const Variable& colours) {
  return reshape(transpose(2 * colours - 1, 0, 1), {1, 3, kSide, kSide}).value();
}

// Trains on all pixels at once. The PSNR in dB, and the picture it draws.
static std::pair<double, Tensor> fit(examples::Cppn& net, const Tensor& places, const Variable& colours,
                                     const char* what) {
  nn::Adam adam(net.named_parameters(), {.lr = 2e-3});
  const auto psnr = [](const Variable& loss) { return -10 * std::log10(loss.item()); };
  for (int step = 1; step <= kSteps; ++step) {
    adam.set_lr(nn::schedule::cosine(2e-3, step, kSteps));
    const Variable loss = mse_loss(net(places), colours);
    net.zero_grad();
    loss.backward();
    adam.step();
    if (step % 100 == 0) std::printf("%s: step %d  PSNR %.2f dB\n", what, step, psnr(loss));
  }
  const NoGrad no_grad;
  const Variable drawn = net(places);
  return {psnr(mse_loss(drawn, colours)), as_picture(drawn)};
}

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc > 2) return std::fprintf(stderr, "usage: cppn [SHEET.png]\n"), 2;
  nn::manual_seed(1);
  const Tensor photo = examples::make_facades(1, kSide, 2).photos;
  const Variable colours = 0.5 * transpose(Variable(photo.reshape({3, kSide * kSide})), 0, 1) + 0.5;
  const Tensor places = pixel_places();

  examples::Cppn plain(0, 0, 128, 3), fourier(128, 10, 128, 3);
  const auto [plain_psnr, plain_picture] = fit(plain, places, colours, "x and y");
  const auto [fourier_psnr, fourier_picture] = fit(fourier, places, colours, "Fourier features");

  if (argc == 2) {
    const auto image = [](const Tensor& x) { return train::to_image(x, 0); };
    train::write_png(argv[1], train::compose_grid({{image(plain_picture), image(fourier_picture), image(photo)}}));
    std::printf("%s: plain | Fourier features | picture\n", argv[1]);
  }
  return fourier_psnr > plain_psnr + 5 && fourier_psnr > 25 ? 0 : 1;
}
