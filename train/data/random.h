// Random numbers of the data side: a pure function of the words fed in, the same on every machine and for every thread count.
// Header only; used for sample order, augmentation and the synthetic facades. Source: SplitMix64 (Steele et al. 2014).
#pragma once

#include <cstdint>
#include <initializer_list>

namespace asap::train {

// SplitMix64's finaliser: a bijection of 64-bit words in which every input bit reaches every output bit.
inline uint64_t mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// One word from several, order-sensitive: hash_words({seed, epoch, index}).
inline uint64_t hash_words(std::initializer_list<uint64_t> words) {
  uint64_t h = 0x9e3779b97f4a7c15u;
  for (uint64_t w : words) h = mix64(h + mix64(w + 0x9e3779b97f4a7c15u));
  return h;
}

// uniform(low, high) must round the product before the sum on every machine, hence no contraction into FMA here.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

// The stream of numbers that belongs to a key; draw n is mix64(key + n * golden ratio).
class HashRandom {
 public:
  explicit HashRandom(uint64_t key) : state_(key) {}
  explicit HashRandom(std::initializer_list<uint64_t> words) : state_(hash_words(words)) {}

  uint64_t next() { return mix64(state_ += 0x9e3779b97f4a7c15u); }
  double uniform() { return double(next() >> 11) * 0x1p-53; }  // [0, 1)
  double uniform(double low, double high) {
#if defined(__clang__)
#pragma clang fp contract(off)
#endif
    return low + (high - low) * uniform();
  }
  int64_t below(int64_t n) { return int64_t(Wide(next()) * uint64_t(n) >> 64); }        // 0 .. n-1, n > 0
  int integer(int low, int high) { return low + int(below(int64_t(high) - low + 1)); }  // low .. high
  bool chance(double p) { return uniform() < p; }

 private:
  __extension__ using Wide = unsigned __int128;
  uint64_t state_;
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

}  // namespace asap::train
