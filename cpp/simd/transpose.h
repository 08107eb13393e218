// transpose(): transposes a square of lanes x lanes in registers, for packing and changes of layout; and
// sum_lanes(), the sums of the lanes of several vectors. Both exchange ever smaller (or larger) groups of
// lanes between two rows, so that a square of L x L takes L log2(L) shuffles. A shuffle of two vectors a, b
// of n lanes is a list of indices: i < n is lane i of a, n + i is lane i of b.
#pragma once
#include <utility>

#include "base/unroll.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// a and b are divided into groups of kGroup lanes. The result is the even groups (with kOdd the odd ones) of
// a and b, one of a and one of b in turn.
template <int kGroup, bool kOdd>
constexpr int interleaved_index(int lane, int n) {
  const int group = lane / kGroup;
  const int vector = group % 2;                       // groups come from a and b in turn
  const int source = group / 2 * 2 + (kOdd ? 1 : 0);  // the group of that vector
  return vector * n + source * kGroup + lane % kGroup;
}
template <int kGroup, bool kOdd, class V, int... I>
RANVIER_INLINE V interleave(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, interleaved_index<kGroup, kOdd>(I, n)...);
}

// Within each four lanes: a0 b0 a1 b1, or a2 b2 a3 b3. This is one instruction, while interleave<1> is two.
template <bool kHigh>
constexpr int unpacked_index(int lane, int n) {
  const int vector = lane % 2;
  const int within_four = lane % 4 / 2 + (kHigh ? 2 : 0);
  return vector * n + lane / 4 * 4 + within_four;
}
template <bool kHigh, class V, int... I>
RANVIER_INLINE V unpack(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, unpacked_index<kHigh>(I, n)...);
}

// Exchanges squares of kGroup x kGroup lanes across the diagonal, then smaller squares within each, down to
// kLast x kLast. Rows i and i + kGroup are exchanged together, for each i without the bit kGroup.
template <int kGroup, int kLast, class T>
RANVIER_INLINE void transpose_groups(vec<T> (&rows)[lanes<T>]) {
  using Lanes = std::make_integer_sequence<int, lanes<T>>;
  RANVIER_UNROLL
  for (int i = 0; i < lanes<T>; ++i) {
    if (i & kGroup) continue;
    const vec<T> a = rows[i];
    const vec<T> b = rows[i + kGroup];
    rows[i] = interleave<kGroup, false>(a, b, Lanes{});
    rows[i + kGroup] = interleave<kGroup, true>(a, b, Lanes{});
  }
  if constexpr (kGroup > kLast) transpose_groups<kGroup / 2, kLast, T>(rows);
}

// The even (or, with kOdd, the odd) quarters of a, then those of b.
template <bool kOdd>
constexpr int quarter_index(int lane, int n) {
  const int size = n / 4;  // of a quarter
  const int quarter = lane / size;
  const int vector = quarter / 2;  // the first two quarters are from a
  const int source = quarter % 2 * 2 + (kOdd ? 1 : 0);
  return vector * n + source * size + lane % size;
}
template <bool kOdd, class V, int... I>
RANVIER_INLINE V quarters(V a, V b, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  return __builtin_shufflevector(a, b, quarter_index<kOdd>(I, n)...);
}

// The quarters q of the rows c, c + kStep, c + 2 kStep and c + 3 kStep become row q * kStep + c. The shuffles
// here have immediate operands, while those of interleave<kStep> would need index registers.
template <int kStep, class T>
RANVIER_INLINE void transpose_quarters(vec<T> (&rows)[lanes<T>]) {
  using Lanes = std::make_integer_sequence<int, lanes<T>>;
  RANVIER_UNROLL
  for (int c = 0; c < kStep; ++c) {
    const vec<T> x = quarters<false>(rows[c], rows[c + kStep], Lanes{});
    const vec<T> y = quarters<true>(rows[c], rows[c + kStep], Lanes{});
    const vec<T> z = quarters<false>(rows[c + 2 * kStep], rows[c + 3 * kStep], Lanes{});
    const vec<T> w = quarters<true>(rows[c + 2 * kStep], rows[c + 3 * kStep], Lanes{});
    rows[c] = quarters<false>(x, z, Lanes{});
    rows[c + kStep] = quarters<false>(y, w, Lanes{});
    rows[c + 2 * kStep] = quarters<true>(x, z, Lanes{});
    rows[c + 3 * kStep] = quarters<true>(y, w, Lanes{});
  }
}

// Lane j of rows[i] becomes lane i of rows[j].
RANVIER_INLINE void transpose(vec<double> (&rows)[lanes<double>]) {
  if constexpr (lanes<double> == 8) {
    transpose_groups<1, 1, double>(rows);
    transpose_quarters<2, double>(rows);
  } else {
    transpose_groups<lanes<double> / 2, 1, double>(rows);
  }
}

RANVIER_INLINE void transpose(vec<float> (&rows)[lanes<float>]) {
  using Lanes = std::make_integer_sequence<int, lanes<float>>;
  RANVIER_UNROLL
  for (int i = 0; i < lanes<float>; i += 4) {
    const vec<float> low01 = unpack<false>(rows[i], rows[i + 1], Lanes{});
    const vec<float> low23 = unpack<false>(rows[i + 2], rows[i + 3], Lanes{});
    const vec<float> high01 = unpack<true>(rows[i], rows[i + 1], Lanes{});
    const vec<float> high23 = unpack<true>(rows[i + 2], rows[i + 3], Lanes{});
    rows[i] = interleave<2, false>(low01, low23, Lanes{});
    rows[i + 1] = interleave<2, true>(low01, low23, Lanes{});
    rows[i + 2] = interleave<2, false>(high01, high23, Lanes{});
    rows[i + 3] = interleave<2, true>(high01, high23, Lanes{});
  }
  if constexpr (lanes<float> == 16)
    transpose_quarters<4, float>(rows);
  else if constexpr (lanes<float> > 4)
    transpose_groups<lanes<float> / 2, 4, float>(rows);
}

// The sums of the lanes of several vectors, or with another `join` their extremes, in one vector: lane i
// becomes the sum of the lanes of rows[i]. First, groups of two vectors are added into one vector, then of
// two of these, and so on. The bits are those of reduce_add, reduce_max or reduce_min.
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
