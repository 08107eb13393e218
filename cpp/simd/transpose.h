// Transposing a square of registers, for packing and layout changes.
#pragma once
#include <utility>

#include "base/unroll.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// From a and b, in pairs of groups of kGroup lanes: the even groups of both, or the odd ones.
template <int kGroup, bool kOdd, class V, int... I>
RANVIER_INLINE V interleave(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(
      a, b, ((I / kGroup % 2 ? n : 0) + I / (2 * kGroup) * 2 * kGroup + (kOdd ? kGroup : 0) + I % kGroup)...);
}

template <int kGroup, class T>
RANVIER_INLINE void transpose_groups(vec<T> (&rows)[lanes<T>]) {
  constexpr int L = lanes<T>;
  using Lanes = std::make_integer_sequence<int, L>;
  RANVIER_UNROLL
  for (int i = 0; i < L; ++i) {
    if (i & kGroup) continue;
    const vec<T> a = rows[i], b = rows[i + kGroup];
    rows[i] = interleave<kGroup, false>(a, b, Lanes{});
    rows[i + kGroup] = interleave<kGroup, true>(a, b, Lanes{});
  }
  if constexpr (kGroup > 1) transpose_groups<kGroup / 2, T>(rows);
}

// rows[i] lane j becomes rows[j] lane i: blocks of half the width change places, then within them.
template <class T>
RANVIER_INLINE void transpose(vec<T> (&rows)[lanes<T>]) {
  transpose_groups<lanes<T> / 2, T>(rows);
}

}  // namespace ranvier::RANVIER_ISA
