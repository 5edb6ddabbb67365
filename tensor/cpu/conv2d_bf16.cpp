// Convolution in bf16, forward and input gradient, as blocks of 32 outputs x 32 pixels (bf16_product.h). Neither pixels nor
// weights are rearranged as a whole: a strip of the picture is staged as pairs of channels (conv2d_bf16_blocks.h), where a tap is
// an offset, and weights are packed a few steps at a time, right before they meet all pixels of the strip.
// Where weights are many, threads share a strip and split the outputs: each weight is read from memory once a strip, and a strip
// of a generator's picture is all of it. Where they are few, each thread has strips of its own.
// Floor: 64 cycles for 32 x 32 x 32 products in AMX's tiles.
#include "tensor/cpu/conv2d_bf16.h"

#include <vector>

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_bf16_blocks.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/workspace.h"

namespace asap::cpu {
namespace {

using namespace blocks;

// Outputs that see the source through the same taps: all of the forward pass.
struct Phase {
  std::vector<Shift> taps = {};
  std::vector<int64_t> weights = {};                // where each tap's lie
  int64_t h = 0, w = 0;                             // outputs
  int64_t first = 0, row_step = 0, pixel_step = 1;  // their places in a plane of y
};

// y = act(bias + sum over taps and channels); output (i, j) sees through tap t the source's (i*stride.h + t.h, j*stride.w + t.w).
struct Sums {
  const bf16* x;
  int64_t pictures, channels, h, w;
  Size2 stride;
  PadMode pad_mode;
  Weights weights;  // without taps
  std::vector<Phase> phases;
  bf16* y;
  int64_t plane;  // of y
  const float* bias;
  float slope;
};

constexpr int64_t kStripBytes = int64_t{1} << 20;   // of pairs: half a second cache
constexpr int64_t kStripPixels = 1024;              // at least, so that packing weights is little beside using them
constexpr int64_t kManyWeights = int64_t{1} << 19;  // bytes
constexpr int64_t kPanelBytes = 40 << 10;           // of weights, in the first cache while they meet a strip's pixels
constexpr int64_t kSquare = kProductRows * kProductDepth, kBlock = kProductRows * kProductColumns;

int64_t up_to_half(int64_t columns) { return ceil_div(columns, kTileColumns) * kTileColumns; }

// Halves of blocks: runs of 16 pixels in a strip as it is staged. Rows of outputs begin `pitch` apart. Where that wastes fewer
// columns, halves take the strip as one long line, and what lies between the rows is computed and dropped.
class Halves {
 public:
  Halves(const Phase& phase, int64_t first_row, int64_t rows, int64_t pitch, bool lines) {
    if (rows <= 0) return;
    const int64_t end = (rows - 1) * pitch + phase.w;
    for (int64_t at = 0; at < end; at += kTileColumns) {
      if (!lines && at % pitch >= phase.w) at = ceil_div(at, pitch) * pitch;
      places_.push_back(at);
      for (int64_t lane = 0; lane < kTileColumns && at + lane < end;) {
        const int64_t row = (at + lane) / pitch, column = (at + lane) % pitch;
        const int64_t there = std::min(kTileColumns - lane, phase.w - column);
        if (there > 0)
          pieces_.push_back(
              {lane, phase.first + (first_row + row) * phase.row_step + column * phase.pixel_step, there, column + there == phase.w});
        lane += pitch - column;
      }
      ends_.push_back(static_cast<int64_t>(pieces_.size()));
    }
    // A lone half is its own neighbour, and stored once.
    if (places_.size() % 2 == 1) places_.push_back(places_.back()), ends_.push_back(ends_.back());
    for (size_t half = 1; half < ends_.size(); half += 2) {
      for (int64_t i = ends_[half - 1]; i < ends_[half]; ++i) pieces_[static_cast<size_t>(i)].from += kTileColumns;
    }
  }
  int64_t blocks() const { return static_cast<int64_t>(places_.size() / 2); }
  int64_t place(int64_t block, int64_t half) const { return places_[static_cast<size_t>(2 * block + half)]; }
  std::span<const Piece> pieces(int64_t block) const {
    const int64_t begin = block > 0 ? ends_[static_cast<size_t>(2 * block - 1)] : 0,
                  end = ends_[static_cast<size_t>(2 * block + 1)];
    return {pieces_.data() + begin, static_cast<size_t>(end - begin)};
  }

