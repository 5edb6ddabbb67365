// HDRnet learns a local tone operator from pictures before and after it, and is tried on pictures that it has not seen. The operator
// brightens what lies in the dark and darkens what lies in the light: the same colour changes differently in different places.
//   hdrnet [SHEET.png]
// Exit code 0 if it is 8 dB closer to the operator than the untouched picture is, and 5 dB closer than the best global transform.
#include <cmath>
#include <cstdio>

#include "docs/examples/facades.h"
#include "docs/examples/hdrnet.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

static constexpr int kSteps = 300, kBatch = 4;

// x^gamma, gamma from 1/4 where the surroundings, a quarter of the picture wide, are black to 4 where they are white.
static Tensor tone_operator(const Tensor& x) {
  const NoGrad no_grad;
  const Variable brightness = mean(x, {1}, true);
  const int64_t radius = x.size(3) / 8;
  const Variable around =
      avg_pool2d(brightness, {.kernel = 2 * radius + 1, .stride = 1, .padding = radius, .count_include_pad = false});
  const Variable gamma = exp(std::log(4.0) * (2 * around - 1));
  return exp(gamma * log(clamp(x, 1.0 / 255, 1))).value();
}

static double psnr(const Variable& a, const Variable& b) { return -10 * std::log10(mse_loss(a, b).item()); }

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc > 2) return std::fprintf(stderr, "usage: hdrnet [SHEET.png]\n"), 2;
  nn::manual_seed(1);
  const auto pictures = [](int64_t count, int side, int64_t first) {
    return affine(examples::make_facades(count, side, first).photos, 0.5, 0.5);  // 0..1
  };
  const Tensor before = pictures(64, 64, 0), after = tone_operator(before);
  const Tensor test_before = pictures(16, 128, 64), test_after = tone_operator(test_before);

  // Trained by Adam on the mean squared error (section 3.4).
  const auto train = [&](nn::Layer& net, double lr, const char* what) {
    nn::Adam adam(net.named_parameters(), {.lr = lr});
    for (int step = 1; step <= kSteps; ++step) {
      adam.set_lr(nn::schedule::cosine(lr, step, kSteps));
      const int64_t start = step % (64 / kBatch) * kBatch;
      const Variable loss =
          mse_loss(net(before.slice(0, start, start + kBatch)), after.slice(0, start, start + kBatch));
      net.zero_grad();
      loss.backward();
      adam.step();
    }
    const NoGrad no_grad;
    const double result = psnr(net(test_before), test_after);
    std::printf("%-34s %.2f dB\n", what, result);
    return result;
  };
  const double untouched = psnr(test_before, test_after);
  std::printf("unseen pictures against the operator's:\n%-34s %.2f dB\n", "as they are", untouched);
  // The same curve of each pixel's colour everywhere.
  nn::Sequential curve;
  curve.add<nn::Conv2d>(nn::Conv2dOptions{.in = 3, .out = 32, .kernel = 1, .activation_slope = 0});
  curve.add<nn::Conv2d>(nn::Conv2dOptions{.in = 32, .out = 3, .kernel = 1});
  const double global = train(curve, 2e-2, "one curve of colours for all places");
  examples::Hdrnet net({});
  const double local = train(net, 5e-3, "HDRnet");

  if (argc == 2) {
    const NoGrad no_grad;
    const Tensor shown = net(test_before).value();
    std::vector<std::vector<train::Image>> rows;
    for (int64_t i = 0; i < 4; ++i) {
      const auto image = [&](const Tensor& x) { return train::to_image(affine(x, 2, -1), i); };
      rows.push_back({image(test_before), image(shown), image(test_after)});
    }
    train::write_png(argv[1], train::compose_grid(rows));
    std::printf("%s: before | HDRnet | the operator\n", argv[1]);
  }
  return local > untouched + 8 && local > global + 5 ? 0 : 1;
}
