// The weight gradient of a convolution in bf16 on blocks of 32 x 32 sums (bf16_product.h), summed over pixels: A's rows are dy's
// channels as they lie; B's columns are (input channel, tap column), of which the staged strip holds pairs of neighbouring pixels.
// As tap columns are columns of their own, a strip needs no border on its sides, and a tap row is an offset of whole rows.
// Floors: the products; and one pass over x, dy and dw, which is the larger of the two for 3x3 with 64 channels at 512 x 512
// (67 MB beside 19 GFLOP), and for 1024 channels at 16 x 16 (38 MB of dw beside 5 GFLOP).
// Threads share blocks of dw, or, where these are few, strips of pixels, whose sums are added in one order.
#include <algorithm>
#include <cstring>

#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_weight_grad_bf16.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/workspace.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_weight_grad_bf16.cpp"
#include "tensor/cpu/targets.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kSide = kProductRows, kBlock = kSide * kSide;
static_assert(kProductColumns == kSide && kProductDepth == kSide);
constexpr int64_t kChunk = 8;        // steps of a product: A's and B's numbers stay in the first cache for all tap rows
constexpr int64_t kMostWidth = 128;  // pixels of a strip's row
constexpr int64_t kStripBytes = 1 << 20;  // of A and B of a strip: they stay in the second cache
constexpr int64_t kMostSums = 128;        // blocks of sums that a task holds
constexpr int64_t kMostOutputs = 8;       // blocks of output channels that share a staged strip

int64_t fair(int64_t total, int64_t most) { return ceil_div(total, ceil_div(total, std::max<int64_t>(most, 1))); }

#if HWY_TARGET == HWY_SCALAR
// to[pair][32] = the pairs of 32 columns.
HWY_INLINE void transpose_pairs(const Half* const* columns, int64_t pairs, Pair* to) {
  for (int64_t p = 0; p < pairs; ++p) {
    for (int64_t j = 0; j < kSide; ++j) {
      to[p * kSide + j] = columns[j][2 * p] | static_cast<uint32_t>(columns[j][2 * p + 1]) << 16;
    }
  }
}
#else
// Sixteen columns or fewer move at once, in squares of 4 x 4 pairs.
constexpr int64_t kLanes = HWY_HAVE_SCALABLE ? 4 : std::min<int64_t>(16, HWY_LANES(uint32_t));
using Pairs = hn::FixedTag<uint32_t, kLanes>;

// Four pairs of column `i` of each four of kLanes columns, from half `at` on.
HWY_INLINE hn::Vec<Pairs> load_squares(const Half* const* columns, int64_t i, int64_t at) {
  const hn::Repartition<uint16_t, Pairs> d;
  const auto four = [&](int64_t square) { return hn::LoadDup128(d, columns[4 * square + i] + at); };
  if constexpr (kLanes == 4) {
    return hn::BitCast(Pairs(), four(0));
  } else if constexpr (kLanes == 8) {
    return hn::BitCast(Pairs(), hn::OddEvenBlocks(four(1), four(0)));
  } else {
    return hn::BitCast(
        Pairs(), hn::ConcatUpperLower(d, hn::OddEvenBlocks(four(3), four(2)), hn::OddEvenBlocks(four(1), four(0))));
  }
}

// to[pair][32] = the pairs of 32 columns; in fours, up to three too many.
HWY_INLINE void transpose_pairs(const Half* const* columns, int64_t pairs, Pair* to) {
  const Pairs d;
  for (int64_t j = 0; j < kSide; j += kLanes) {
    for (int64_t p = 0; p < pairs; p += 4) {
      const auto v0 = load_squares(columns + j, 0, 2 * p), v1 = load_squares(columns + j, 1, 2 * p);
      const auto v2 = load_squares(columns + j, 2, 2 * p), v3 = load_squares(columns + j, 3, 2 * p);
      const auto low02 = hn::InterleaveLower(d, v0, v2), low13 = hn::InterleaveLower(d, v1, v3);
      const auto high02 = hn::InterleaveUpper(d, v0, v2), high13 = hn::InterleaveUpper(d, v1, v3);
      Pair* row = to + p * kSide + j;
      hn::StoreU(hn::InterleaveLower(d, low02, low13), d, row);
      hn::StoreU(hn::InterleaveUpper(d, low02, low13), d, row + kSide);
      hn::StoreU(hn::InterleaveLower(d, high02, high13), d, row + 2 * kSide);
      hn::StoreU(hn::InterleaveUpper(d, high02, high13), d, row + 3 * kSide);
    }
  }
}
#endif