 private:
  std::vector<int64_t> places_, ends_;  // of the pieces of each half
  std::vector<Piece> pieces_;
};

class BlockedSums {
 public:
  explicit BlockedSums(const Sums& sums) : s_(sums) {
    Shift high{};
    bool any = false;
    for (const Phase& phase : s_.phases) {
      height_ = std::max(height_, phase.h);
      width_ = std::max(width_, phase.w);
      for (const Shift& t : phase.taps) {
        low_ = any ? Shift{std::min(low_.h, t.h), std::min(low_.w, t.w)} : t;
        high = any ? Shift{std::max(high.h, t.h), std::max(high.w, t.w)} : t;
        any = true;
      }
    }
    stage_ = {.x = s_.x, .channels = s_.channels, .h = s_.h, .w = s_.w, .stride = s_.stride, .pad_mode = s_.pad_mode};
    // Folding the taps into the channels pays where it leaves at most half the steps.
    const Phase& first = s_.phases.front();
    const int64_t taps = static_cast<int64_t>(first.taps.size());
    if (s_.phases.size() == 1 && taps > 1 && 2 * steps_of(taps * s_.channels) <= taps * steps_of(s_.channels)) {
      stage_.folded = first.taps;
      low_ = high = {};
    }
    span_ = {(high.h - low_.h) / s_.stride.h, (high.w - low_.w) / s_.stride.w};
    stage_.columns = width_ + span_.w;
    lines_ = up_to_half((height_ - 1) * stage_.columns + width_) < height_ * up_to_half(width_);
    stage_.pitch = lines_ ? stage_.columns : up_to_half(width_) + span_.w;
    steps_ = steps_of(stage_.depth());
    last_pairs_ = ceil_div(stage_.depth() - (steps_ - 1) * kProductDepth, 2);
    plan_strips();
  }

  void run() const {
    if (split_outputs_) {
      const Workspace<bf16> staged(2 * staged_pairs());
      const auto pairs = reinterpret_cast<bf16_pair*>(staged.data());
      for (int64_t strip = 0; strip < s_.pictures * strips_; ++strip) {
        const Stage stage = stage_of(strip);
        parallel_for(steps_ * kPairs, 8, [&](int64_t begin, int64_t end) { stage_pairs(stage, begin, end, pairs); });
        parallel_for(row_blocks(), 1, [&](int64_t begin, int64_t end) { multiply(strip, begin, end, pairs); });
      }
      return;
    }
    parallel_for(s_.pictures * strips_, 1, [&](int64_t begin, int64_t end) {
      const Workspace<bf16> staged(2 * staged_pairs());
      const auto pairs = reinterpret_cast<bf16_pair*>(staged.data());
      for (int64_t strip = begin; strip < end; ++strip) {
        stage_pairs(stage_of(strip), 0, steps_ * kPairs, pairs);
        multiply(strip, 0, row_blocks(), pairs);
      }
    });
  }

 private:
  static constexpr int64_t kPairs = kProductDepth / 2;  // of a step
  static int64_t steps_of(int64_t depth) { return ceil_div(depth, kProductDepth); }
  int64_t row_blocks() const { return ceil_div(s_.weights.rows, kProductRows); }

  void plan_strips() {
    const int64_t threads = omp_get_max_threads();
    stage_.rows = 1;
    const int64_t row_bytes = steps_ * kPairs * stage_.pair_size() * static_cast<int64_t>(sizeof(bf16_pair));
    const int64_t most = std::max({kStripBytes / row_bytes - span_.h, ceil_div(kStripPixels, width_), int64_t{1}});
    strips_ = ceil_div(height_, most);
    int64_t weights = 0;
    for (const Phase& phase : s_.phases)
      weights += static_cast<int64_t>(phase.taps.size()) * s_.weights.rows * s_.channels;
    split_outputs_ = weights * static_cast<int64_t>(sizeof(bf16)) > kManyWeights &&
                     (row_blocks() % threads == 0 || row_blocks() >= 4 * threads);
    if (!split_outputs_) strips_ = ceil_div(ceil_div(s_.pictures * strips_, threads) * threads, s_.pictures);
    strip_rows_ = ceil_div(height_, strips_);
    strips_ = ceil_div(height_, strip_rows_);
    stage_.rows = strip_rows_ + span_.h;
  }

