// A small GPT learns to continue a text, character by character, and writes some of its own.
//   gpt TEXT     (this project's LICENSE will do)
// Exit code 0 if on the tenth of the text that was held out its loss is 0.4 nats below that of counted pairs of characters: of
// knowing no more than the character before.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "docs/examples/gpt.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "tensor/threads.h"

using namespace asap;

static constexpr int64_t kContext = 32, kBatch = 32;

struct Text {
  std::string characters;  // token i is characters[i]
  std::vector<int32_t> tokens;
  size_t held_out = 0;  // where the held-out tenth begins
};

static Text read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  ASAP_CHECK(text.size() > 20 * kContext, path, ": expected a text of more than ", 20 * kContext, " bytes, got ",
             text.size());
  // What is held out then lies in the middle, and is no appendix unlike all the rest.
  std::rotate(text.begin(), text.begin() + std::ssize(text) / 2, text.end());
  Text result{.characters = text, .tokens = {}, .held_out = text.size() * 9 / 10};
  std::string& characters = result.characters;
  std::sort(characters.begin(), characters.end());
  characters.erase(std::unique(characters.begin(), characters.end()), characters.end());
  for (char c : text) result.tokens.push_back(static_cast<int32_t>(characters.find(c)));
  return result;
}

// Nats a character of the held-out part under the counts of pairs before it, each raised by 0.1.
static double pairs_loss(const Text& text) {
  const size_t v = text.characters.size();
  std::vector<double> pairs(v * v, 0.1), firsts(v, 0.1 * static_cast<double>(v));
  double sum = 0;
  for (size_t i = 1; i < text.tokens.size(); ++i) {
    const int32_t a = text.tokens[i - 1], b = text.tokens[i];
    double& pair = pairs[a * v + b];
    if (i >= text.held_out) {
      sum -= std::log(pair / firsts[a]);
    } else {
      pair += 1;
      firsts[a] += 1;
    }
  }
  return sum / static_cast<double>(text.tokens.size() - text.held_out);
}

// Pieces of the text at the given places: kContext tokens and the one behind each.
struct Batch {
  Tensor tokens, next;  // i32 [N,kContext]
};
static Batch batch_at(const Text& text, const std::vector<size_t>& places) {
  const auto pieces = [&](size_t shift) {
    std::vector<int32_t> all;
    for (size_t place : places) {
      const auto begin = text.tokens.begin() + static_cast<std::ptrdiff_t>(place + shift);
      all.insert(all.end(), begin, begin + kContext);
    }
    return Tensor::from(all, {std::ssize(places), kContext});
  };
  return {pieces(0), pieces(1)};
}

static Variable loss_of(examples::Gpt& net, const Batch& batch) {
  const Variable logits = net.forward(batch.tokens);
  return cross_entropy(reshape(logits, {-1, logits.size(2)}), batch.next.reshape({-1}));
}

static double held_out_loss(examples::Gpt& net, const Text& text) {
  const NoGrad no_grad;
  net.eval();
  std::vector<size_t> places;
  for (size_t at = text.held_out - 1; at + kContext < text.tokens.size(); at += kContext) places.push_back(at);
  const double loss = loss_of(net, batch_at(text, places)).item();
  net.train();
  return loss;
}

// `length` characters, each drawn from what the network expects after those before it.
static std::string write(examples::Gpt& net, const Text& text, int length, RandomStream& random) {
  const NoGrad no_grad;
  net.eval();
  std::vector<int32_t> tokens(text.tokens.begin(), text.tokens.begin() + kContext);
  for (int i = 0; i < length; ++i) {
    const std::vector<int32_t> window(tokens.end() - kContext, tokens.end());
    const Variable logits = net.forward(Tensor::from(window, {1, kContext}));
    const std::vector<float> shares = softmax(slice(logits, 1, -1, kContext), 2).value().to_vector<float>();
    double draw = random_uniform({1}, {.seed = random.seed, .offset = random.take(1)}).item();
    int32_t token = 0;
    while (token + 1 < std::ssize(shares) && (draw -= shares[token]) > 0) ++token;
    tokens.push_back(token);
  }
  net.train();
  std::string written;
  for (auto token = tokens.begin() + kContext; token != tokens.end(); ++token) written += text.characters[*token];
  return written;
}

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  if (argc != 2) return std::fprintf(stderr, "usage: gpt TEXT\n"), 2;
  const Text text = read_text(argv[1]);
  nn::manual_seed(1);
  RandomStream random{.seed = 2};
  examples::Gpt net({.vocabulary = std::ssize(text.characters), .context = kContext});
  const double pairs = pairs_loss(text);
  std::printf("%zu characters of %zu kinds, %lld parameters; pairs of characters: %.3f nats on the tenth held out\n",
              text.tokens.size(), text.characters.size(), static_cast<long long>(net.parameter_count()), pairs);

  constexpr int kSteps = 600, kWarmUp = 50;
  constexpr double kLr = 4e-3;
  nn::AdamW adam(net.named_parameters(), {.lr = kLr, .beta2 = 0.99, .weight_decay = 0.1});
  for (int step = 1; step <= kSteps; ++step) {
    adam.set_lr(nn::schedule::warmup_cosine(kLr, step, kWarmUp, kSteps));
    std::vector<size_t> places;
    const std::vector<float> draws =
        random_uniform({kBatch}, {.seed = random.seed, .offset = random.take(kBatch)}).to_vector<float>();
    for (float draw : draws)
      places.push_back(static_cast<size_t>(draw * static_cast<float>(text.held_out - kContext - 1)));
    const Variable loss = loss_of(net, batch_at(text, places));
    net.zero_grad();
    loss.backward();
    nn::clip_grad_norm(net.parameters(), 1);
    adam.step();
    if (step % 100 == 0)
      std::printf("step %3d  %.3f nats, held out %.3f\n", step, loss.item(), held_out_loss(net, text));
  }

  std::printf("---\n%s\n---\n", write(net, text, 300, random).c_str());
  return held_out_loss(net, text) < pairs - 0.4 ? 0 : 1;
}
