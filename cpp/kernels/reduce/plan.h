// ReducePlan: how a reduction is divided into parts of results, blocks and segments. It depends on the call's
// shapes and strides alone, never on the team.
#pragma once
#include <algorithm>

#include "base/integers.h"
#include "base/loop_nest.h"
#include "kernels/reduce/pairwise.h"

namespace ranvier {

inline constexpr int kRest = 0, kCenter = 1, kY = 2, kX = 3;  // the index of each view in ReducePlan::kept
inline constexpr int64_t kSegmentWork = 1 << 14;  // elements that make a separate segment worthwhile

// The loops over the results, and over the elements of one result.
template <class T>
LoopNest<4> kept_axes(const Reduce<T>& r) {
  int64_t shape[kMaxDims] = {};
  for (int d = 0; d < r.x.ndim; ++d) shape[d] = r.reduced[d] ? 1 : r.x.shape[d];
  return LoopNest<4>(r.x.ndim, shape, {r.rest.strides, r.center.strides, r.y.strides, r.x.strides});
}

template <class T>
LoopNest<1> reduced_axes(const Reduce<T>& r) {
  int64_t shape[kMaxDims];
  for (int d = 0; d < r.x.ndim; ++d) shape[d] = r.reduced[d] ? r.x.shape[d] : 1;
  return LoopNest<1>(r.x.ndim, shape, {r.x.strides});
}

// Results are counted by `kept`. If results are side by side in memory (`across`), a row of them is divided
// into panels of columns, which are reduced row by row. Otherwise each result is reduced along memory, and is
// a panel by itself. A part is one panel. If a result has many elements, its part is divided into segments of
// them.
template <class T>
struct ReducePlan {
  LoopNest<4> kept;     // the axes that are kept: rest, center, y and x by result
  LoopNest<1> reduced;  // the reduced axes of x
  bool across;
  // Results of a row, results of a panel (both 1 if not across), panels of a row.
  int64_t width, panel, panels;
  int64_t rows;  // the number of rows of results
  int64_t segments;
  bool halves;  // x and y are stored in 16 bits
  bool few;  // at most kReduceRows rows are reduced, without a center: panels are as wide as L1 has room for

  explicit ReducePlan(const Reduce<T>& r)
      : kept(kept_axes(r)), reduced(reduced_axes(r)), halves(r.x.stored != Stored::whole) {
    const int inner = kept.ndim - 1;
    across = kept.shape[inner] > 1 && kept.strides[kX][inner] == 1;
    width = across ? kept.shape[inner] : 1;
    few = across && reduced.ndim == 1 && reduced.size <= kReduceRows && !r.center.data &&
          kept.strides[kY][inner] == 1;
    const int64_t most = few ? round_up(kReduceFew / std::max<int64_t>(reduced.size, 1), 64) : kReducePanel;
    panel = across ? std::min(round_up(width, 64), std::max(most, kReducePanel)) : 1;
    panels = ceil_div(width, panel);
    rows = width ? kept.size / width : 0;
    const int64_t work = reduced.size * std::min(width, panel);
    // This depends on the work of one panel, not on the number of rows: a result has the same bits beside any
    // others.
    segments = panels >= kReduceSegments ? 1 : std::clamp<int64_t>(work / kSegmentWork, 1, kReduceSegments);
    segments = std::min(segments, std::max<int64_t>(reduced.size, 1));
  }

  // The rows of a block: of one call of the loop over a panel's columns.
  int64_t block_rows(int64_t columns) const {
    const bool dense = reduced.strides[0][reduced.ndim - 1] == columns;
    return dense && columns <= kReduceNarrow ? kReduceChunk / columns : kReduceRows;
  }
  // True if one block has all rows, and the loop can write the results to y itself.
  bool is_one_block(int64_t columns) const {
    return across && segments == 1 && reduced.ndim == 1 && reduced.size <= block_rows(columns) &&
           kept.strides[kY][kept.ndim - 1] == 1;
  }
  int64_t parts() const { return rows * panels; }
  // Elements of T in the workspace: the totals of all segments; and for each thread the levels of a Pairwise
  // (pairwise.h) with a row for centers, and a block of halves as floats.
  int64_t totals() const { return segments > 1 ? round_up(parts() * segments * panel, 64) : 0; }
  int64_t levels() const { return across && (!few || halves) ? (kPairwiseLevels + 1) * panel : 0; }
  int64_t scratch() const {
    const int64_t widened = halves ? kReduceBlock + 64 : 0;
    return levels() + widened;
  }
};

// `count` runs of n contiguous elements, `stride` apart, for one call of ReduceLoops::runs. E: the type of
// stored elements.
template <class E>
struct Runs {
  const E* first;
  int64_t n, count, stride;

  // Adds a run at p, if it has the same length and distance, and returns whether it did.
  bool takes(const E* p, int64_t length) {
    if (!count || length != n || (count + 1) * n > kReduceBlock) return false;
    if (count > 1 && p != first + count * stride) return false;
    stride = count == 1 ? p - first : stride;
    ++count;
    return true;
  }
};

}  // namespace ranvier
