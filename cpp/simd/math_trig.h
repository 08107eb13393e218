// sin, cos. Included by math.h.
//
// x = n pi/2 + r with |r| <= pi/4; the last two bits of n choose sine or cosine and the sign.
#pragma once

#include "simd/math_base.h"

namespace ranvier::RANVIER_ISA {

// sin(r) = r + r^3 S(r^2), cos(r) = 1 - r^2/2 + r^4 C(r^2); relative errors 2^-37.4 and 2^-32.9 (float),
// 2^-57.8 and 2^-63.8 (double).
RANVIER_INLINE vec<float> sin_tail(vec<float> z) {
  return polynomial(z, -0x1.555556p-3f, 0x1.111108p-7f, -0x1.a00f48p-13f, 0x1.6cc50ap-19f);
}
RANVIER_INLINE vec<float> cos_tail(vec<float> z) {
  return polynomial(z, 0x1.55554ap-5f, -0x1.6c0bfep-10f, 0x1.99dbccp-16f);
}
RANVIER_INLINE vec<double> sin_tail(vec<double> z) {
  return polynomial(z, -0x1.5555555555548p-3, 0x1.111111110f685p-7, -0x1.a01a019bd30b0p-13,
                    0x1.71de35417c481p-19, -0x1.ae5e3bba3ee19p-26, 0x1.5d86a8607cddep-33);
}
RANVIER_INLINE vec<double> cos_tail(vec<double> z) {
  return polynomial(z, 0x1.555555555554ap-5, -0x1.6c16c16c14e18p-10, 0x1.a01a019c5e945p-16,
                    -0x1.27e4f7ceee936p-22, 0x1.1ee9c4697a09ep-29, -0x1.8f9a6d83eaef1p-37);
}

// pi/2 in parts: where there is an FMA, three of full width; else four, of which below the limit n times each
// of the first three is exact.
template <class T>
struct HalfPi;
template <>
struct HalfPi<float> {
  static constexpr float wide[] = {0x1.921fb6p+0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
  static constexpr float a = 0x1.92p+0f, b = 0x1.fb4p-12f, c = 0x1.444p-24f, d = 0x1.68c234p-39f;
  static constexpr float limit = 10000, low_bits = 0x1.8p23f;
};
template <>
struct HalfPi<double> {
  static constexpr double wide[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
  static constexpr double a = 0x1.921fb544p+0, b = 0x1.0b4611a6p-34, c = 0x1.3198a2ep-69;
  static constexpr double d = 0x1.b839a252049c1p-104, limit = 1e6, low_bits = 0x1.8p52;
};

struct Angle {
  double quadrant, r;
};

// One argument beyond the limit (Payne and Hanek, 1983): 192 bits of 2/pi, starting where the product's
// last two integer bits come from, times the 53-bit significand.
static inline Angle reduce_large(double x) {
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
    const int bit = first + 64 * i, index = bit >> 6, shift = bit & 63;
    const uint64_t here = index < 0 ? 0 : two_over_pi[index];
    const uint64_t next = index + 1 < 0 ? 0 : two_over_pi[index + 1];
    word[i] = shift == 0 ? here : (here << shift) | (next >> (64 - shift));
  }
  typedef unsigned __int128 uint128;
  const uint128 low = uint128(significand) * word[2];
  const uint128 middle = uint128(significand) * word[1] + uint64_t(low >> 64);
  const uint64_t high = significand * word[0] + uint64_t(middle >> 64);
  // high:middle is the product modulo 4: two integer bits, then the fraction, taken as signed.
  const uint128 fraction = (uint128(high) << 66) | (uint128(uint64_t(middle)) << 2) | (uint64_t(low) >> 62);
  const double r = double((long double)(__int128(fraction)) * (0x1p-128L * 1.57079632679489661923L));
  const int quadrant = int(high >> 62) + int(fraction >> 127);
  return x < 0 ? Angle{double(4 - quadrant), -r} : Angle{double(quadrant), r};
}

template <class V>
struct ReducedAngle {
  V n, r;
};

template <class V>
static __attribute__((noinline)) ReducedAngle<V> reduce_large_lanes(V x, ReducedAngle<V> reduced) {
  using T = element_of<V>;
  for (int i = 0; i < lanes<T>; ++i) {
    if (x[i] < HalfPi<T>::limit && x[i] > -HalfPi<T>::limit) continue;
    const Angle angle = reduce_large(double(x[i]));
    reduced.n[i] = T(angle.quadrant);
    reduced.r[i] = T(angle.r);
  }
  return reduced;
}

template <class V>
RANVIER_INLINE ReducedAngle<V> reduce_by_half_pi(V x) {
  using T = element_of<V>;
  using P = HalfPi<T>;
  const V n = round_even(x * T(0.636619772367581343076));
#if RANVIER_HAS_FMA
  const V r1 = fma(-n, broadcast(P::wide[0]), x);  // exact
  const ReducedAngle<V> reduced{n, fma(-n, broadcast(P::wide[2]), fma(-n, broadcast(P::wide[1]), r1))};
#else
  const V r1 = x - n * P::a;  // exact
  const V r2 = r1 - n * P::b, lost2 = (r1 - r2) - n * P::b;
  const V r3 = r2 - n * P::c, lost3 = (r2 - r3) - n * P::c;
  const ReducedAngle<V> reduced{n, r3 + ((lost2 + lost3) - n * P::d)};
#endif
  return any(~(abs(x) < P::limit)) ? reduce_large_lanes(x, reduced) : reduced;
}

// sin(r + (n + quarter_turns) pi/2)
template <class V>
RANVIER_INLINE V sin_of(ReducedAngle<V> angle, int quarter_turns) {
  using T = element_of<V>;
  const V r = angle.r, z = r * r;
  const V sine = fma(r * z, sin_tail(z), r);
  const V cosine = fma(z * z, cos_tail(z), T(1) - T(0.5) * z);
  const auto quadrant = bits(angle.n + (HalfPi<T>::low_bits + T(quarter_turns)));
  const V y = select((quadrant & 1) != 0, cosine, sine);
  return from_bits(bits(y) ^ ((quadrant & 2) << (8 * int(sizeof(T)) - 2)));
}

template <class V>
RANVIER_INLINE V sin(V x) {
  using T = element_of<V>;
  return select(x == T(0), x, sin_of(reduce_by_half_pi(x), 0));  // keeps -0
}

template <class V>
RANVIER_INLINE V cos(V x) {
  return sin_of(reduce_by_half_pi(x), 1);
}

}  // namespace ranvier::RANVIER_ISA
