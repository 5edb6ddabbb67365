// A blocked matrix product c [M, columns] = A [M, K] B [K, columns] whose operands exist only as functions that pack
// them: a plain matrix, its transpose, or the pixels under a convolution kernel. Used by matmul.cpp and conv2d_implicit_gemm.cpp.
//
// Columns come in panels of Simd::columns. Each thread takes a range of panels or of rows and, block by block, packs
// B [k block, panels] so that it stays in the L2 cache, then runs A past it, one panel of at most kTileRows rows at a
// time in L1. Every element is summed in the same order, whatever the thread count.
#if defined(ASAP_CPU_MATMUL_BLOCK_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_MATMUL_BLOCK_H
#undef ASAP_CPU_MATMUL_BLOCK_H
#else
#define ASAP_CPU_MATMUL_BLOCK_H
#endif

#include <vector>

#include "tensor/cpu/matmul_pack.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

struct BlockedShape {
  int64_t rows = 0, depth = 0, panels = 0;
  int64_t depth_unit = 1;  // blocks of k start at multiples of this
  bool accumulate = false;
};

inline constexpr int64_t kBlockDepth = 256, kLongDepth = 1024;  // of k: the longer, the fewer passes over the result
inline constexpr int64_t kBlockBytes = int64_t{384} << 10;      // of packed B, per thread
// The same where all columns fit at a longer depth: about an L2 cache, which AVX-512 machines have of a MiB or more.
inline constexpr int64_t kLongBytes = HWY_TARGET == HWY_AVX3 ? int64_t{1} << 20 : kBlockBytes;
inline constexpr int64_t kKeepBytes = int64_t{512} << 10;   // A is packed only once if it takes no more

// Sizes of the blocks that one thread works in.
template <class T>
struct Blocking {
  int64_t depth, panels, panel_size;
  Blocking(const BlockedShape& s, int64_t my_panels) {
    constexpr int64_t step_bytes = Simd<T>::columns * static_cast<int64_t>(sizeof(T));  // of k, of a panel
    const int64_t longest = std::clamp(kLongBytes / (s.panels * step_bytes), kBlockDepth, kLongDepth);
    const int64_t units = ceil_div(s.depth, s.depth_unit);
    const int64_t steps = ceil_div(units, std::max<int64_t>(1, longest / s.depth_unit));
    depth = ceil_div(units, steps) * s.depth_unit;
    // One more row than k has: packers may write a vector too far.
    panel_size = (depth + 1) * Simd<T>::columns;
    const int64_t fit = std::max<int64_t>(1, (longest > kBlockDepth ? kLongBytes : kBlockBytes) / (depth * step_bytes));
    panels = ceil_div(my_panels, ceil_div(my_panels, fit));
  }
};

// Operand functions:
//   rows_of_a(row, rows, k, length, T* room) -> RowsOfA: as they lie, or packed into room, [length][Simd::rows]
//   pack_b(panel, panels, k, length, T* out, int64_t out_step)   each panel [length][Simd::columns], out_step apart
// Result:
//   target(panel, row) -> Target: where a tile goes; if it is not `whole`, the tile is computed beside it and handed to
//   scatter(panel, row, rows, const T* tile, bool accumulate)
//   finish(panel, row, rows), once the tile's sums are whole and while they are in cache
template <class T>
struct Target {
  T* c;
  int64_t ld;
  bool whole;  // Simd::columns contiguous elements a row
};

struct NothingToFinish {
  void operator()(int64_t, int64_t, int64_t) const {}
};

template <class T, class RowsOf, class PackB, class TargetOf, class Scatter, class Finish>
class BlockedProduct {
 public:
  BlockedProduct(const BlockedShape& shape, const RowsOf& rows_of_a, const PackB& pack_b, const TargetOf& target,
                 const Scatter& scatter, const Finish& finish)
      : s_(shape), rows_of_a_(rows_of_a), pack_b_(pack_b), target_(target), scatter_(scatter), finish_(finish) {}