class WeightGrad {
 public:
  WeightGrad(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw)
      : s_(conv2d_sizes(x, dw, p, dy)),
        p_(p),
        x_(reinterpret_cast<const Half*>(x.data<bf16>())),
        dy_(reinterpret_cast<const Half*>(dy.data<bf16>())) {
    const int64_t threads = omp_get_max_threads();
    columns_ = s_.c * s_.kw;
    const int64_t o_blocks = ceil_div(s_.o, kSide), j_blocks = ceil_div(columns_, kSide);
    o_group_ = fair(o_blocks, kMostOutputs);
    j_group_ = fair(j_blocks, kMostSums / (o_group_ * s_.kh));
    o_groups_ = ceil_div(o_blocks, o_group_);
    j_groups_ = ceil_div(j_blocks, j_group_);
    parts_ = 1;
    while (tasks() * parts_ % threads != 0 && tasks() * parts_ < 4 * threads) ++parts_;

    width_ = fair(s_.ow, kMostWidth);
    pitch_ = ceil_div(width_, 2) * 2;
    strips_w_ = ceil_div(s_.ow, width_);
    const int64_t high = (s_.kh - 1) * p.dilation.h, wide = (s_.kw - 1) * p.dilation.w;
    phases_h_ = std::min(p.stride.h, high + 1);
    phases_w_ = std::min(p.stride.w, wide + 1);
    const int64_t row_bytes = pitch_ * kSide * static_cast<int64_t>(sizeof(bf16));
    rows_ = std::min(s_.oh, kStripBytes / (row_bytes * (o_group_ + j_group_ * phases_h_)));
    if (parts_ > 1) rows_ = std::min(rows_, ceil_div(s_.n * s_.oh * strips_w_, parts_));  // a strip for everybody
    rows_ = fair(s_.oh, rows_);
    strips_h_ = ceil_div(s_.oh, rows_);
    parts_ = std::min(parts_, strips());
    steps_ = ceil_div(rows_ * pitch_, kSide);
    staged_rows_ = rows_ + high / p.stride.h;
    line_ = ceil_div(pitch_, 8) * 8 + wide / p.stride.w;
    staged_ = (phases_h_ * staged_rows_ * pitch_ / 2 + kSide / 2 + 3) * kSide;
  }

