// Declared in conv2d_bf16_blocks.h.
#include "tensor/cpu/conv2d_bf16_blocks.h"

#include <algorithm>
#include <cstring>

#include "tensor/cpu/workspace.h"
#include "tensor/definitions/padded_index.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_bf16_blocks.cpp"
#include "tensor/cpu/targets.h"
#include "tensor/cpu/transpose.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu::blocks {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

const Half* halves(const bf16* x) { return reinterpret_cast<const Half*>(x); }

// Source columns first + q*step, q < columns, of which [begin, end) are in the picture.
struct Columns {
  int64_t first, step, begin, end;
  Columns(const Stage& s, int64_t first_column)
      : first(first_column),
        step(s.stride.w),
        begin(std::clamp<int64_t>(ceil_div(-first, step), 0, s.columns)),
        end(std::clamp<int64_t>(ceil_div(s.w - first, step), begin, s.columns)) {}
};

// f(q, column of the source or -1) for the columns of the border.
template <class F>
HWY_INLINE void for_border(const Stage& s, const Columns& c, const F& f) {
  for (int64_t q = 0; q < c.begin; ++q) f(q, padded_index(c.first + q * c.step, s.w, s.pad_mode));
  for (int64_t q = c.end; q < s.columns; ++q) f(q, padded_index(c.first + q * c.step, s.w, s.pad_mode));
}

HWY_INLINE void interleave(const Half* HWY_RESTRICT a, const Half* HWY_RESTRICT b, int64_t count,
                           Pair* HWY_RESTRICT to) {
  for (int64_t q = 0; q < count; ++q) to[q] = uint32_t{a[q]} | uint32_t{b[q]} << 16;
}

// Of every second number, which are the lower halves of words; no word reaches beyond the last number.
HWY_INLINE void interleave_every_second(const Half* HWY_RESTRICT a, const Half* HWY_RESTRICT b, int64_t count,
                                        Pair* HWY_RESTRICT to) {
  for (int64_t q = 0; q + 1 < count; ++q) {
    uint32_t word_a, word_b;
    std::memcpy(&word_a, a + 2 * q, sizeof word_a);
    std::memcpy(&word_b, b + 2 * q, sizeof word_b);
    to[q] = (word_a & 0xFFFFu) | word_b << 16;
  }
  if (count > 0) to[count - 1] = uint32_t{a[2 * count - 2]} | uint32_t{b[2 * count - 2]} << 16;
}

// A row of two channels; b may be missing.
void stage_row(const Stage& s, const Half* a, const Half* b, const Columns& c, Pair* to) {
  const Half *from_a = a + c.first, *from_b = b ? b + c.first : nullptr;
  if (!b) {
    for (int64_t q = c.begin; q < c.end; ++q) to[q] = from_a[q * c.step];
  } else if (c.step == 1) {
    interleave(from_a + c.begin, from_b + c.begin, c.end - c.begin, to + c.begin);
  } else if (c.step == 2) {
    interleave_every_second(from_a + 2 * c.begin, from_b + 2 * c.begin, c.end - c.begin, to + c.begin);
  } else {
    for (int64_t q = c.begin; q < c.end; ++q) to[q] = uint32_t{from_a[q * c.step]} | uint32_t{from_b[q * c.step]} << 16;
  }
  for_border(s, c, [&](int64_t q, int64_t column) {
    to[q] = column < 0 ? 0 : uint32_t{a[column]} | (b ? uint32_t{b[column]} : 0u) << 16;
  });
}

void stage_channels(const Stage& s, int64_t pair, Pair* to) {
  const int64_t plane = s.h * s.w, channels = std::min<int64_t>(s.channels - 2 * pair, 2);
  if (channels <= 0) {
    std::fill_n(to, s.pair_size(), 0u);
    return;
  }
  const Half* first = halves(s.x) + 2 * pair * plane;
  for (int64_t row_phase = 0; row_phase < s.stride.h; ++row_phase) {
    for (int64_t column_phase = 0; column_phase < s.stride.w; ++column_phase) {
      const Columns columns(s, s.first.w + column_phase);
      for (int64_t r = 0; r < s.rows; ++r, to += s.pitch) {
        const int64_t row = padded_index(s.first.h + r * s.stride.h + row_phase, s.h, s.pad_mode);
        if (row < 0) {
          std::fill_n(to, s.pitch, 0u);
          continue;
        }
        const Half* a = first + row * s.w;
        stage_row(s, a, channels == 2 ? a + plane : nullptr, columns, to);
        std::fill(to + s.columns, to + s.pitch, 0u);
      }
    }
  }
}

