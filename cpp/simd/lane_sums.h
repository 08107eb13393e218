// The sums of the lanes of several vectors, or their extremes, in one vector.
#pragma once
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// Lane i becomes the sum of vector i's lanes: halves of two vectors are added into one vector, and so on. The
// bits are those of reduce_add, and with another `join` those of reduce_max or reduce_min.
template <int kGroup, class T, class Join>
RANVIER_INLINE vec<T> join_lanes(vec<T> (&rows)[lanes<T>], const Join& join) {
  using Lanes = std::make_integer_sequence<int, lanes<T>>;
  RANVIER_UNROLL
  for (int i = 0; i < kGroup; ++i)
    rows[i] = join(interleave<kGroup, false>(rows[i], rows[i + kGroup], Lanes{}),
                   interleave<kGroup, true>(rows[i], rows[i + kGroup], Lanes{}));
  if constexpr (kGroup > 1)
    return join_lanes<kGroup / 2, T>(rows, join);
  else
    return rows[0];
}
template <int kGroup, class T>
RANVIER_INLINE vec<T> sum_lanes(vec<T> (&rows)[lanes<T>]) {
  return join_lanes<kGroup, T>(rows, [](auto a, auto b) RANVIER_INLINED { return a + b; });
}

}  // namespace ranvier::RANVIER_ISA