  // A half may reach beyond the last row.
  int64_t staged_pairs() const { return steps_ * kPairs * stage_.pair_size() + kTileColumns; }

  Stage stage_of(int64_t strip) const {
    Stage stage = stage_;
    stage.x += strip / strips_ * s_.channels * s_.h * s_.w;
    stage.first = {strip % strips_ * strip_rows_ * s_.stride.h + low_.h, low_.w};
    return stage;
  }

  // Where each tap looks, in pairs from an output's place.
  std::vector<int64_t> offsets_of(const Phase& phase) const {
    if (!stage_.folded.empty()) return {0};
    std::vector<int64_t> offsets;
    for (const Shift& t : phase.taps) {
      const int64_t h = t.h - low_.h, w = t.w - low_.w;
      offsets.push_back((h % s_.stride.h * s_.stride.w + w % s_.stride.w) * stage_.phase_size() +
                        h / s_.stride.h * stage_.pitch + w / s_.stride.w);
    }
    return offsets;
  }

  // Row blocks [begin, end) of a strip.
  void multiply(int64_t strip, int64_t begin, int64_t end, const bf16_pair* staged) const {
    const ScopedTiles tiles;
    const int64_t picture = strip / strips_, first_row = strip % strips_ * strip_rows_;
    for (const Phase& phase : s_.phases) {
      const int64_t rows = std::min(strip_rows_, phase.h - first_row);
      multiply_phase(phase, Halves(phase, first_row, rows, stage_.pitch, lines_), picture, begin, end, staged);
    }
  }

  void multiply_phase(const Phase& phase, const Halves& halves, int64_t picture, int64_t begin, int64_t end,
                      const bf16_pair* staged) const {
    const std::vector<int64_t> offsets = offsets_of(phase);
    const int64_t taps = static_cast<int64_t>(offsets.size()),
                  step_bytes = taps * kSquare * static_cast<int64_t>(sizeof(bf16));
    const bool once = steps_ * step_bytes <= 2 * kPanelBytes;  // then sums need not wait for others
    const int64_t most = once || taps == 0 ? steps_ : std::max<int64_t>(kPanelBytes / step_bytes, 1);
    const Workspace<bf16> panel(std::max<int64_t>(taps, 1) * most * kSquare);
    const Workspace<float> sums((most < steps_ ? halves.blocks() : 1) * kBlock);
    if (taps == 0) std::fill_n(sums.data(), kBlock, 0.0f);  // no output of the forward pass saw these pixels
    Weights weights = s_.weights;
    weights.taps = phase.weights;
    weights.folded = !stage_.folded.empty();
    for (int64_t row = begin * kProductRows; row < end * kProductRows; row += kProductRows) {
      const Planes planes{.y = s_.y + (picture * s_.weights.rows + row) * s_.plane,
                          .plane = s_.plane,
                          .pixel_step = phase.pixel_step,
                          .bias = s_.bias ? s_.bias + row : nullptr,
                          .slope = s_.slope};
      for (int64_t step = 0; step < steps_; step += most) {
        const int64_t steps = std::min(most, steps_ - step);
        pack_panel(weights, row, step, steps, panel.data());
        for (int64_t block = 0; block < halves.blocks(); ++block) {
          float* c = sums.data() + (most < steps_ ? block : 0) * kBlock;
          const bf16_pair* b = staged + step * kPairs * stage_.pair_size();
          if (taps > 0) {
            bf16_product({.runs = taps,
                          .steps = steps,
                          .last_pairs = step + steps == steps_ ? last_pairs_ : kPairs,
                          .a = panel.data(),
                          .offsets = offsets.data(),
                          .b = {b + halves.place(block, 0), b + halves.place(block, 1)},
                          .row_step = stage_.pair_size(),
                          .c = c,
                          .accumulate = step > 0});
          }
          if (step + steps == steps_)
            store_block(c, std::min(kProductRows, s_.weights.rows - row), halves.pieces(block), planes);
        }
      }
    }
  }

