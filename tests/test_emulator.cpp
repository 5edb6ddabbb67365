// The emulator that executes the CUDA kernels on the CPU: what it computes must be what a card computes, and the mistakes it
// is there to find must be found. Runs on the emulated backend alone. See cuda/emulate/fibers.h, cuda/mma.cuh.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::cuda;

namespace {

std::vector<float> random_values(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = std::normal_distribution<float>()(random);
  return values;
}

Tensor on_card(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())}, Device::cuda);
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class Order {
 public:
  explicit Order(emulate::ThreadOrder order) { emulate::set_thread_order(order); }
  ~Order() { emulate::set_thread_order(emulate::ThreadOrder::forward); }
};

// y[block] = sum of the block's 256 numbers.
void sum_blocks(const float* x, float* y) {
  const float total = block_reduce(x[blockIdx.x * blockDim.x + threadIdx.x], 0.0f);
  if (threadIdx.x == 0) y[blockIdx.x] = total;
}

// Every thread hands its number to its neighbour through shared memory, with or without the barrier that this needs.
template <bool WithBarrier>
void rotate(const float* x, float* y) {
  ASAP_SHARED(float, values, [64]);
  values[threadIdx.x] = x[threadIdx.x];
  if (WithBarrier) __syncthreads();
  y[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

void barrier_of_half() {
  if (threadIdx.x < 32) __syncthreads();
}
void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
void shuffle_of_half(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = warp_reduce(1.0f);
}
void beyond_shared(float* y, int index) {
  ASAP_SHARED(float, values, [4][8]);
  values[1][threadIdx.x] = 1.0f;
  y[threadIdx.x] = values[1][index];
}

// Copies 128 floats to shared memory asynchronously; `wait` leaves out the waiting.
void copy_through(const float* x, float* y, bool wait) {
  auto* buffer = dynamic_shared<float>();
  copy_async<16>(&buffer[threadIdx.x * 4], &x[threadIdx.x * 4], threadIdx.x != 3);
  copy_commit();
  if (wait) copy_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = buffer[threadIdx.x * 4 + i];
}

// One warp: D = A B with A [16,8] row-major and B [8,8] row-major (k, n).
void product_tf32(const float* a, const float* b, float* d) {
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  const uint32_t ra[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                          to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t rb[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float rd[4] = {};
  mma_tf32(rd, ra, rb);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

// One warp: D = A B with A [16,16] and B [16,8] row-major in shared memory, read by ldmatrix.
void product_bf16(const float* a, const float* b, float* d) {
  auto* sa = dynamic_shared<bf16>();
  bf16* sb = sa + 256;
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) sa[i] = to_bf16(a[i]);
  for (int i = lane; i < 128; i += 32) sb[i] = to_bf16(b[i]);
  __syncwarp();
  uint32_t ra[4], rb[4];
  load_matrices(ra, &sa[lane % 16 * 16 + lane / 16 * 8]);
  load_matrices_transposed(rb, &sb[lane % 16 * 8]);
  const uint32_t first[2] = {rb[0], rb[1]};
  float rd[4] = {};
  mma_bf16(rd, ra, first);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = rd[i];
}

double largest_product_error(int k, const std::vector<float>& a, const std::vector<float>& b,
                             const std::vector<float>& d) {
  double worst = 0;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int l = 0; l < k; ++l)
        sum += static_cast<double>(a[static_cast<size_t>(i * k + l)]) * b[static_cast<size_t>(l * 8 + j)];
      worst = std::max(worst, std::abs(sum - d[static_cast<size_t>(i * 8 + j)]));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("barriers, shuffles and shared memory: a block's sum in any order of threads") {
  tests::ran();
  const std::vector<float> x = random_values(1024);
  const Tensor on = on_card(x);
  std::vector<float> first;
  for (const auto order :
       {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse, emulate::ThreadOrder::shuffle}) {
    const Order guard(order);
    Tensor y = Tensor::zeros({4}, DType::f32, Device::cuda);
    launch(sum_blocks, {4, 256}, on.data<float>(), y.data<float>());
    const std::vector<float> sums = y.to_vector<float>();
    double wanted = 0;
    for (size_t i = 0; i < 256; ++i) wanted += x[i];
    CHECK(std::abs(sums[0] - wanted) < 1e-4);
    if (first.empty()) first = sums;
    CHECK(first == sums);
  }
}

TEST_CASE("a missing barrier shows, at the latest when threads run backwards") {
  const std::vector<float> x = random_values(64);
  const Tensor on = on_card(x);
  std::vector<float> wanted(x.begin() + 1, x.end());
  wanted.push_back(x[0]);
  int wrong = 0;
  for (const auto order : {emulate::ThreadOrder::forward, emulate::ThreadOrder::reverse}) {
    const Order guard(order);
    Tensor y = Tensor::zeros({64}, DType::f32, Device::cuda);
    launch(rotate<true>, {1, 64}, on.data<float>(), y.data<float>());
    CHECK(y.to_vector<float>() == wanted);
    launch(rotate<false>, {1, 64}, on.data<float>(), y.data<float>());
    wrong += y.to_vector<float>() != wanted;
  }
  CHECK(wrong >= 1);
}

TEST_CASE("what a card would hang or corrupt memory at is an error that names the kernel") {
  Tensor y = Tensor::zeros({64}, DType::f32, Device::cuda);
  CHECK(error_of([&] { launch(barrier_of_half, {1, 64}); }).find("has ended, but thread") != std::string::npos);
  CHECK(error_of([&] { launch(two_barriers, {1, 64}); }).find("wait at different barriers") != std::string::npos);
  CHECK(error_of([&] { launch(shuffle_of_half, {1, 32}, y.data<float>()); }).find("never come") != std::string::npos);
  CHECK(error_of([&] {
          launch(beyond_shared, {1, 8}, y.data<float>(), 8);
        }).find("index 8 of a shared array of 8") != std::string::npos);
  CHECK(error_of([&] { launch(beyond_shared, {1, 8}, y.data<float>(), 7); }).empty());
  CHECK(error_of([&] { launch(barrier_of_half, {1, 2048}); }).find("cannot be launched") != std::string::npos);
  CHECK(error_of([&] { launch(barrier_of_half, {1, 32, 300 << 10}); }).find("shared memory") != std::string::npos);
}

TEST_CASE("an asynchronous copy arrives when it is waited for, and not before") {
  const std::vector<float> x = random_values(128);
  const Tensor on = on_card(x);
  Tensor y = Tensor::zeros({128}, DType::f32, Device::cuda);
  launch(copy_through, {1, 32, 512}, on.data<float>(), y.data<float>(), true);
  std::vector<float> wanted = x;
  for (size_t i = 12; i < 16; ++i) wanted[i] = 0;  // the copy that was not valid
  CHECK(y.to_vector<float>() == wanted);
  launch(copy_through, {1, 32, 512}, on.data<float>(), y.data<float>(), false);
  CHECK(std::isnan(y.to_vector<float>()[0]));
}

TEST_CASE("tensor-core products: registers lie as the PTX manual says") {
  Tensor d = Tensor::zeros({128}, DType::f32, Device::cuda);
  {
    const std::vector<float> a = random_values(16 * 8), b = random_values(8 * 8, 2);
    launch(product_tf32, {1, 32}, on_card(a).data<float>(), on_card(b).data<float>(), d.data<float>());
    const double error = largest_product_error(8, a, b, d.to_vector<float>());
    CHECK(error < 1e-2);
    CHECK(error > 1e-6);  // operands were rounded
  }
  {
    const std::vector<float> a = random_values(16 * 16), b = random_values(16 * 8, 2);
    launch(product_bf16, {1, 32, 768}, on_card(a).data<float>(), on_card(b).data<float>(), d.data<float>());
    const double error = largest_product_error(16, a, b, d.to_vector<float>());
    CHECK(error < 1e-1);
    CHECK(error > 1e-5);
  }
}

TEST_CASE("a captured graph does its work when it is replayed") {
  Tensor x = Tensor::zeros({256}, DType::f32, Device::cuda), y = Tensor::zeros({256}, DType::f32, Device::cuda);
  const auto graph = backend(Device::cuda).capture([&] {
    const Tensor middle = x.clone();  // scratch memory of the graph
    kernels::copy.run(Device::cuda, middle, y);
  });
  x.fill(3);
  const Tensor other = Tensor::full({256}, 7, DType::f32, Device::cuda);  // must not get the graph's scratch memory
  CHECK(y.to_vector<float>()[0] == 0);
  graph->replay();
  CHECK(y.to_vector<float>()[255] == 3);
  CHECK(other.to_vector<float>()[0] == 7);
}
