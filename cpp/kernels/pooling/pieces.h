// Long rows of long windows: done in pieces, with a look for a signal between them.
#pragma once
#include "base/interrupt.h"
#include "kernels/pooling/axis.h"

namespace ranvier::RANVIER_ISA {

// Elements read between two looks: a millisecond or so.
constexpr int64_t kTapsBetweenLooks = 1 << 20;

// Of a row of windows of `taps` elements each: how many of them to do between two looks, whole vectors of
// them; more than there are where the row is short.
RANVIER_RARE int64_t windows_at_once(const PoolAxis& columns, int64_t taps) {
  constexpr int64_t kVector = 16;  // lanes of the widest vectors
  if (static_cast<double>(columns.out) * static_cast<double>(taps) <= kTapsBetweenLooks)
    return columns.out + 1;
  return (kTapsBetweenLooks / taps + 1) * kVector;
}

}  // namespace ranvier::RANVIER_ISA