  // Splits whichever way packs less twice.
  void run() const {
    const int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    const bool by_panels = s_.panels >= threads && (s_.panels * Simd<T>::columns >= s_.rows || s_.rows < threads * kTileRows);
    if (by_panels) {
      parallel_for(s_.panels, 1, [&](int64_t begin, int64_t end) { part(0, s_.rows, begin, end); });
    } else {
      parallel_for(s_.rows, kTileRows, [&](int64_t begin, int64_t end) { part(begin, end, 0, s_.panels); });
    }
  }

 private:
  // Rows [row0, row1) of panels [panel0, panel1), in the caller's thread.
  void part(int64_t row0, int64_t row1, int64_t panel0, int64_t panel1) const {
    const Blocking<T> block(s_, panel1 - panel0);
    const int64_t tiles = ceil_div(row1 - row0, kTileRows);
    const int64_t blocks = ceil_div(s_.depth, block.depth);
    const int64_t a_size = block.depth * Simd<T>::rows;
    const bool keep = tiles * blocks * a_size * static_cast<int64_t>(sizeof(T)) <= kKeepBytes;
    const Workspace<T> room(keep ? tiles * blocks * a_size : a_size), b(block.panels * block.panel_size);
    std::vector<RowsOfA<T>> a(static_cast<size_t>(keep ? tiles * blocks : 1));
    for (int64_t p = panel0; p < panel1; p += block.panels) {
      const int64_t panels = std::min(block.panels, panel1 - p);
      for (int64_t step = 0; step < blocks; ++step) {
        const int64_t k = step * block.depth, length = std::min(block.depth, s_.depth - k);
        pack_b_(p, panels, k, length, b.data(), block.panel_size);
        for (int64_t t = 0; t < tiles; ++t) {
          const int64_t r0 = row0 + (row1 - row0) * t / tiles, r1 = row0 + (row1 - row0) * (t + 1) / tiles;
          RowsOfA<T>& rows = a[static_cast<size_t>(keep ? step * tiles + t : 0)];
          if (!keep || p == panel0) rows = rows_of_a_(r0, r1 - r0, k, length, room.data() + (keep ? (step * tiles + t) * a_size : 0));
          multiply(r0, r1 - r0, p, panels, length, rows, b.data(), block.panel_size, s_.accumulate || k > 0);
          for (int64_t i = p; step == blocks - 1 && i < p + panels; ++i) finish_(i, r0, r1 - r0);
        }
      }
    }
  }

  // One panel of a times every panel of the block.
  void multiply(int64_t row, int64_t rows, int64_t panel, int64_t panels, int64_t length, const RowsOfA<T>& a, const T* b,
                int64_t b_step, bool accumulate) const {
    constexpr int columns = Simd<T>::columns;
    const MicroKernel<T> kernel = micro_kernel_for<T>(rows);
    alignas(kVectorBytes) T tile[kTileRows * columns];
    for (int64_t p = panel; p < panel + panels; ++p, b += b_step) {
      const Target<T> to = target_(p, row);
      if (to.whole) {
        kernel({1, length, a, b, 0, to.c, to.ld, accumulate});
      } else {
        kernel({1, length, a, b, 0, tile, columns, false});
        scatter_(p, row, rows, tile, accumulate);
      }
    }
  }

  const BlockedShape s_;
  const RowsOf& rows_of_a_;
  const PackB& pack_b_;
  const TargetOf& target_;
  const Scatter& scatter_;
  const Finish& finish_;
};

template <class T, class RowsOf, class PackB, class TargetOf, class Scatter, class Finish = NothingToFinish>
void blocked_product(const BlockedShape& shape, const RowsOf& rows_of_a, const PackB& pack_b, const TargetOf& target,
                     const Scatter& scatter, const Finish& finish = {}) {
  BlockedProduct<T, RowsOf, PackB, TargetOf, Scatter, Finish>(shape, rows_of_a, pack_b, target, scatter, finish).run();
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
