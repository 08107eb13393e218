// Where the elements of a window are, for windows of at most kMostTaps elements.
#pragma once
#include "kernels/pooling/axis.h"

namespace ranvier::RANVIER_ISA {

// What the windows of one image have in common.
struct TapList {
  int64_t distance[kMostTaps];                 // of tap (r, s) from tap (0, 0), in elements
  int64_t down[kMostTaps], across[kMostTaps];  // in rows and columns
  int64_t count;
  int64_t first, last;  // the windows of a row that are inside it
};

RANVIER_RARE void list_taps(const PoolAxis& rows, const PoolAxis& columns, int64_t row, int64_t column,
                            TapList& taps) {
  taps.first = taps.last = taps.count = 0;
  if (columns.kernel == 0 || rows.kernel == 0) return;
  for (int64_t r = 0; r < rows.kernel; ++r)
    for (int64_t s = 0; s < columns.kernel; ++s) {
      const int64_t k = taps.count++;
      taps.down[k] = r * rows.dilation, taps.across[k] = s * columns.dilation;
      taps.distance[k] = taps.down[k] * row + taps.across[k] * column;
    }
  const int64_t room = columns.in - 1 - (columns.kernel - 1) * columns.dilation + columns.padding;
  taps.first = (columns.padding + columns.stride - 1) / columns.stride;
  taps.last = room < 0 ? 0 : room / columns.stride + 1;
  if (taps.last > columns.out) taps.last = columns.out;
  if (taps.first > taps.last) taps.first = taps.last;
}

}  // namespace ranvier::RANVIER_ISA
