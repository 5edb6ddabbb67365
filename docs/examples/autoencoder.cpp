// A convolutional autoencoder: a module of one's own, trained, saved to a file, loaded back and looked at.
// It squeezes 256 pixels into 16 numbers and unfolds them again. docs/library.md walks through it.
//   autoencoder FILE.safetensors
// Exit code 0 if less than 15 % of the pictures' variance is lost, and the loaded copy computes the very same bits.
#include <cstdio>

#include "docs/examples/shapes.h"
#include "nn/checkpoint_file.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/optim.h"
#include "nn/safetensors.h"
#include "tensor/threads.h"

using namespace asap;

static constexpr int64_t kCode = 16;  // numbers a picture is squeezed into

// Names given to register_module are the keys of the state: encode.0.weight, to_code.weight, ...
class Autoencoder : public nn::Layer {
 public:
  Autoencoder()
      : encode_(register_module<nn::Sequential>("encode")),
        to_code_(register_module<nn::Linear>("to_code", 32 * 4 * 4, kCode)),
        from_code_(register_module<nn::Linear>("from_code", kCode, 32 * 4 * 4)),
        decode_(register_module<nn::Sequential>("decode")) {
    encode_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 1, .out = 16, .kernel = 3, .stride = 2, .padding = 1});  // [N,16,8,8]
    encode_.add<nn::LeakyReLU>(0.2);
    encode_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 32, .kernel = 3, .stride = 2, .padding = 1});  // [N,32,4,4]
    encode_.add<nn::LeakyReLU>(0.2);
    decode_.add<nn::Upsample>(2, ResizeMode::bilinear);  // [N,32,8,8]
    decode_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 32, .out = 16, .kernel = 3, .padding = 1});
    decode_.add<nn::LeakyReLU>(0.2);
    decode_.add<nn::Upsample>(2, ResizeMode::bilinear);  // [N,16,16,16]
    decode_.add<nn::Conv2d>(nn::Conv2dOptions{.in = 16, .out = 1, .kernel = 3, .padding = 1});
    decode_.add<nn::Sigmoid>();
  }

  Variable code(const Variable& x) {
    const Variable features = encode_(x);
    return to_code_(reshape(features, {x.size(0), 32 * 4 * 4}));  // [N,kCode]
  }
  Variable forward(const Variable& x) override {
    const Variable features = leaky_relu(from_code_(code(x)), 0.2);
    return decode_(reshape(features, {x.size(0), 32, 4, 4}));  // [N,1,16,16]
  }

 private:
  nn::Sequential& encode_;
  nn::Linear &to_code_, &from_code_;
  nn::Sequential& decode_;
};

// Mean squared error over the variance of the pixels: 1 for a model that always answers with the mean.
static double lost_variance(Autoencoder& model, const Tensor& pictures) {
  const NoGrad no_grad;
  const Variable mean_value = mean(Variable(pictures));
  return mse_loss(model(pictures), pictures).item() / mean(square(pictures - mean_value)).item();
}

static void print_beside(const Tensor& a, const Tensor& b) {
  constexpr const char* kShades = " .:-=+*#%@";
  const auto row_text = [&](const float* row) {
    std::string text;
    for (int x = 0; x < shapes::kSide; ++x) text += kShades[static_cast<int>(std::clamp(row[x], 0.f, 0.999f) * 10)];
    return text;
  };
  const std::vector<float> left = a.to_vector<float>(), right = b.to_vector<float>();
  for (size_t at = 0; at < left.size(); at += shapes::kSide) {
    std::printf("  %s   %s\n", row_text(&left[at]).c_str(), row_text(&right[at]).c_str());
  }
}

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc != 2) return std::fprintf(stderr, "usage: autoencoder FILE.safetensors\n"), 2;
  nn::manual_seed(1);
  RandomStream random{.seed = 3};
  const Tensor test = shapes::make(500, random).pictures;

  Autoencoder model;
  nn::Adam adam(model.named_parameters(), {.lr = 5e-3});
  for (int step = 1; step <= 600; ++step) {
    adam.set_lr(nn::schedule::cosine(5e-3, step, 600));
    const Tensor batch = shapes::make(64, random).pictures;
    const Variable loss = mse_loss(model(batch), batch);
    model.zero_grad();
    loss.backward();
    adam.step();
    if (step % 100 == 0) std::printf("step %3d  %.1f %% of the variance lost\n", step, 100 * lost_variance(model, test));
  }

  nn::write_safetensors(argv[1], model.state_dict());
  Autoencoder copy;  // other random weights, until the file's replace them; a key too many or too few is an error
  copy.load_state_dict(nn::read_state_dict(argv[1]), argv[1]);

  const NoGrad no_grad;
  const Tensor shown = test.slice(0, 1, 2);
  const Tensor answer = copy(shown).value();
  std::printf("a picture, and what is left of it after 16 numbers:\n");
  print_beside(shown, answer);
  const bool equal_bits = answer.to_vector<float>() == model(shown).value().to_vector<float>();
  return equal_bits && lost_variance(copy, test) < 0.15 ? 0 : 1;
}