// One channel and tap of a pair of folded ones: every second number of `to`.
void stage_folded(const Stage& s, int64_t k, Half* to) {
  if (k >= s.depth()) {
    for (int64_t i = 0; i < s.phase_size(); ++i) to[2 * i] = 0;
    return;
  }
  const Shift tap = s.folded[static_cast<size_t>(k / s.channels)];
  const Half* plane = halves(s.x) + k % s.channels * s.h * s.w;
  const Columns c(s, s.first.w + tap.w);
  for (int64_t r = 0; r < s.rows; ++r, to += 2 * s.pitch) {
    const int64_t row = padded_index(s.first.h + r * s.stride.h + tap.h, s.h, s.pad_mode);
    if (row < 0) {
      for (int64_t q = 0; q < s.pitch; ++q) to[2 * q] = 0;
      continue;
    }
    const Half* from = plane + row * s.w;
    for (int64_t q = c.begin; q < c.end; ++q) to[2 * q] = from[c.first + q * c.step];
    for_border(s, c, [&](int64_t q, int64_t column) { to[2 * q] = column < 0 ? Half{0} : from[column]; });
    for (int64_t q = s.columns; q < s.pitch; ++q) to[2 * q] = 0;
  }
}

void stage_pairs(const Stage& s, int64_t begin, int64_t end, bf16_pair* to) {
  for (int64_t pair = begin; pair < end; ++pair) {
    bf16_pair* place = to + pair * s.pair_size();
    if (s.folded.empty()) {
      stage_channels(s, pair, reinterpret_cast<Pair*>(place));
    } else {
      for (int64_t i = 0; i < 2; ++i) stage_folded(s, 2 * pair + i, reinterpret_cast<Half*>(place) + i);
    }
  }
}

// 32 numbers, step apart, of which `count` are there.
HWY_INLINE void pack_line(const Half* from, int64_t step, int64_t count, Half* to) {
  if (step == 1 && count == kProductDepth) {
    std::memcpy(to, from, kProductDepth * sizeof(Half));
    return;
  }
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
  for (int64_t i = count; i < kProductDepth; ++i) to[i] = 0;
}

// A square is read along whichever axis has the neighbours, and turned if those are rows.
void pack_square(const Weights& w, int64_t row, int64_t k, int64_t tap, Half* to) {
  const bool turned = w.row_step < w.depth_step;
  const int64_t rows = std::min(kProductRows, w.rows - row), depth = std::min(kProductDepth, w.depth - k);
  const int64_t lines = turned ? depth : rows, count = turned ? rows : depth;
  const int64_t line_step = turned ? w.depth_step : w.row_step, step = turned ? w.row_step : w.depth_step;
  const Half* from = halves(w.data) + row * w.row_step + k * w.depth_step + tap;
  alignas(64) Half square[kProductRows * kProductDepth];
  Half* place = turned ? square : to;
  for (int64_t i = 0; i < lines; ++i) pack_line(from + i * line_step, step, count, place + i * kProductDepth);
  std::fill(place + lines * kProductDepth, place + kProductRows * kProductDepth, Half{0});
  if (turned) cpu::HWY_NAMESPACE::transpose(square, kProductDepth, kProductDepth, kProductDepth, to, kProductDepth);
}

void pack_folded(const Weights& w, int64_t row, int64_t k, Half* to) {
  const int64_t taps = static_cast<int64_t>(w.taps.size());
  for (int64_t r = 0; r < kProductRows; ++r) {
    for (int64_t i = 0; i < kProductDepth; ++i) {
      const int64_t tap = (k + i) / w.depth, channel = (k + i) % w.depth;
      const bool there = row + r < w.rows && tap < taps;
      *to++ = there ? halves(w.data)[(row + r) * w.row_step + channel * w.depth_step + w.taps[static_cast<size_t>(tap)]]
                    : Half{0};
    }
  }
}

