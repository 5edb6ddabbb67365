// Sum, mean and maximum over the middle of [outer, n, inner]. Sums are carried in double, as the CPU's: a conversion and
// an addition for each 4 bytes read stay below what memory allows. The floor of all variants is x read once.
// Next: lane_groups.cuh.
#include <limits>

#include "cuda/hopper.cuh"
#include "cuda/lane_groups.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// How values are combined, and what a finished result becomes.
struct SumOp : Add {
  using Acc = double;
  static constexpr Acc kNeutral = 0;
};
struct MaxOp : Max {
  using Acc = float;
  static constexpr Acc kNeutral = -std::numeric_limits<float>::infinity();
};
template <class Op>
__device__ __forceinline__ float finish(typename Op::Acc acc, double scale) {
  if constexpr (std::is_same_v<Op, SumOp>) acc *= scale;
  return static_cast<float>(acc);
}

constexpr int kInFlight = 8;  // values that a thread asks for before it needs the first

// value(first), value(first + step), .. before `end`, combined in this order onto acc.
template <class Op, class F>
__device__ __forceinline__ typename Op::Acc combine_run(typename Op::Acc acc, int first, int end, int step,
                                                        const F& value) {
  using Acc = typename Op::Acc;
  return sum_of_loaded<kInFlight>(acc, first, end, step, value,
                                  [](Acc a, auto x) { return Op{}(a, static_cast<Acc>(x)); });
}

// 32-bit sizes, checked by can_count.
struct Sizes {
  int outer, n, inner;
};
Sizes sizes_of(const AxisParams& p) {
  return {static_cast<int>(p.outer), static_cast<int>(p.n), static_cast<int>(p.inner)};
}
bool can_count(const Tensor& x) {
  return x.dtype() == DType::f32 && x.numel() <= std::numeric_limits<int32_t>::max() / 2;
}

// rows: inner == 1 and the rows are short; a group of lanes a row.
template <class Op>
__global__ void reduce_rows_kernel(const float* x, Sizes p, int lanes, double scale, float* y) {
  wait_for_previous_kernel();
  for_each_row(p.outer, lanes, [&](int row, int lane) {
    const float* from = x + int64_t{row} * p.n;
    auto acc = combine_run<Op>(Op::kNeutral, lane, row < p.outer ? p.n : 0, lanes, [&](int j) { return from[j]; });
    acc = group_reduce(acc, lanes, Op{});
    if (lane == 0 && row < p.outer) y[row] = finish<Op>(acc, scale);
  });
}

// two_stage: the axis is cut into pieces, a block each, whose partial results [outer, pieces, inner] are reduced by the same
// kernel in a second launch, unless one piece is all. A block has `width` columns side by side and kBlock / width rows, and reads
// its piece row after row.
struct Pieces {
  int count, rows;    // pieces of the axis, and rows of a piece
  int strips, width;  // strips of columns, and columns of a strip
};

template <class Op, bool last, class In>
__global__ void __launch_bounds__(kBlock)
    reduce_pieces_kernel(const In* x, Sizes p, Pieces pieces, double scale, float* y, typename Op::Acc* partial) {
  using Acc = typename Op::Acc;
  ASAP_SHARED(Acc, shared, [kBlock]);
  wait_for_previous_kernel();
  const int strip = static_cast<int>(blockIdx.x) % pieces.strips, rest = static_cast<int>(blockIdx.x) / pieces.strips;
  const int piece = rest % pieces.count, o = rest / pieces.count;
  const int t = static_cast<int>(threadIdx.x), step = kBlock / pieces.width;
  const int row = t / pieces.width, column = strip * pieces.width + t % pieces.width;
  const bool takes_part = row < step && column < p.inner;
  const int first = piece * pieces.rows, end = min(p.n, first + pieces.rows);
  const In* from = x + o * p.n * p.inner + column;
  Acc acc =
      combine_run<Op>(Op::kNeutral, first + row, takes_part ? end : 0, step, [&](int j) { return from[j * p.inner]; });
  shared[t] = acc;
  int rows = step;
  while (rows > 1) {  // the upper half onto the lower one
    const int half = (rows + 1) / 2;
    __syncthreads();
    if (row + half < rows) shared[t] = acc = Op{}(acc, shared[t + half * pieces.width]);
    rows = half;
  }
  if (row != 0 || column >= p.inner) return;
  if constexpr (last) {
    y[o * p.inner + column] = finish<Op>(acc, scale);
  } else {
    partial[(o * pieces.count + piece) * p.inner + column] = acc;
  }
}