  const Sums& s_;
  int64_t height_ = 0, width_ = 0;  // outputs of a phase, at most
  Shift low_{}, span_{};            // the smallest tap; how far taps reach from there, in outputs
  Stage stage_;
  bool lines_ = false;
  int64_t steps_ = 0, last_pairs_ = 0, strips_ = 0, strip_rows_ = 0;  // of a picture, in outputs
  bool split_outputs_ = false;
};

Weights weights_of(const Tensor& w, int row, int depth) {
  return {.data = w.data<bf16>(),
          .rows = w.size(row),
          .depth = w.size(depth),
          .row_step = w.strides()[row],
          .depth_step = w.strides()[depth]};
}

int64_t tap_place(const Tensor& w, int64_t kh, int64_t kw) { return kh * w.strides()[2] + kw * w.strides()[3]; }

// The pixels of dx that outputs saw through the same taps, those of one phase of the stride.
Phase phase_of(const Tensor& w, const Conv2dSizes& s, const Conv2dParams& p, int64_t h, int64_t column) {
  Phase phase{.h = ceil_div(s.h - h, p.stride.h),
              .w = ceil_div(s.w - column, p.stride.w),
              .first = h * s.w + column,
              .row_step = p.stride.h * s.w,
              .pixel_step = p.stride.w};
  for (int64_t kh = 0; kh < s.kh; ++kh) {
    for (int64_t kw = 0; kw < s.kw; ++kw) {
      const int64_t top = h + p.padding.h - kh * p.dilation.h, left = column + p.padding.w - kw * p.dilation.w;
      if (top % p.stride.h != 0 || left % p.stride.w != 0) continue;
      phase.taps.push_back({top / p.stride.h, left / p.stride.w});
      phase.weights.push_back(tap_place(w, kh, kw));
    }
  }
  return phase;
}

}  // namespace

bool takes_bf16_blocks(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto is_bf16 = [](const Tensor& t) { return t.dtype() == DType::bf16; };
  return p.groups == 1 && is_bf16(x) && is_bf16(w) && is_bf16(y) && x.is_contiguous() && y.is_contiguous() &&
         (w.is_contiguous() || w.is_channels_last());
}

bool bf16_blocks_pay(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y, Pass pass) {
  const int64_t outputs = w.size(pass == Pass::forward ? 0 : 1);
  return !winograd_pays(conv2d_sizes(x, w, p, y), p, DType::bf16, pass) && (has_bf16_products() || 2 * outputs >= kProductRows);
}

void conv2d_forward_bf16_blocks(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p,
                                Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  Phase phase{.h = s.oh, .w = s.ow, .row_step = s.ow};
  for (int64_t kh = 0; kh < s.kh; ++kh) {
    for (int64_t kw = 0; kw < s.kw; ++kw) {
      phase.taps.push_back({kh * p.dilation.h - p.padding.h, kw * p.dilation.w - p.padding.w});
      phase.weights.push_back(tap_place(w, kh, kw));
    }
  }
  BlockedSums({.x = x.data<bf16>(),
               .pictures = s.n,
               .channels = s.c,
               .h = s.h,
               .w = s.w,
               .stride = p.stride,
               .pad_mode = p.pad_mode,
               .weights = weights_of(w, 0, 1),
               .phases = {phase},
               .y = y.data<bf16>(),
               .plane = s.oh * s.ow,
               .bias = bias.defined() ? bias.data<float>() : nullptr,
               .slope = static_cast<float>(p.activation_slope)})
      .run();
}

void conv2d_input_grad_bf16_blocks(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  std::vector<Phase> phases;
  for (int64_t h = 0; h < std::min(p.stride.h, s.h); ++h) {
    for (int64_t column = 0; column < std::min(p.stride.w, s.w); ++column)
      phases.push_back(phase_of(w, s, p, h, column));
  }
  BlockedSums({.x = dy.data<bf16>(),
               .pictures = s.n,
               .channels = s.o,
               .h = s.oh,
               .w = s.ow,
               .stride = 1,
               .pad_mode = PadMode::zero,
               .weights = weights_of(w, 1, 0),
               .phases = std::move(phases),
               .y = dx.data<bf16>(),
               .plane = s.h * s.w,
               .bias = nullptr,
               .slope = 1})
      .run();
}

}  // namespace asap::cpu
