// The division of batch norm's work, forward and backward: the units that a thread sums, and the tables of
// sums and coefficients for each channel.
//
// x is (n, c, s), where s is the number of pixels: all other dimensions. It has one of two layouts:
//
//   columns  the channels of a pixel are contiguous: x is a matrix of pixels by channels, and a sum goes down
//            a column
//   planes   the s elements of a channel of a sample are contiguous
//
// In the layout of columns a panel is a range of at most kPanel columns, and a segment a range of rows. In
// the layout of planes a panel is one channel, and a segment a range of samples. A unit is one segment of one
// panel; its number is segment * panels + panel.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "base/carve.h"
#include "base/integers.h"
#include "kernels/norm/batch_norm.h"

namespace ranvier {

// The distance from one pixel to the next in the layout of columns, in elements.
template <class E>
int64_t row_stride(const TensorView<E>& v) {
  return v.shape[2] > 1 ? v.strides[2] : v.strides[0];
}

// The division into units. It depends on the problem only, not on the number of threads, so that the sums
// have the same bits on any team.
struct ChannelPlan {
  static constexpr int64_t kPanel = 512;            // the most columns of a panel
  static constexpr int64_t kNarrow = 64;            // narrower rows are folded to at least this width
  static constexpr int64_t kSegmentWork = 1 << 14;  // the least elements for which a segment pays

  bool columns;
  int64_t channels, inner;  // c, s
  // columns: `length` rows of `fold` adjacent pixels, and `rest` pixels after them; fold > 1 if the channels
  //          are few and `dense`, that is, if the pixels of all arrays lie without gaps
  // planes:  `length` samples; fold = 1, rest = 0
  int64_t length, fold, rest, width;  // width: columns of a row, fold * channels
  int64_t panels, segments;

  template <class T>
  ChannelPlan(bool columns_, const TensorView<const T>& x, bool dense)
      : columns(columns_), channels(x.shape[1]), inner(x.shape[2]), length(x.shape[0]), fold(1), rest(0) {
    if (columns) {
      const int64_t pixels = x.shape[0] * inner;
      if (dense && channels > 0) fold = ceil_div(kNarrow, channels);
      length = pixels / fold;
      rest = pixels % fold;
    }
    width = fold * channels;
    panels = columns ? ceil_div(width, kPanel) : channels;
    const int64_t work = panels ? x.shape[0] * inner * channels / panels : 0;
    segments = panels >= kNormSegments ? 1 : std::clamp<int64_t>(work / kSegmentWork, 1, kNormSegments);
    segments = std::clamp<int64_t>(segments, 1, std::max<int64_t>(length, 1));
  }

  int64_t units() const { return segments * panels; }
  int64_t first(int64_t segment) const { return length * segment / segments; }
  bool is_last(int64_t segment) const { return segment == segments - 1; }
  // How many elements of a column (planes: of channel `column`) are in a segment.
  int64_t count(int64_t segment, int64_t column) const {
    const int64_t own = first(segment + 1) - first(segment);
    return columns ? own + (is_last(segment) && column < rest * channels) : own * inner;
  }
  int64_t elements() const {  // the elements of one channel
    return columns ? length * fold + rest : length * inner;
  }
  // True if a thread computes whole channels, from the sums to the result, so that a channel's elements are
  // still in L2 when they are read again. bytes: of one element of all arrays together. The units are the
  // same, and so are the bits.
  bool is_by_channel(int64_t bytes, int threads) const {
    return !columns && channels >= 4 * int64_t{threads} && elements() * bytes <= caches.l2 / 2;
  }
  // Calls f(unit) for the units of a channel in the layout of planes, where a panel is a channel.
  template <class F>
  void for_units(int64_t channel, const F& f) const {
    for (int64_t s = 0; s < segments; ++s) f(s * channels + channel);
  }

  // Calls rows(begin, end, width) for rows [begin, end) in the layout of columns. The `rest` pixels are a
  // shorter row, with a call of its own.
  template <class F>
  void for_rows(int64_t begin, int64_t end, const F& rows) const {
    const int64_t whole = std::min(end, length);
    if (begin < whole) rows(begin, whole, width);
    if (end > length) rows(length, length + 1, rest * channels);
  }
  int64_t row_count() const { return length + (rest > 0); }
};

// The first element of plane c of sample n.
template <class E>
E* plane(const TensorView<E>& v, int64_t n, int64_t c) {
  return v.data + n * v.strides[0] + c * v.strides[1];
}

// first, second: two sums of each column in double, [segment][column]; batch_norm.cpp says which. m, a, b, k:
// for each column the coefficients of the result, (x - m) a + b forward and dy a + (x - m) b + k backward.
template <class T>
struct ChannelTables {
  double *first, *second;
  T *m, *a, *b, *k;
  size_t bytes;

  ChannelTables(int64_t sums, int64_t columns, void* workspace) {
    Carver carver(workspace);
    first = carver.take<double>(sums);
    second = carver.take<double>(sums);
    for (T** numbers : {&m, &a, &b, &k}) *numbers = carver.take<T>(columns);
    bytes = carver.used();
  }
  ChannelTables(const ChannelPlan& plan, void* workspace)
      : ChannelTables(plan.segments * plan.width, plan.width, workspace) {}
};

}  // namespace ranvier
