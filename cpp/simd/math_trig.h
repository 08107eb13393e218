// sin, cos. Included by math.h.
//
// x + t pi/2 = n pi + r with |r| <= pi/2, where t is 0 for the sine and 1 for the cosine. Both are (-1)^n
// sin(r). So one polynomial suffices; a reduction to |r| <= pi/4 would need two.
#pragma once

#include "simd/math_base.h"

namespace ranvier::RANVIER_ISA {

// S in sin(r) = r + r z (c + z S(z)), z = r^2, c = -1/6 rounded to T; relative error 2^-31.1 (float), 2^-61.6
// (double).
RANVIER_INLINE vec<float> sin_tail(vec<float> z) {
  return polynomial(z, 0x1.111136p-7f, -0x1.a0244cp-13f, 0x1.72e3c8p-19f, -0x1.b87522p-26f);
}
RANVIER_INLINE vec<double> sin_tail(vec<double> z) {
  return polynomial(z, 0x1.11111111110c8p-7, -0x1.a01a01a014e00p-13, 0x1.71de3a52a58a0p-19,
                    -0x1.ae6454d6fe430p-26, 0x1.6123cdba987c8p-33, -0x1.ae43b67c9f0c6p-41,
                    0x1.883838fe03548p-49);
}

// pi as a sum of positive parts. With FMA three parts of full width (`wide`). Without FMA four parts a, b, c
// and d, where n times each of the first three is exact for |x| below the limit.
template <class T>
struct Pi;
template <>
struct Pi<float> {
  static constexpr float wide[] = {0x1.921fb4p+1f, 0x1.4442dp-23f, 0x1.84698ap-47f};
  static constexpr float a = 0x1.92p+1f, b = 0x1.fb4p-11f, c = 0x1.444p-23f, d = 0x1.68c234p-38f;
  static constexpr float limit = 10000, round = 0x1.8p23f;  // + round: an integer, in the last bits
};
template <>
struct Pi<double> {
  static constexpr double wide[] = {0x1.921fb54442d18p+1, 0x1.1a62633145c06p-53, 0x1.c1cd129024e09p-106};
  static constexpr double a = 0x1.921fb544p+1, b = 0x1.0b4611a6p-33, c = 0x1.3198a2ep-68;
  static constexpr double d = 0x1.b839a252049c1p-103, limit = 1e6, round = 0x1.8p52;
};

struct Angle {
  int n;  // modulo 2
  double r;
};

// The reduction of one argument beyond the limit (Payne and Hanek, 1983): 192 bits of 2/pi times the 53 bits
// of the significand. The bits of 2/pi begin with those that contribute to the last two integer bits of the
// product.
static inline Angle reduce_large(double x, int t) {
  static constexpr uint64_t two_over_pi[] = {
      0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561, 0xb7246e3a424dd2e0,
      0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4,
      0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
      0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d};
  uint64_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  const int biased = int(u >> 52) & 0x7ff;
  if (biased == 0x7ff) return {0, __builtin_nan("")};
  const uint64_t significand = (u & 0xfffffffffffff) | 0x10000000000000;
  const int first = biased - 1075 - 2;  // skipped bits of 2/pi; below 0: that many zeros before them
  uint64_t word[3];
  for (int i = 0; i < 3; ++i) {
    const int bit = first + 64 * i;
    const int index = bit >> 6;
    const int shift = bit & 63;
    const uint64_t here = index < 0 ? 0 : two_over_pi[index];
    const uint64_t next = index + 1 < 0 ? 0 : two_over_pi[index + 1];
    word[i] = shift == 0 ? here : (here << shift) | (next >> (64 - shift));
  }
  typedef unsigned __int128 uint128;
  const uint128 low = uint128(significand) * word[2];
  const uint128 middle = uint128(significand) * word[1] + uint64_t(low >> 64);
  const uint64_t turns = uint64_t(x < 0 ? -t : t) << 62;
  const uint64_t high = significand * word[0] + uint64_t(middle >> 64) + turns;
  // high:middle is |x| 2/pi + t modulo 4: an integer bit in units of pi, then the fraction, taken as signed.
  const uint128 fraction = (uint128(high) << 65) | (uint128(uint64_t(middle)) << 1) | (uint64_t(low) >> 63);
  const double r = double((long double)(__int128(fraction)) * (0x1p-128L * 3.14159265358979323846L));
  return {int(high >> 63) ^ int(fraction >> 127), x < 0 ? -r : r};
}

template <class V>
struct ReducedAngle {
  V n, r;  // the last bits of n are the integer
};

// Replaces the lanes of x beyond the limit in `reduced`.
template <class V>
static __attribute__((noinline)) ReducedAngle<V> reduce_large_lanes(V x, ReducedAngle<V> reduced, int t) {
  using T = element_of<V>;
  for (int i = 0; i < lanes<T>; ++i) {
    if (x[i] < Pi<T>::limit && x[i] > -Pi<T>::limit) continue;
    const Angle angle = reduce_large(double(x[i]), t);
    reduced.n[i] = Pi<T>::round + T(angle.n);
    reduced.r[i] = T(angle.r);
  }
  return reduced;
}

template <int t, class V>
RANVIER_INLINE ReducedAngle<V> reduce_by_pi(V x) {
  using T = element_of<V>;
  using P = Pi<T>;
  constexpr T inverse = T(0.318309886183790671538), half = T(t) / 2;
  const V n = t ? fma(x, broadcast(inverse), broadcast(half)) + P::round
                : fma(x, broadcast(inverse), broadcast(P::round));
  const V m = n - P::round - half;  // +0 for x = 0, so that the differences keep the sign of -0
#if RANVIER_HAS_FMA
  const V r1 = fma(m, broadcast(-P::wide[0]), x);  // exact
  const ReducedAngle<V> reduced{n, fma(m, broadcast(-P::wide[2]), fma(m, broadcast(-P::wide[1]), r1))};
#else
  const V r1 = x - m * P::a;  // exact
  const V r2 = r1 - m * P::b;
  const V lost2 = (r1 - r2) - m * P::b;
  const V r3 = r2 - m * P::c;
  const V lost3 = (r2 - r3) - m * P::c;
  const ReducedAngle<V> reduced{n, r3 - (m * P::d - (lost2 + lost3))};
#endif
  return any(~(abs(x) < P::limit)) ? reduce_large_lanes(x, reduced, t) : reduced;
}

template <class V>
RANVIER_INLINE V sin_of(ReducedAngle<V> angle) {
  using T = element_of<V>;
  const V r = angle.r;
  const V z = r * r;
  const V y = fma(r, fma(z, broadcast(T(-1) / 6), z * z * sin_tail(z)), r);  // rounded so that |y| <= 1
  return from_bits((bits(y) | sign_bit(r)) ^ (bits(angle.n) << (8 * int(sizeof(T)) - 1)));
}

template <class V>
RANVIER_INLINE V sin(V x) {
  return sin_of(reduce_by_pi<0>(x));
}

template <class V>
RANVIER_INLINE V cos(V x) {
  return sin_of(reduce_by_pi<1>(x));
}

}  // namespace ranvier::RANVIER_ISA