  template <class T>
  void run(T* dw) const {
    const int64_t size = o_group_ * j_group_ * s_.kh * kBlock;
    if (parts_ == 1) {
      parallel_for(tasks(), 1, [&](int64_t begin, int64_t end) {
        const Workspace<float> sums(size);
        const Scratch scratch(*this);
        for (int64_t task = begin; task < end; ++task) {
          sum(task, 0, strips(), scratch, sums.data());
          store(task, 0, o_group_ * kSide, sums.data(), size, dw);
        }
      });
      return;
    }
    const Workspace<float> sums(tasks() * parts_ * size);
    parallel_for(tasks() * parts_, 1, [&](int64_t begin, int64_t end) {
      const Scratch scratch(*this);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t part = i % parts_;
        sum(i / parts_, strips() * part / parts_, strips() * (part + 1) / parts_, scratch, sums.data() + i * size);
      }
    });
    parallel_for(tasks() * o_group_ * kSide, kSide, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t task = i / (o_group_ * kSide), o = i % (o_group_ * kSide);
        store(task, o, o + 1, sums.data() + task * parts_ * size, size, dw);
      }
    });
  }

 private:
  int64_t tasks() const { return o_groups_ * j_groups_; }  // [o_groups][j_groups]
  int64_t strips() const { return s_.n * strips_h_ * strips_w_; }

  // What a thread keeps from strip to strip.
  struct Scratch {
    explicit Scratch(const WeightGrad& g)
        : a(g.o_group_ * g.steps_ * kBlock),
          b(2 * g.j_group_ * g.staged_),
          row(g.steps_ * kSide),
          lines((g.j_group_ * kSide + 2) * g.phases_w_ * g.line_) {
      std::fill_n(row.data(), g.steps_ * kSide, bf16());
      std::fill_n(lines.data(), g.phases_w_ * g.line_, bf16());  // the first is that of columns that nobody wants
    }
    const Workspace<bf16> a, b, row, lines;
    const ScopedTiles tiles;
  };

  // sums [o_group][j_group][kh][32 outputs][32 columns] of the strips [begin, end).
  void sum(int64_t task, int64_t begin, int64_t end, const Scratch& scratch, float* sums) const {
    const int64_t o = task / j_groups_ * o_group_, j = task % j_groups_ * j_group_;
    const int64_t o_blocks = std::min(o_group_, ceil_div(s_.o, kSide) - o);
    const int64_t j_blocks = std::min(j_group_, ceil_div(columns_, kSide) - j);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t n = strip / (strips_h_ * strips_w_);
      const int64_t oh = strip / strips_w_ % strips_h_ * rows_, ow = strip % strips_w_ * width_;
      pack_dy(n, oh, ow, o, o_blocks, scratch);
      stage_x(n, oh, ow, j, j_blocks, scratch);
      for (int64_t jb = 0; jb < j_blocks; ++jb) {
        const auto* b = reinterpret_cast<const bf16_pair*>(scratch.b.data()) + jb * staged_;
        for (int64_t ob = 0; ob < o_blocks; ++ob) {
          multiply(scratch.a.data() + ob * steps_ * kBlock, b, strip > begin,
                   sums + (ob * j_group_ + jb) * s_.kh * kBlock);
        }
      }
    }
  }

  void multiply(const bf16* a, const bf16_pair* b, bool accumulate, float* sums) const {
    for (int64_t step = 0; step < steps_; step += kChunk) {
      for (int64_t kh = 0; kh < s_.kh; ++kh) {
        const int64_t down = kh * p_.dilation.h;
        const int64_t row = down % p_.stride.h * staged_rows_ + down / p_.stride.h;
        const int64_t offset = (row * pitch_ + step * kSide) / 2 * kSide;
        bf16_product({.steps = std::min(kChunk, steps_ - step),
                      .a = a + step * kBlock,
                      .offsets = &offset,
                      .b = {b, b + kTileColumns},
                      .row_step = kSide,
                      .c = sums + kh * kBlock,
                      .accumulate = accumulate || step > 0});
      }
    }
  }

  // A: [blocks][steps][32 outputs][32 pixels], zeros beyond the outputs and the picture.
  void pack_dy(int64_t n, int64_t oh, int64_t ow, int64_t block, int64_t blocks, const Scratch& scratch) const {
    const int64_t rows = std::min(rows_, s_.oh - oh), width = std::min(width_, s_.ow - ow);
    const bool joined = pitch_ == s_.ow;
    Half* row = reinterpret_cast<Half*>(scratch.row.data());
    for (int64_t o = 0; o < blocks * kSide; ++o) {
      std::fill_n(row, steps_ * kSide, Half{0});
      if (block * kSide + o < s_.o) {
        const Half* from = dy_ + ((n * s_.o + block * kSide + o) * s_.oh + oh) * s_.ow + ow;
        if (joined) std::copy_n(from, rows * s_.ow, row);
        for (int64_t r = 0; !joined && r < rows; ++r) std::copy_n(from + r * s_.ow, width, row + r * pitch_);
      }
      bf16* to = scratch.a.data() + (o / kSide * steps_ * kSide + o % kSide) * kSide;
      for (int64_t step = 0; step < steps_; ++step)
        std::memcpy(to + step * kBlock, scratch.row.data() + step * kSide, kSide * sizeof(bf16));
    }
  }

  // B: [blocks][row phases][staged rows][pitch/2][32 columns] pairs, and zeros behind each block. Row r of phase a is x's row
  // (oh + r)*stride.h + a - padding.h.
  void stage_x(int64_t n, int64_t oh, int64_t ow, int64_t block, int64_t blocks, const Scratch& scratch) const {
    const int64_t c0 = block * kSide / s_.kw, c1 = std::min(s_.c, ceil_div((block + blocks) * kSide, s_.kw));
    const int64_t channel_line = phases_w_ * line_, first = ow * p_.stride.w - p_.padding.w;
    Half* lines = reinterpret_cast<Half*>(scratch.lines.data());
    Pair* b = reinterpret_cast<Pair*>(scratch.b.data());
    for (int64_t row = 0; row < phases_h_ * staged_rows_; ++row) {
      const int64_t at = (oh + row % staged_rows_) * p_.stride.h + row / staged_rows_ - p_.padding.h;
      const int64_t ih = padded_index(at, s_.h, p_.pad_mode);
      for (int64_t c = c0; c < c1; ++c) {
        Half* to = lines + (c - c0 + 1) * channel_line;
        if (ih < 0) std::fill_n(to, channel_line, Half{0});
        for (int64_t phase = 0; ih >= 0 && phase < phases_w_; ++phase) {
          fill_line(x_ + ((n * s_.c + c) * s_.h + ih) * s_.w, first + phase, to + phase * line_);
        }
      }
      for (int64_t jb = 0; jb < blocks; ++jb) {
        const Half* columns[kSide];
        for (int64_t i = 0; i < kSide; ++i) {
          const int64_t j = (block + jb) * kSide + i, right = j % s_.kw * p_.dilation.w;
          columns[i] = lines;
          if (j < columns_) {
            columns[i] += (j / s_.kw - c0 + 1) * channel_line + right % p_.stride.w * line_ + right / p_.stride.w;
          }
        }
        transpose_pairs(columns, pitch_ / 2, b + jb * staged_ + row * pitch_ / 2 * kSide);
      }
    }
    const int64_t used = phases_h_ * staged_rows_ * pitch_ / 2 * kSide;
    for (int64_t jb = 0; jb < blocks; ++jb) std::fill_n(b + jb * staged_ + used, staged_ - used, Pair{0});
  }

  // to[q] = row[first + q*stride], outside the picture what the padding mode says.
  void fill_line(const Half* row, int64_t first, Half* to) const {
    const int64_t step = p_.stride.w;
    const int64_t begin = std::min(line_, first < 0 ? ceil_div(-first, step) : 0);
    const int64_t end = std::max(begin, std::min(line_, first < s_.w ? ceil_div(s_.w - first, step) : 0));
    const auto outside = [&](int64_t q) {
      const int64_t i = padded_index(first + q * step, s_.w, p_.pad_mode);
      to[q] = i < 0 ? Half{0} : row[i];
    };
    for (int64_t q = 0; q < begin; ++q) outside(q);
    if (step == 1) {
      std::copy(row + first + begin, row + first + end, to + begin);
    } else if (step == 2) {
      for (int64_t q = begin; q < end; ++q) to[q] = row[first + 2 * q];
    } else {
      for (int64_t q = begin; q < end; ++q) to[q] = row[first + step * q];
    }
    for (int64_t q = end; q < line_; ++q) outside(q);
  }

  // dw of a task's outputs [begin, end): the sums of all parts, `size` apart.
  template <class T>
  void store(int64_t task, int64_t begin, int64_t end, const float* sums, int64_t size, T* dw) const {
    const int64_t first = task / j_groups_ * o_group_ * kSide, j0 = task % j_groups_ * j_group_ * kSide;
    end = std::min(end, s_.o - first);
    for (int64_t jb = 0; jb < j_group_ && j0 + jb * kSide < columns_; ++jb) {
      const int64_t count = std::min(kSide, columns_ - j0 - jb * kSide);
      int64_t places[kSide];  // of a column's first tap among the weights of an output
      for (int64_t i = 0; i < count; ++i) {
        const int64_t j = j0 + jb * kSide + i;
        places[i] = j / s_.kw * s_.kh * s_.kw + j % s_.kw;
      }
      for (int64_t o = begin; o < end; ++o) {
        for (int64_t kh = 0; kh < s_.kh; ++kh) {
          const float* from = sums + ((o / kSide * j_group_ + jb) * s_.kh + kh) * kBlock + o % kSide * kSide;
          float total[kSide];
          std::copy_n(from, kSide, total);
          for (int64_t part = 1; part < parts_; ++part) {
            for (int64_t i = 0; i < kSide; ++i) total[i] += from[part * size + i];
          }
          T* to = dw + (first + o) * columns_ * s_.kh + kh * s_.kw;
          if (s_.kh * s_.kw == 1) {  // side by side
            for (int64_t i = 0; i < count; ++i) to[places[0] + i] = static_cast<T>(total[i]);
          } else {
            for (int64_t i = 0; i < count; ++i) to[places[i]] = static_cast<T>(total[i]);
          }
        }
      }
    }
  }

  const Conv2dSizes s_;
  const Conv2dParams p_;
  const Half *x_, *dy_;
  int64_t columns_;               // of B: (channel, tap column)
  int64_t o_group_, j_group_;     // blocks of outputs and of columns of a task
  int64_t o_groups_, j_groups_;   // tasks
  int64_t parts_;                 // that share the strips of a task
  int64_t rows_, width_, pitch_;  // output pixels of a strip: its rows lie `pitch` apart, an even number
  int64_t strips_h_, strips_w_;   // of a picture
  int64_t steps_;                 // of 32 pixels that a strip has
  int64_t phases_h_, phases_w_;   // of a stride's rows and columns that are needed
  int64_t staged_rows_, line_;    // rows of a phase; pixels of a phase of a row
  int64_t staged_;                // pairs of a block of columns
};

}  // namespace

void weight_grad_bf16(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const WeightGrad grad(x, dy, p, dw);
  if (dw.dtype() == DType::bf16)
    grad.run(dw.data<bf16>());
  else
    grad.run(dw.data<float>());
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::cpu {

HWY_EXPORT(weight_grad_bf16);

bool takes_weight_grad_bf16_blocks(const Tensor& x, const Tensor& dy, const Conv2dParams& p, const Tensor& dw) {
  return p.groups == 1 && x.dtype() == DType::bf16 && dy.dtype() == DType::bf16 &&
         (dw.dtype() == DType::f32 || dw.dtype() == DType::bf16) && dy.numel() > 0 && dw.numel() > 0;
}

void conv2d_weight_grad_bf16_blocks(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  HWY_DYNAMIC_DISPATCH(weight_grad_bf16)(x, dy, p, dw);
}

}  // namespace asap::cpu
#endif
