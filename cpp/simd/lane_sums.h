// The sums of the lanes of several vectors, in one vector.
#pragma once
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// Lane i becomes the sum of vector i's lanes: halves of two vectors are added into one vector, and so on. The
// bits are those of reduce_add.
template <int kGroup, class T>
RANVIER_INLINE vec<T> sum_lanes(vec<T> (&rows)[lanes<T>]) {
  using Lanes = std::make_integer_sequence<int, lanes<T>>;
  RANVIER_UNROLL
  for (int i = 0; i < kGroup; ++i)
    rows[i] = interleave<kGroup, false>(rows[i], rows[i + kGroup], Lanes{}) +
              interleave<kGroup, true>(rows[i], rows[i + kGroup], Lanes{});
  if constexpr (kGroup > 1)
    return sum_lanes<kGroup / 2, T>(rows);
  else
    return rows[0];
}

}  // namespace ranvier::RANVIER_ISA
