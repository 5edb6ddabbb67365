// Predicts a training step of ASAPNet on many cards (scaling_model.h), from one card's measured step, the networks' parameters and what links
// can do. Nothing is measured here; docs/scaling.md says what each default is and how the model was checked.
//   bench_scaling --step-ms 11.0 --fixed-ms 1.3           a table of cards and pictures a card
//   bench_scaling --cards 1,2,4 --node-cards 4 --latency-us 20 --bandwidth 5 ...
#include <CLI/CLI.hpp>
#include <cstdio>

#include "asapnet/discriminator.h"
#include "asapnet/generator.h"
#include "bench/scaling_model.h"
#include "nn/init.h"

namespace {

using namespace asap;
using namespace asap::bench;

struct Flags {
  std::string preset = "facades256";
  std::vector<int64_t> cards{1, 8, 64, 512}, batches{1, 2, 4, 8, 16}, global_batches{32, 64, 512};
  double step_ms = 11.0, fixed_ms = 1.3;            // of one picture; what of it does not grow with the batch
  double generator_share = 0.6;                     // of a step's time
  double generator_backward = 0.33, discriminator_backward = 0.5;  // of their steps: while their own gradients come
  double bucket_mb = 8, wire_bytes = 4, jitter = 0;
  int64_t node_cards = 8;
  double latency_us = 3.4, bandwidth = 370, net_latency_us = 14, net_bandwidth = 47, launch_us = 8.4;  // GB/s of a card
};

// What the networks say; time grows with the batch.
struct Model {
  std::vector<double> generator, discriminator;  // bytes of f32 parameters

