// The division of a reduction into blocks, panels of columns and segments.
#pragma once
#include <algorithm>

#include "base/integers.h"
#include "base/loop_nest.h"
#include "kernels/reduce/pairwise.h"

namespace ranvier {

inline constexpr int kRest = 0, kCenter = 1, kY = 2, kX = 3;
inline constexpr int64_t kSegmentWork = 1 << 14;  // elements that make a separate segment worthwhile

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

// The division of the work. Everything here follows from the problem; the team's size has no part in it.
template <class T>
struct ReducePlan {
  LoopNest<4> kept;
  LoopNest<1> reduced;
  bool across;
  int64_t width, panel, panels;  // columns of a row, of a panel (1 along), panels of a row
  int64_t rows;                  // rows of panels: what is left of the kept axes
  int64_t segments;
  bool halves;  // true if x and y are stored as halves
  bool few;     // rows to reduce, with nothing but their results: panels are as wide as keeps a block in L1

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
    // Depends on the work of one result alone: beside other ones, a result has the same bits.
    segments = panels >= kReduceSegments ? 1 : std::clamp<int64_t>(work / kSegmentWork, 1, kReduceSegments);
    segments = std::min(segments, std::max<int64_t>(reduced.size, 1));
  }

  // Rows that one call for a panel's columns takes in.
  int64_t block_rows(int64_t columns) const {
    const bool dense = reduced.strides[0][reduced.ndim - 1] == columns;
    return dense && columns <= kReduceNarrow ? kReduceChunk / columns : kReduceRows;
  }
  // True if one call gives the results of a panel, which can be written where they belong.
  bool is_one_block(int64_t columns) const {
    return across && segments == 1 && reduced.ndim == 1 && reduced.size <= block_rows(columns) &&
           kept.strides[kY][kept.ndim - 1] == 1;
  }
  int64_t parts() const { return rows * panels; }
  int64_t totals() const { return segments > 1 ? round_up(parts() * segments * panel, 64) : 0; }
  // Scratch memory of one thread: levels of totals, and a block of halves as floats.
  int64_t levels() const { return across && (!few || halves) ? (kPairwiseLevels + 1) * panel : 0; }
  int64_t scratch() const { return levels() + (halves ? kReduceBlock + 64 : 0); }
};

// Runs of one length along memory at even distances, for one call. E: of elements as they are stored
template <class E>
struct Runs {
  const E* first;
  int64_t n, count, stride;

  bool takes(const E* p, int64_t length) {
    if (!count || length != n || (count + 1) * n > kReduceBlock) return false;
    if (count > 1 && p != first + count * stride) return false;
    stride = count == 1 ? p - first : stride;
    ++count;
    return true;
  }
};

}  // namespace ranvier