void pack_panel(const Weights& w, int64_t row, int64_t step, int64_t steps, bf16* out) {
  constexpr int64_t kSquare = kProductRows * kProductDepth;
  Half* to = reinterpret_cast<Half*>(out);
  if (w.folded) {
    for (int64_t s = step; s < step + steps; ++s, to += kSquare) pack_folded(w, row, s * kProductDepth, to);
    return;
  }
  for (const int64_t tap : w.taps) {
    for (int64_t s = step; s < step + steps; ++s, to += kSquare) pack_square(w, row, s * kProductDepth, tap, to);
  }
}

// count < 32 numbers, in at most five moves.
HWY_INLINE void copy_few(const Half* from, int64_t count, Half* to) {
  if (count & 16) std::memcpy(to, from, 32), from += 16, to += 16;
  if (count & 8) std::memcpy(to, from, 16), from += 8, to += 8;
  if (count & 4) std::memcpy(to, from, 8), from += 4, to += 4;
  if (count & 2) std::memcpy(to, from, 4), from += 2, to += 2;
  if (count & 1) *to = *from;
}

// Every second number of `to`: the lower halves of words whose upper ones stay what they are. They are another phase's, which
// this thread computes, too; but the number behind the row's last one is not.
HWY_INLINE void spread(const Half* from, const Piece& piece, Half* to) {
  const hn::CappedTag<uint32_t, kTileColumns> words;
  const hn::Rebind<uint16_t, decltype(words)> numbers;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(words)), whole = piece.count - (piece.ends_row ? 1 : 0);
  int64_t i = 0;
  for (; i + lanes <= whole; i += lanes) {
    auto* place = reinterpret_cast<uint32_t*>(to + 2 * i);
    const auto others = hn::And(hn::LoadU(words, place), hn::Set(words, 0xFFFF0000u));
    hn::StoreU(hn::Or(others, hn::PromoteTo(words, hn::LoadU(numbers, from + i))), words, place);
  }
  for (; i < piece.count; ++i) to[2 * i] = from[i];
}

constexpr int64_t kRowsAhead = 8;  // whose lines are fetched meanwhile

void store_block(const float* sums, int64_t rows, std::span<const Piece> pieces, const Planes& p) {
  alignas(64) Half numbers[kProductColumns];
  Half* plane = reinterpret_cast<Half*>(p.y);
  for (int64_t r = 0; r < rows; ++r, sums += kProductColumns, plane += p.plane) {
    const float bias = p.bias ? p.bias[r] : 0.0f, slope = p.slope;
    for (int64_t i = 0; i < kProductColumns; ++i) {
      const float sum = sums[i] + bias;
      numbers[i] = bf16(sum > 0 ? sum : slope * sum).bits;
    }
    for (const Piece& piece : pieces) {
      Half* to = plane + piece.to;
      const Half* from = numbers + piece.from;
      __builtin_prefetch(to + kRowsAhead * p.plane, 1);  // the first and the last number's line
      __builtin_prefetch(to + kRowsAhead * p.plane + (piece.count - 1) * p.pixel_step, 1);
      if (p.pixel_step == 1) {
        copy_few(from, piece.count, to);
      } else if (p.pixel_step == 2) {
        spread(from, piece, to);
      } else {
        for (int64_t i = 0; i < piece.count; ++i) to[i * p.pixel_step] = from[i];
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu::blocks
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::cpu::blocks {

HWY_EXPORT(stage_pairs);
HWY_EXPORT(pack_panel);
HWY_EXPORT(store_block);

void stage_pairs(const Stage& stage, int64_t begin, int64_t end, bf16_pair* to) {
  HWY_DYNAMIC_DISPATCH(stage_pairs)(stage, begin, end, to);
}
void pack_panel(const Weights& weights, int64_t row, int64_t step, int64_t steps, bf16* to) {
  HWY_DYNAMIC_DISPATCH(pack_panel)(weights, row, step, steps, to);
}
void store_block(const float* sums, int64_t rows, std::span<const Piece> pieces, const Planes& planes) {
  HWY_DYNAMIC_DISPATCH(store_block)(sums, rows, pieces, planes);
}

}  // namespace asap::cpu::blocks
#endif
