// A row buffer holds one row of an image with its padding around it, so that every window of the row can be
// read by whole vectors without a case for the edges:
//
//   | padding | columns 0 ... in - 1 of the image | padding, up to the end of the last vector |
//
// This file has its size, how long rows are divided into pieces, and a table of the taps of a window. The
// loops of max_forward.h, avg_forward.h and max_backward.h use it.
#pragma once
#include "base/interrupt.h"
#include "kernels/pooling/axis.h"

namespace ranvier::RANVIER_ISA {

// Elements of a row buffer. Element 0 is tap 0 of window 0, and element `padding` is column 0 of the image.
// The last vector of windows may read up to the end.
template <class T>
static int64_t row_buffer_size(const PoolAxis& a) {
  constexpr int64_t line = 64 / sizeof(T);
  const int64_t windows = (a.out + lanes<T> - 1) / lanes<T> * lanes<T>;
  const int64_t last_tap = a.kernel > 0 ? a.kernel - 1 : 0;
  const int64_t for_windows = (windows - 1) * a.stride + last_tap * a.dilation + 1;
  const int64_t for_image = a.padding + a.in + lanes<T>;
  const int64_t size = for_windows > for_image ? for_windows : for_image;
  return (size + line - 1) / line * line;
}

template <class T>
static void fill(T* p, int64_t count, typename VecOf<T>::type v) {  // count: whole vectors
  for (int64_t i = 0; i < count; i += lanes<T>) store(p + i, v);
}

// Reads between two tests for an interrupt, of elements or (windows_at_once) of vectors: about a millisecond
// of work.
constexpr int64_t kTapsBetweenTests = 1 << 20;

// How many windows of a row to compute between two tests for an interrupt. taps: the elements of a window
// that lie in one row. The number is a multiple of all vector lengths, since a vector computes as many
// windows as it has lanes; or for a short row one more than its windows, so that the row is computed in one
// piece.
RANVIER_RARE int64_t windows_at_once(const PoolAxis& columns, int64_t taps) {
  constexpr int64_t kVector = 16;  // lanes of the widest vectors
  if (static_cast<double>(columns.out) * static_cast<double>(taps) <= kTapsBetweenTests)
    return columns.out + 1;
  return (kTapsBetweenTests / taps + 1) * kVector;
}

// The taps (r, s) of a window of at most kMostTaps elements, row by row. All windows of an image have the
// same list.
struct TapList {
  int64_t distance[kMostTaps];                 // from tap (0, 0), in elements of the array
  int64_t down[kMostTaps], across[kMostTaps];  // from tap (0, 0), in rows and in columns of the image
  int64_t count;                               // taps; 0 for adaptive windows, which have no such list
  int64_t first, last;  // windows [first, last) of a row have all columns inside the image
};

// Fills the list. row, column: strides of the image in elements. It is called only where offsets in a window
// are stored as bytes; so a window has at most kMostTaps elements (axis.h).
RANVIER_RARE void list_taps(const PoolAxis& rows, const PoolAxis& columns, int64_t row, int64_t column,
                            TapList& taps) {
  taps.first = 0;
  taps.last = 0;
  taps.count = 0;
  if (columns.kernel == 0 || rows.kernel == 0) return;
  for (int64_t r = 0; r < rows.kernel; ++r)
    for (int64_t s = 0; s < columns.kernel; ++s) {
      const int64_t k = taps.count;
      ++taps.count;
      taps.down[k] = r * rows.dilation;
      taps.across[k] = s * columns.dilation;
      taps.distance[k] = taps.down[k] * row + taps.across[k] * column;
    }
  // Windows from `first` on begin inside, windows up to `last` end inside: `room` is the greatest distance of
  // their first tap from that of window 0.
  const int64_t room = columns.in - 1 - (columns.kernel - 1) * columns.dilation + columns.padding;
  taps.first = (columns.padding + columns.stride - 1) / columns.stride;
  taps.last = room < 0 ? 0 : room / columns.stride + 1;
  if (taps.last > columns.out) taps.last = columns.out;
  if (taps.first > taps.last) taps.first = taps.last;
}

}  // namespace ranvier::RANVIER_ISA
