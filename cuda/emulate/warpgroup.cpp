// Declared in warpgroup.h.
#include "cuda/emulate/warpgroup.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "cuda/emulate/fibers.h"
#include "cuda/emulate/memory.h"
#include "cuda/emulate/tensor_core.h"
#include "tensor/error.h"

namespace asap::emulate {
namespace {

constexpr uint32_t kWindow = 1024;  // address of the first byte of dynamic shared memory, as on a card
constexpr int kDepth = 16;          // of one product
constexpr uint32_t kChunk = 16;     // bytes
constexpr uint32_t kRowBytes = 128;  // of the swizzle
constexpr int kGroup = 8;                                  // rows

struct Operand {
  uint32_t start, leading_bytes, stride_bytes;
  bool swizzled;
};

Operand decode(uint64_t descriptor) {
  const auto field = [&](int bit) { return static_cast<uint32_t>(descriptor >> bit & 0x3FFF) << 4; };
  const Operand operand = {field(0), field(16), field(32), descriptor >> 62 == 1};
  if (descriptor >> 62 > 1 || (descriptor >> 49 & 7) != 0) kernel_error("a matrix descriptor of a mode not known here");
  if (!operand.swizzled) return operand;
  if (!block_memory().is_aligned()) {
    kernel_error("a swizzled operand in dynamic_shared(), which is aligned to 128: use aligned_shared()");
  }
  if (operand.stride_bytes % kRowBytes != 0) {
    kernel_error(str("a swizzled operand with a stride of ", operand.stride_bytes, " bytes: rows are ", kRowBytes));
  }
  if (operand.start % kRowBytes + 2 * kChunk > kRowBytes)
    kernel_error("a swizzled operand that leaves its row of 128 bytes");
  return operand;
}

using Row = std::array<float, kDepth>;

// The 8 numbers that lie side by side at an address of the shared window.
std::array<float, 8> read_chunk(uint32_t address) {
  const SharedMemory& shared = block_memory();
  const uint32_t offset = address - kWindow;
  if (address < kWindow || offset + kChunk > shared.bytes()) {
    kernel_error(str("an operand of warpgroup_multiply at ", int64_t{address} - int64_t{kWindow}, ", outside of the ",
                     shared.bytes(), " bytes of shared memory"));
  }
  if (!shared.is_seen(offset, kChunk)) {
    kernel_error(str("the operand of warpgroup_multiply at ", offset,
                     " was written without fence_shared_for_async() and a barrier since, or before the product was "
                     "waited for"));
  }
  std::array<uint16_t, kChunk / 2> halves;
  std::memcpy(halves.data(), shared.start() + offset, kChunk);
  std::array<float, 8> values;
  for (size_t i = 0; i < halves.size(); ++i) values[i] = std::bit_cast<float>(uint32_t{halves[i]} << 16);
  return values;
}

uint32_t swizzle(uint32_t address) { return address ^ address / kRowBytes % kGroup * kChunk; }

// The 16 numbers of one row of A or column of B.
Row read_row(const Operand& operand, int row) {
  const auto group = static_cast<uint32_t>(row / kGroup), within = static_cast<uint32_t>(row % kGroup);
  Row values;
  for (uint32_t chunk = 0; chunk < 2; ++chunk) {
    const uint32_t start = operand.start + group * operand.stride_bytes;
    const uint32_t address = operand.swizzled ? swizzle(start + within * kRowBytes + chunk * kChunk)
                                              : start + within * kChunk + chunk * operand.leading_bytes;
    std::ranges::copy(read_chunk(address), values.begin() + chunk * 8);
  }
  return values;
}

// Two neighbouring columns of B in rows of k; `column` is even.
std::array<Row, 2> read_columns(const Operand& operand, int column) {
  std::array<Row, 2> values;
  for (uint32_t k = 0; k < kDepth; ++k) {
    const auto chunk = read_chunk(swizzle(operand.start + k / kGroup * operand.stride_bytes + k % kGroup * kRowBytes +
                                          static_cast<uint32_t>(column / 8) * kChunk));
    for (size_t j = 0; j < 2; ++j) values[j][k] = chunk[static_cast<size_t>(column % 8) + j];
  }
  return values;
}

std::array<double, kDepth> products_of(const Row& a, const Row& b) {
  std::array<double, kDepth> products;
  for (size_t k = 0; k < a.size(); ++k) products[k] = static_cast<double>(a[k]) * b[k];
  return products;
}

// This thread's part of D.
void multiply(const ThreadState::PendingProduct& product, std::vector<float>& d) {
  const Operand b = decode(product.b);
  const int thread = static_cast<int>(this_thread().linear % 128), lane = thread % 32;
  Row rows[2];
  if (product.rows.empty()) {
    const Operand a = decode(product.a);
    for (int half = 0; half < 2; ++half) rows[half] = read_row(a, thread / 32 * 16 + lane / 4 + 8 * half);
  } else {
    for (int half = 0; half < 2; ++half) std::copy_n(product.rows.begin() + half * kDepth, kDepth, rows[half].begin());
  }
  for (int i = 0; i < product.n / 2; i += 4) {
    const int column = i / 4 * 8 + 2 * (lane % 4);
    const std::array<Row, 2> columns = product.rows.empty()
                                           ? std::array<Row, 2>{read_row(b, column), read_row(b, column + 1)}
                                           : read_columns(b, column);
    for (int j = 0; j < 2; ++j) {
      for (int half = 0; half < 2; ++half) {
        float& sum = d[static_cast<size_t>(i + 2 * half + j)];
        sum = tensor_core_sum(product.accumulate ? sum : 0.0f, products_of(rows[half], columns[j]));
      }
    }
  }
}

auto first_pending(ThreadState& thread, const float* d) {
  return std::ranges::find(thread.products, d, &ThreadState::PendingProduct::d);
}

// All threads come with the same descriptors; from here on until it is waited for, d holds NaN.
void begin_product(ThreadState::PendingProduct given) {
  const struct {
    uint64_t a, b, n, accumulate;
  } operands = {given.a, given.b, static_cast<uint64_t>(given.n), given.accumulate};
  static_assert(sizeof operands <= kAgreedBytes);
  ThreadState& thread = this_thread();
  thread.products.push_back(std::move(given));  // its own: an error elsewhere may end it while it waits here
  warpgroup_agree(&operands, sizeof operands);
  if (!thread.warpgroup_arrived)
    kernel_error("multiplies without warpgroup_arrive() since it last waited for a product");
  ThreadState::PendingProduct& product = thread.products.back();
  decode(product.b);
  ThreadState::PendingProduct& first = *first_pending(thread, product.d);
  if (&first == &product) {
    product.start.assign(product.d, product.d + product.n / 2);
    std::fill_n(product.d, product.n / 2, std::numeric_limits<float>::quiet_NaN());
  }
  product.group = thread.product_group;
  product.done = options().copies_early;
  if (product.done) multiply(product, first.start);
}

}  // namespace

uint32_t shared_address(const void* start, int leading_bytes, int stride_bytes) {
  const SharedMemory& shared = block_memory();
  if (!shared.holds(start)) kernel_error("a matrix_descriptor of an address outside of dynamic shared memory");
  const auto offset = static_cast<uint32_t>(static_cast<const char*>(start) - shared.start());
  const auto fits = [](int bytes) { return bytes >= 0 && bytes < 1 << 18 && bytes % 16 == 0; };
  if (offset % 16 != 0 || !fits(leading_bytes) || !fits(stride_bytes)) {
    kernel_error(str("matrix_descriptor(", offset, " bytes into shared memory, ", leading_bytes, ", ", stride_bytes,
                     "): these must be multiples of 16 below 256 KiB"));
  }
  return kWindow + offset;
}

void* aligned_shared() { return block_memory().aligned_start(); }
void fence_shared_for_async() { block_memory().fence(); }

void warpgroup_arrive() {
  exchange(~0u, nullptr, 0);
  this_thread().warpgroup_arrived = true;
}

void warpgroup_multiply(float* d, int n, uint64_t a, uint64_t b, bool accumulate) {
  decode(a);
  begin_product({d, n, a, b, accumulate, 0, {}});
}

void warpgroup_multiply_rows(float* d, int n, const uint32_t (&a)[4], uint64_t b) {
  if (!decode(b).swizzled) kernel_error("an operand in rows of k that is not swizzled: unknown here");
  const unsigned char* payloads = exchange(~0u, a, sizeof a);
  std::vector<float> rows(2 * kDepth);
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < kDepth; ++k) {
      const unsigned lane = this_thread().linear % 32 / 4 * 4 + static_cast<unsigned>(k % 8 / 2);
      uint32_t pair;
      std::memcpy(&pair, payloads + lane * kLanePayload + 4 * (half + k / 8 * 2), sizeof pair);
      rows[static_cast<size_t>(half * kDepth + k)] = std::bit_cast<float>(k % 2 ? pair & 0xFFFF0000u : pair << 16);
    }
  }
  begin_product({d, n, 0, b, true, 0, {}, std::move(rows)});
}

void warpgroup_commit() {
  exchange(~0u, nullptr, 0);
  ++this_thread().product_group;
}

void warpgroup_wait(unsigned pending) {
  ThreadState& thread = this_thread();
  auto& products = thread.products;
  while (!products.empty() && products.front().group + pending < thread.product_group) {
    auto product = std::move(products.front());
    products.erase(products.begin());
    if (!product.done) multiply(product, product.start);
    const auto next = first_pending(thread, product.d);
    if (next != products.end()) {
      next->start = std::move(product.start);
    } else {
      std::copy(product.start.begin(), product.start.end(), product.d);
      thread.warpgroup_arrived = false;
    }
  }
  exchange(~0u, nullptr, 0);  // the lanes of a warp go on together
}

}  // namespace asap::emulate
