// The benchmarks as programs read them: JSON on standard output, a machine's peak that is one, and rows that are reported
// whole where a repetition is faster than the machine.
#include <benchmark/benchmark.h>
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/op_timing.h"
#include "tests/support/skip.h"

using namespace asap;
using nlohmann::json;

namespace {

std::string output_of(const std::string& command, int& status) {
  FILE* out = popen(command.c_str(), "r");
  REQUIRE(out);
  std::string text;
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, out)) > 0;) text.append(buffer, got);
  status = WEXITSTATUS(pclose(out));
  return text;
}

// A row of a thousand numbers, timed against a machine that reads so many bytes a second.
json time_row(double bytes_per_second, int& status) {
  static const tests::OpCase row{.name = "thousand",
                                 .inputs = {tests::constant(tests::normal({1000}))},
                                 .run = [](const std::vector<Variable>& in) { return relu(in[0]); },
                                 .slots = {&kernels::unary},
                                 .large = true,
                                 .flops = 1000};
  const bench::MachinePeak peak{.name = "made up", .flops = 1e30, .read = {{0, bytes_per_second}}};
  benchmark::ClearRegisteredBenchmarks();
  bench::register_timing(row, kernels::unary, "vectorized", Device::cpu, peak);
  std::ostringstream text;
  std::streambuf* const before = std::cout.rdbuf(text.rdbuf());
  status = bench::run_timings();
  std::cout.rdbuf(before);
  const json benchmarks = json::parse(text.str()).at("benchmarks");
  REQUIRE(benchmarks.size() == 1);
  return benchmarks[0];
}

}  // namespace

TEST_CASE("bench_ops writes JSON") {
  tests::ran();
  int status = 0;
  const std::string text = output_of(std::string(ASAP_BENCH_OPS) +
                                         " --benchmark_format=json --benchmark_min_time=0.01 "
                                         "--benchmark_filter='^(unary/relu|binary/add)_64x256x256/' 2>/dev/null",
                                     status);
  const json content = json::parse(text);
  const json& benchmarks = content.at("benchmarks");
  CHECK(benchmarks.size() >= 2);
  bool over = false;
  for (const json& row : benchmarks) {
    INFO(row.dump());
    CHECK(row.at("real_time") > 0);
    CHECK(row.at("GB/s") > 0);
    CHECK(row.at("%peak") > 0);
    over |= row.contains("error_message");
  }
  CHECK(status == over);
  // "..., float32 peak 243.1 GFLOP/s, ..."; with denormal numbers it was 0.78.
  const std::string peak = content.at("context").at("peak");
  const std::string before = "float32 peak ";
  INFO(peak);
  REQUIRE(peak.find(before) != std::string::npos);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(std::stod(peak.substr(peak.find(before) + before.size())) > 4);
#endif
}

TEST_CASE("bench_asapnet writes JSON, and both write files") {
  tests::ran();
  int status = 0;
  const json content = json::parse(
      output_of(std::string(ASAP_BENCH_ASAPNET) + " --benchmark_format=json --benchmark_min_time=0.001 "
                                                  "--benchmark_filter=highres_stream/facades256 2>/dev/null",
                status));
  CHECK(status == 0);
  CHECK(content.at("context").at("device") == "cpu");
  CHECK(content.at("benchmarks").size() >= 3);
  const std::string file = "test_bench.json";
  output_of(std::string(ASAP_BENCH_OPS) + " --benchmark_out=" + file +
                " --benchmark_min_time=0.01 --benchmark_filter='^unary/relu_64x256x256/vectorized' 2>/dev/null",
            status);
  std::ifstream in(file);
  CHECK(json::parse(in).at("benchmarks").size() >= 3);  // mean, median, deviation
}

TEST_CASE("a row whose repetitions lie on both sides of the peak is reported whole") {
  tests::ran();
  std::string program = "test_bench", format = "--benchmark_format=json", time = "--benchmark_min_time=0.001";
  char* arguments[] = {program.data(), format.data(), time.data(), nullptr};
  int count = 3, status = 0;
  benchmark::Initialize(&count, arguments);

  const json slow = time_row(1e30, status);
  CHECK(status == 0);
  CHECK(slow.at("name") == "thousand/vectorized");
  const double measured = slow.at("GB/s").get<double>() * 1e9;  // of the median
  CHECK(measured > 0);
  for (int round = 0; round < 3; ++round) {  // some of its five repetitions are faster than that, some slower
    const json row = time_row(measured, status);
    const double percent = row.at("%peak");
    CHECK(percent > 0);
    CHECK(status == (percent > 100));
    CHECK(row.contains("error_message") == (percent > 100));
  }
  const json fast = time_row(measured / 1000, status);
  CHECK(status == 1);
  CHECK(fast.at("GB/s") > 0);
  const std::string message = fast.at("error_message");
  CHECK(message.find("% of the machine's peak: the measurement is wrong") != std::string::npos);
  time_row(1e30, status);
  CHECK(status == 0);
}
