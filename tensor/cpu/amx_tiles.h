// AMX in six operations. A processor with AMX has eight tiles, registers of 16 rows of 64 bytes each, and an instruction that
// multiplies two of them. Two implementations of one interface: AmxTiles executes the instructions, PortableTiles does the
// same with arrays, so that a kernel that is a template on them is tested on every machine.
// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, and volume 2 (TDPBF16PS).
// Next: bf16_product_tiles.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "tensor/bfloat16.h"

namespace asap::cpu {

inline constexpr int kTiles = 8, kTileRows16 = 16, kTileRowBytes = 64;

#if defined(__x86_64__)
// Written as assembly: the intrinsics are macros that take a tile's number as a literal digit, and GCC's do not say that they
// read and write memory. The state is the thread's; between configure() and release() every operation is legal.
struct AmxTiles {
  static void configure() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64);
    for (int tile = 0; tile < kTiles; ++tile) {
      config.row_bytes[tile] = kTileRowBytes;
      config.rows[tile] = kTileRows16;
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  static void release() { asm volatile("tilerelease" ::: "memory"); }

  template <int tile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(tile));
  }
  // Rows of 64 bytes, `stride` bytes apart.
  template <int tile>
  static void load(const void* rows, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(stride), "i"(tile) : "memory");
  }
  template <int tile>
  static void store(void* rows, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(stride), "i"(tile) : "memory");
  }
  // sums[16][16 floats] += a[16][16 pairs] b[16 pairs][16 columns].
  template <int sums, int a, int b>
  static void dot_product() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(sums), "i"(a), "i"(b));
  }
};
#endif

// The same numbers in the same order: the products of firsts and those of seconds are summed apart, then both and the sum that
// was there are added. Operands and results below 2^-126 count as zeros.
struct PortableTiles {
  static void configure() { std::memset(tiles, 0, sizeof tiles); }
  static void release() {}

  template <int tile>
  static void zero() {
    std::memset(tiles[tile], 0, sizeof tiles[tile]);
  }
  template <int tile>
  static void load(const void* rows, int64_t stride) {
    for (int r = 0; r < kTileRows16; ++r) {
      std::memcpy(tiles[tile][r], static_cast<const char*>(rows) + r * stride, kTileRowBytes);
    }
  }
  template <int tile>
  static void store(void* rows, int64_t stride) {
    for (int r = 0; r < kTileRows16; ++r) {
      std::memcpy(static_cast<char*>(rows) + r * stride, tiles[tile][r], kTileRowBytes);
    }
  }
  template <int sums, int a, int b>
  static void dot_product() {
    for (int r = 0; r < kTileRows16; ++r) {
      for (int column = 0; column < kTileRowBytes / 4; ++column) {
        float part[2] = {};
        for (int pair = 0; pair < kTileRowBytes / 4; ++pair) {
          for (int i = 0; i < 2; ++i) {
            part[i] =
                flushed(std::fma(element<bf16>(a, r, 2 * pair + i), element<bf16>(b, pair, 2 * column + i), part[i]));
          }
        }
        const float sum = flushed(element<float>(sums, r, column) + flushed(part[0] + part[1]));
        std::memcpy(tiles[sums][r] + 4 * column, &sum, sizeof sum);
      }
    }
  }

 private:
  static float flushed(float x) { return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x; }
  template <class T>
  static float element(int tile, int row, int column) {
    T value;
    std::memcpy(&value, tiles[tile][row] + column * static_cast<int>(sizeof(T)), sizeof value);
    return flushed(static_cast<float>(value));
  }
  static inline thread_local char tiles[kTiles][kTileRows16][kTileRowBytes];
};

}  // namespace asap::cpu
