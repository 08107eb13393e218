// What the elementary functions of the math_*.h headers share: polynomials, limits that keep NaN, and sums
// and products that are exact as a pair of numbers (Pair). T is float or double, V a vector of it.
#pragma once

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// c0 + c1 x + c2 x^2 + ... by Horner's rule. Each step depends on the one before; the kernels' loops compute
// several vectors, which the CPU overlaps.
template <class V, class T, class... C>
RANVIER_INLINE V polynomial(V x, T c0, C... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return broadcast(c0) + V{};
  } else {
    return fma(polynomial(x, rest...), x, broadcast(c0));
  }
}

// min(x, limit) and max(x, limit), where limit is not NaN. A NaN in x stays, because minimum and maximum
// return their second argument if either is NaN.
template <class V>
RANVIER_INLINE V at_most(V x, element_of<V> limit) {
  return minimum(broadcast(limit), x);
}
template <class V>
RANVIER_INLINE V at_least(V x, element_of<V> limit) {
  return maximum(broadcast(limit), x);
}

template <class T>
struct Limits;
template <>
struct Limits<float> {
  static constexpr float infinity = __builtin_inff(), nan = __builtin_nanf("");
};
template <>
struct Limits<double> {
  static constexpr double infinity = __builtin_inf(), nan = __builtin_nan("");
};

// ln 2 = hi + lo; hi has enough trailing zero bits that n * hi is exact for every exponent n.
template <class T>
struct Ln2;
template <>
struct Ln2<float> {
  static constexpr float hi = 0x1.62e4p-1f, lo = 0x1.7f7d1cp-20f;
};
template <>
struct Ln2<double> {
  static constexpr double hi = 0x1.62e42fefa3p-1, lo = 0x1.3de6af278ece6p-42;
};

// A number hi + lo with more bits than one V: hi is the rounded number, lo its rounding error.
template <class V>
struct Pair {
  V hi, lo;
};

// a + b exactly (Knuth's two-sum).
template <class V>
RANVIER_INLINE Pair<V> exact_sum(V a, V b) {
  const V s = a + b;
  const V b_part = s - a;
  return {s, (a - (s - b_part)) + (b - b_part)};
}

// a * b exactly, unless something over- or underflows.
RANVIER_INLINE Pair<vec<double>> exact_product(vec<double> a, vec<double> b) {
  const vec<double> p = a * b;
#if RANVIER_HAS_FMA
  return {p, fma(a, b, -p)};
#else
  // Dekker: 26-bit halves, whose products are exact.
  const vec<double> big_a = a * 0x1.0000002p27;
  const vec<double> big_b = b * 0x1.0000002p27;
  const vec<double> a1 = big_a - (big_a - a);
  const vec<double> b1 = big_b - (big_b - b);
  const vec<double> a2 = a - a1;
  const vec<double> b2 = b - b1;
  return {p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2};
#endif
}

// a * a exactly, unless it over- or underflows.
template <class V>
RANVIER_INLINE Pair<V> exact_square(V a) {
#if RANVIER_HAS_FMA
  const V square = a * a;
  return {square, fma(a, a, -square)};
#else
  // The upper half of the bits has an exact square.
  constexpr int kUpperBits = sizeof(element_of<V>) == 4 ? -4096 : -(1 << 27);
  const V top = from_bits(bits(a) & kUpperBits);
  const V high = top * top;
  const V rest = (a - top) * (a + top);
  const V square = high + rest;
  return {square, rest - (square - high)};
#endif
}

}  // namespace ranvier::RANVIER_ISA
