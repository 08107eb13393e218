// log, log1p. Included by math.h.
//
// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). With s = f / (2 + f) and z = s^2,
// log(1 + f) = 2 atanh(s) = 2 s + s R(z) = f - f^2/2 + s (f^2/2 + R(z)),  R(z) = z Q(z).
#pragma once

#include "simd/math_base.h"

namespace ranvier::RANVIER_ISA {

// Q(z) = 2/3 + 2/5 z + 2/7 z^2 + ...; error relative to the logarithm: 2^-30.2 (float), 2^-59.4 (double).
RANVIER_INLINE vec<float> log_tail(vec<float> z) {
  return polynomial(z, 0x1.55557cp-1f, 0x1.995d9ap-2f, 0x1.32041cp-2f);
}
RANVIER_INLINE vec<double> log_tail(vec<double> z) {
  return polynomial(z, 0x1.5555555555597p-1, 0x1.999999997e52ap-2, 0x1.2492494367cd6p-2, 0x1.c71c50c45a0c4p-3,
                    0x1.7466858cf3020p-3, 0x1.399a3b68c131fp-3, 0x1.2f5488f680e31p-3);
}

template <class T>
struct FloatBits;
template <>
struct FloatBits<float> {
  static constexpr int fraction = 23, bias = 127;
  static constexpr int32_t sqrt_half = 0x3f3504f3;  // bits of sqrt(1/2)
  static constexpr float smallest_normal = 0x1p-126f, shift = 0x1p23f, tiny = 0x1p-26f;
};
template <>
struct FloatBits<double> {
  static constexpr int fraction = 52, bias = 1023;
  static constexpr int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  static constexpr double smallest_normal = 0x1p-1022, shift = 0x1p52, tiny = 0x1p-55;
};

template <class V>
struct SplitFloat {  // x = 2^exponent * significand, significand in [sqrt(1/2), sqrt(2))
  V exponent, significand;
};

// For positive normal x. The exponent is or-ed into the fraction of 2^23 (2^52), which is an integer to
// float conversion without the instruction that AVX2 lacks for 64-bit lanes.
template <class V>
RANVIER_INLINE SplitFloat<V> split_float(V x) {
  using T = element_of<V>;
  using F = FloatBits<T>;
  using U = uvec<T>;
  constexpr auto one = int_of<T>(1) << F::fraction;
  // Unsigned: of NaN and negative numbers the differences wrap around, and their logarithm is selected later.
  const U from = (U)bits(x), lowest = (U)(ivec<T>{} + (F::sqrt_half - F::bias * one));
  const U biased = (from - lowest) >> F::fraction;
  const V exponent = from_bits((ivec<T>)biased | bits(broadcast(F::shift))) - (F::shift + F::bias);
  const U power = (biased - (U)(ivec<T>{} + int_of<T>(F::bias))) << F::fraction;
  return {exponent, from_bits((ivec<T>)(from - power))};
}

template <class V>
RANVIER_INLINE SplitFloat<V> split_subnormal_too(V x) {
  using T = element_of<V>;
  using F = FloatBits<T>;
  const auto small = x < F::smallest_normal;
  SplitFloat<V> s = split_float(select(small, x * F::shift, x));
  s.exponent -= select(small, broadcast(T(F::fraction)), V{});
  return s;
}

// exponent * ln 2 + log(1 + f) + correction.
template <class V>
RANVIER_INLINE V log_of(V exponent, V f, V correction) {
  using T = element_of<V>;
  const V s = f / (f + T(2)), z = s * s, half_square = f * f * T(0.5);
  const V low = fma(exponent, broadcast(Ln2<T>::lo), correction);
  const V tail = fma(s, fma(z, log_tail(z), half_square), low);
  return fma(exponent, broadcast(Ln2<T>::hi), f - (half_square - tail));
}

template <class V>
RANVIER_INLINE V log(V x) {
  using T = element_of<V>;
  const auto [exponent, significand] = split_subnormal_too(x);
  const V y = log_of(exponent, significand - T(1), V{});
  const V infinity = broadcast(Limits<T>::infinity);
  const V outside = select(x == T(0), -infinity, broadcast(Limits<T>::nan));
  return select(x > T(0), select(x < infinity, y, x), outside);
}

template <class V>
RANVIER_INLINE V log1p(V x) {
  using T = element_of<V>;
  const V u = x + T(1);
  const auto [exponent, significand] = split_float(u);
  // What rounding 1 + x lost comes back as a first-order correction; with exponent 0, x itself is exact.
  const V lost = select(x > T(1), T(1) - (u - x), x - (u - T(1)));
  const auto near_one = exponent == T(0);
  const V f = select(near_one, x, significand - T(1));
  const V y = log_of(exponent, f, select(near_one, V{}, lost / u));
  const V infinity = broadcast(Limits<T>::infinity);
  const V outside = select(x == T(-1), -infinity, broadcast(Limits<T>::nan));
  const V inside = select(x < infinity, select(abs(x) < FloatBits<T>::tiny, x, y), x);
  return select(x > T(-1), inside, outside);
}

}  // namespace ranvier::RANVIER_ISA