// Enough pieces to fill the card, but none so short that its block has little to read.
Pieces pieces_of(const Sizes& p) {
  constexpr int kWidest = 64, kBlocksEach = 8, kShortest = kInFlight * kBlock;  // elements
  Pieces pieces;
  pieces.strips = static_cast<int>(ceil_div(p.inner, kWidest));
  pieces.width = static_cast<int>(ceil_div(p.inner, pieces.strips));
  const int64_t blocks = int64_t{p.outer} * pieces.strips,
                wanted = ceil_div(kBlocksEach * card().multiprocessors, blocks);
  const int64_t most = ceil_div(int64_t{p.n} * pieces.width, kShortest);
  const int64_t count = std::max<int64_t>(std::min(wanted, most), 1);
  pieces.rows = static_cast<int>(std::max<int64_t>(ceil_div(ceil_div(p.n, count), kWarp), 1) * kWarp);  // whole lines
  pieces.count = static_cast<int>(std::max<int64_t>(ceil_div(p.n, pieces.rows), 1));
  return pieces;
}

template <class Op>
void reduce_two_stage_as(const Tensor& x, const Sizes& p, double scale, Tensor& y) {
  using Acc = typename Op::Acc;
  const Pieces pieces = pieces_of(p);
  const auto blocks = static_cast<unsigned>(p.outer * pieces.count * pieces.strips);
  if (pieces.count == 1) {
    launch(reduce_pieces_kernel<Op, true, float>, Launch(blocks, kBlock).overlapping(), x.data<float>(), p, pieces, scale,
           y.data<float>(), nullptr);
    return;
  }
  Tensor partial = scratch(int64_t{p.outer} * pieces.count * p.inner, dtype_of<Acc>);
  launch(reduce_pieces_kernel<Op, false, float>, Launch(blocks, kBlock).overlapping(), x.data<float>(), p, pieces, scale,
         nullptr, partial.data<Acc>());
  const Pieces all{.count = 1, .rows = pieces.count, .strips = pieces.strips, .width = pieces.width};
  launch(reduce_pieces_kernel<Op, true, Acc>, Launch(static_cast<unsigned>(p.outer * pieces.strips), kBlock).overlapping(),
         std::as_const(partial).data<Acc>(), Sizes{p.outer, pieces.count, p.inner}, all, scale, y.data<float>(),
         nullptr);
}

// Calls f(Op{}, scale).
template <class F>
void dispatch_op(ReduceOp op, const AxisParams& p, const F& f) {
  if (op == ReduceOp::max) return f(MaxOp{}, 1.0);
  f(SumOp{}, op == ReduceOp::mean ? 1.0 / static_cast<double>(p.n) : 1.0);
}

void reduce_rows(ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
  const int lanes = lanes_for(p.n, kInFlight);
  dispatch_op(op, p, [&](auto op_tag, double scale) {
    launch(reduce_rows_kernel<decltype(op_tag)>, Launch(blocks_for(p.outer * lanes), kBlock).overlapping(), x.data<float>(),
           sizes_of(p), lanes, scale, y.data<float>());
  });
}

void reduce_two_stage(ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_op(op, p,
              [&](auto op_tag, double scale) { reduce_two_stage_as<decltype(op_tag)>(x, sizes_of(p), scale, y); });
}

bool suits_rows(ReduceOp, const Tensor& x, const AxisParams& p, const Tensor&) {
  constexpr int64_t kLongest = 1024;
  return can_count(x) && p.inner == 1 && p.n <= kLongest;
}

}  // namespace

void register_reduce() {
  kernels::reduce.add(Device::cuda, "rows", reduce_rows, suits_rows);
  kernels::reduce.add(Device::cuda, "two_stage", reduce_two_stage,
                      [](ReduceOp, const Tensor& x, const AxisParams&, const Tensor&) { return can_count(x); });
}

}  // namespace asap::cuda