  std::vector<Pass> passes(const Flags& f, double batch) const {
    const auto pass = [&](const std::vector<double>& parameters, double share, double backward) {
      const double growing = share * (f.step_ms - f.fixed_ms) * batch / 1e3;
      std::vector<double> buckets = buckets_of(parameters, f.bucket_mb * (1 << 20));
      for (double& bytes : buckets) bytes *= f.wire_bytes / 4;
      return Pass{growing * (1 - backward), growing * backward, share * f.fixed_ms / 1e3, buckets};
    };
    return {pass(generator, f.generator_share, f.generator_backward),
            pass(discriminator, 1 - f.generator_share, f.discriminator_backward)};
  }
};

std::vector<double> bytes_of(const nn::Module& network) {
  std::vector<double> bytes;
  for (const auto& [name, parameter] : network.named_parameters()) bytes.push_back(4.0 * static_cast<double>(parameter.numel()));
  return bytes;
}

double sum(const std::vector<double>& values) {
  double all = 0;
  for (const double v : values) all += v;
  return all;
}

struct Predicted {
  StepTime time;
  double pictures_per_second = 0, efficiency = 0;  // against so many cards that send nothing, with as many pictures each
};

Predicted predict(const Model& model, const Flags& f, int64_t cards, double batch) {
  const Cluster cluster{f.node_cards, {f.latency_us / 1e6, f.bandwidth * 1e9}, {f.net_latency_us / 1e6, f.net_bandwidth * 1e9}, f.launch_us / 1e6};
  const StepTime time = step_time(cluster, cards, model.passes(f, batch), f.jitter / 100);
  return {time, static_cast<double>(cards) * batch / time.total(), time.compute / time.total()};
}

void print(const Model& model, const Flags& f) {
  std::printf("%s: %.1f MB of gradients of the generator in %zu buckets, %.1f MB of the discriminator in %zu; %g bytes a value are sent\n\n",
              f.preset.c_str(), sum(model.generator) / 1e6, buckets_of(model.generator, f.bucket_mb * (1 << 20)).size(),
              sum(model.discriminator) / 1e6, buckets_of(model.discriminator, f.bucket_mb * (1 << 20)).size(), f.wire_bytes);
  std::printf("| cards | pictures a card | step, ms | sums, ms | exposed, ms | efficiency | pictures/s |\n|---|---|---|---|---|---|---|\n");
  for (const int64_t cards : f.cards) {
    for (const int64_t batch : f.batches) {
      const Predicted p = predict(model, f, cards, static_cast<double>(batch));
      std::printf("| %ld | %ld | %.2f | %.2f | %.2f | %.1f %% | %.0f |\n", static_cast<long>(cards), static_cast<long>(batch), 1e3 * p.time.total(),
                  1e3 * p.time.sums, 1e3 * p.time.exposed, 100 * p.efficiency, p.pictures_per_second);
    }
  }
  std::printf("\nSmallest whole number of pictures a card with an efficiency of 90 %%:\n");
  for (const int64_t cards : f.cards) {
    int64_t batch = 1;
    while (batch < 1024 && predict(model, f, cards, static_cast<double>(batch)).efficiency < 0.9) ++batch;
    std::printf("  %ld cards: %s%ld\n", static_cast<long>(cards), batch == 1024 ? "more than " : "", static_cast<long>(batch));
  }
  std::printf("\nA batch of fixed size, shared by more and more cards; doubling pays while it takes a quarter off the step:\n");
  std::printf("| batch | cards | pictures a card | step, ms | speed-up | of doubling |\n|---|---|---|---|---|---|\n");
  for (const int64_t whole : f.global_batches) {
    double before = 0;
    const double one = predict(model, f, 1, static_cast<double>(whole)).time.total();
    for (int64_t cards = 1; cards <= whole; cards *= 2) {
      if (cards > f.node_cards && cards % f.node_cards != 0) break;
      const double total = predict(model, f, cards, static_cast<double>(whole) / static_cast<double>(cards)).time.total();
      std::printf("| %ld | %ld | %ld | %.2f | %.1f | %s |\n", static_cast<long>(whole), static_cast<long>(cards), static_cast<long>(whole / cards),
                  1e3 * total, one / total, before == 0 ? "" : total < 0.75 * before ? "pays" : "does not pay");
      before = total;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Flags f;
  CLI::App app("Predicts training steps on many cards from one card's; measures nothing (docs/scaling.md)", "bench_scaling");
  app.add_option("--preset", f.preset, "configuration whose parameters are counted")->capture_default_str();
  app.add_option("--cards", f.cards, "how many")->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--batches", f.batches, "pictures a card")->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--global-batches", f.global_batches, "pictures of all cards")->delimiter(',')->check(CLI::PositiveNumber)->capture_default_str();
  struct Number {
    const char *flag, *help;
    double* target;
  };
  const Number numbers[] = {
      {"--step-ms", "one card's measured iteration of one picture", &f.step_ms},
      {"--fixed-ms", "what of it does not grow with the batch", &f.fixed_ms},
      {"--generator-share", "of the iteration", &f.generator_share},
      {"--generator-backward", "share of its step while its own gradients come", &f.generator_backward},
      {"--discriminator-backward", "the same", &f.discriminator_backward},
      {"--bucket-mb", "MiB of gradients in a bucket", &f.bucket_mb},
      {"--wire-bytes", "4 or 2 (bf16)", &f.wire_bytes},
      {"--jitter", "per cent of a step: standard deviation of a card's time", &f.jitter},
      {"--latency-us", "of a step inside a node", &f.latency_us},
      {"--bandwidth", "GB/s of a card each way inside a node", &f.bandwidth},
      {"--net-latency-us", "of a step between nodes", &f.net_latency_us},
      {"--net-bandwidth", "GB/s of a card each way between nodes", &f.net_bandwidth},
      {"--launch-us", "of a collective", &f.launch_us}};
  for (const Number& n : numbers) app.add_option(n.flag, *n.target, n.help)->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--node-cards", f.node_cards, "cards of a node")->check(CLI::PositiveNumber)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    const nn::init::Blank shapes_alone;
    const asapnet::Config config = asapnet::preset(f.preset);
    print({bytes_of(asapnet::Generator(config)), bytes_of(asapnet::Discriminator(config))}, f);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_scaling: %s\n", error.what());
    return 1;
  }
}
