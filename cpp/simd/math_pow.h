// pow. Included by math.h.
//
// |x|^y = exp(y log|x|). The error of the logarithm is multiplied by y. So the logarithm has about 63 bits
// for double; for float it is computed in double, or as a pair of floats. The special cases are those of C99,
// Annex F.
#pragma once

#include "simd/math_exp.h"
#include "simd/math_log.h"

namespace ranvier::RANVIER_ISA {

// T(z) = 2/5 + 2/7 z + ... in log(1 + f) = 2 s + s z (2/3 + z T(z)), where s and z are as in math_log.h. The
// error relative to the logarithm is 2^-73.4.
RANVIER_INLINE vec<double> log_pair_tail(vec<double> z) {
  return polynomial(z, 0x1.9999999999995p-2, 0x1.249249249310fp-2, 0x1.c71c71c5669eep-3, 0x1.745d183ea3e6dp-3,
                    0x1.3b135f7094412p-3, 0x1.11213312aeaf7p-3, 0x1.de1f9c5d0245ep-4, 0x1.ebb5bff2fee55p-4);
}

// The remainder a - s d of the division a / d = s, where s is rounded; without the rounding error of s d.
RANVIER_INLINE vec<double> remainder_of(vec<double> a, vec<double> s, vec<double> d) {
#if RANVIER_HAS_FMA
  return fma(-s, d, a);
#else
  const auto product = exact_product(s, d);
  return (a - product.hi) - product.lo;
#endif
}

// log(x) as hi + lo, for x = 2^exponent significand. s_lo is the rounding error of s, d_lo that of d, and
// so on.
RANVIER_INLINE Pair<vec<double>> log_pair(SplitFloat<vec<double>> x) {
  using V = vec<double>;
  constexpr double two_thirds = 0x1.5555555555555p-1, two_thirds_lo = 0x1.5555555555555p-55;
  const V f = x.significand - 1.0;
  const V d = f + 2.0;
  const V d_lo = f - (d - 2.0);
  // s = f / (2 + f); s_lo corrects the rounding of 1 / d, too
  const V inverse = 1.0 / d;
  const V s = f * inverse;
  const V s_lo = (remainder_of(f, s, d) - s * d_lo) * inverse;
  const auto z = exact_product(s, s);
  const V z_lo = fma(s + s, s_lo, z.lo);
  // c = 2/3 + z T(z)
  const V tail = z.hi * log_pair_tail(z.hi);
  const V c = tail + two_thirds;
  const V c_lo = fma(broadcast(0.4), z_lo, (tail - (c - two_thirds)) + two_thirds_lo);
  // s z c
  const auto w = exact_product(s, z.hi);
  const V w_lo = fma(s_lo, z.hi, fma(s, z_lo, w.lo));
  const auto q = exact_product(w.hi, c);
  const V q_lo = fma(w.hi, c_lo, fma(w_lo, c, q.lo));
  const V log_f = (s + s) + q.hi;
  const V log_f_lo = q.hi - (log_f - (s + s));  // |q.hi| < |2 s|
  const auto sum = exact_sum(x.exponent * Ln2<double>::hi, log_f);
  const V low = fma(x.exponent, broadcast(Ln2<double>::lo), log_f_lo + (s_lo + s_lo) + q_lo);
  return {sum.hi, sum.lo + low};
}

// exp(r + r_lo) within about 0.6 ulp: the rounding error of 1 + r is added to the tail.
RANVIER_INLINE vec<double> exp_near_zero(vec<double> r, vec<double> r_lo) {
  const vec<double> sum = r + 1.0;
  return sum + ((r - (sum - 1.0)) + fma(r * r, exp_tail(r), r_lo));
}

// exp(x + x_lo) for x within ExpRange
RANVIER_INLINE vec<double> exp_of_pair(vec<double> x, vec<double> x_lo) {
  const auto [n, r, r_lo] = reduce_by_ln2(x, x_lo);
  return scale_by_power(exp_near_zero(r, r_lo), n);
}

// x^y for any x > 0, also subnormal.
RANVIER_INLINE vec<double> pow_positive(vec<double> x, vec<double> y) {
  using V = vec<double>;
  const auto log_x = log_pair(split_subnormal_too(x));
  const V rough = y * log_x.hi;
  // The result over- or underflows. y is replaced by 0 there, since exact_product could overflow.
  const auto outside = ~(abs(rough) < 1000.0);
  const V y_safe = select(outside, V{}, y);
  const auto p = exact_product(y_safe, log_x.hi);
  const V exponent =
      at_most(at_least(select(outside, rough, p.hi), ExpRange<double>::low), ExpRange<double>::high);
  return exp_of_pair(exponent, fma(y_safe, log_x.lo, p.lo));
}

RANVIER_INLINE vec<float> pow_positive(vec<float> x, vec<float> y) {  // no float is subnormal as a double
  return narrow(exp(widen<0>(y) * log_of_usual(widen<0>(x))), exp(widen<1>(y) * log_of_usual(widen<1>(x))));
}

// x^y for any x and y: |x|^y, then selections for the sign and for the special cases.
template <class V>
RANVIER_INLINE V pow_of_any(V x, V y) {
  using T = element_of<V>;
  const V size = abs(x);
  const V one = broadcast(T(1));
  const V infinity = broadcast(Limits<T>::infinity);
  const auto is_limit = (size == T(0)) | (size == infinity) | (abs(y) == infinity);
  V result = select(is_limit, select((size > T(1)) ^ (y > T(0)), V{}, infinity), pow_positive(size, y));
  result = select(size == T(1), one, result);
  const auto integer = round_even(y) == y;
  const auto odd = integer & (round_even(y * T(0.5)) != y * T(0.5));
  result = from_bits(bits(result) ^ (odd & sign_bit(x)));
  const auto invalid = ((x < T(0)) & ~integer & (size < infinity)) | (x != x) | (y != y);
  result = select(invalid, broadcast(Limits<T>::nan), result);
  return select((x == T(1)) | (y == T(0)), one, result);
}

#if RANVIER_HAS_LOOKUP
// log(x) as hi + lo for positive normal x, with a relative error of 2^-30: computed as log() in math_log.h,
// with the rounding errors added to lo.
RANVIER_INLINE Pair<vec<float>> log_pair(vec<float> x) {
  typedef vec<float> V;
  const V e = exponent_of(x);
  const V m = significand_of(x);
  const auto node = log_node(m);
  const V r = fma(m, node.inverse, broadcast(-1.0f));
  const V square = r * r;
  const V high = fma(e, broadcast(Ln2<float>::hi), node.high);
  const V hi = high + r;
  const V lost = r - (hi - high);  // exact: high is 0 or larger than r
  // log(1 + r) - r = -r^2 / 2 + r^3 (1/3 - r / 4 + ...). `cubic` is in the parentheses; its error relative
  // to r is 2^-37.
  const V cubic = polynomial(r, 0x1.555552p-2f, -0x1.fffff6p-3f, 0x1.99ff4ep-3f, -0x1.55c0f8p-3f);
  const V square_lost = fma(r, r, -square);
  V low = fma(e, broadcast(Ln2<float>::lo), node.low);
  low = fma(broadcast(-0.5f), square_lost, fma(r * square, cubic, low));
  low = fma(broadcast(-0.5f), square, lost + low);
  const V sum = hi + low;
  return {sum, low - (sum - hi)};
}

template <class V>
static __attribute__((noinline)) V pow_out_of_line(V x, V y) {
  return pow_of_any(x, y);
}

RANVIER_INLINE vec<float> pow(vec<float> x, vec<float> y) {
  typedef vec<float> V;
  const auto log_x = log_pair(x);
  const V p = y * log_x.hi;
  const V p_lo = fma(y, log_x.hi, -p) + y * log_x.lo;
  const auto [n, r, r_lo] = reduce_by_ln2(p, p_lo);
  const V tail = fma(r * r, exp_tail_beside_1(r), r_lo);
  const V result = scale_by_power((r + tail) + 1.0f, n);
  // Lanes with a negative, subnormal or special x, and those whose result over- or underflows or is NaN, take
  // the result of pow_of_any.
  const ivec<float> rare = is_unusual(x) | ~(abs(p) < 87.0f);
  return any(rare) ? select(rare, pow_out_of_line(x, y), result) : result;
}
#endif

// If one lane has a special, subnormal or negative x (double: or a result that over- or underflows),
// pow_of_any computes the whole vector; its other lanes have the same bits either way.
template <class V>
static __attribute__((noinline)) V pow(V x, V y) {
  if constexpr (!RANVIER_HAS_FMA) {  // small code for old CPUs
    return pow_of_any(x, y);
  } else if constexpr (sizeof(element_of<V>) == 4) {
    const auto rare = is_unusual(x) | ~(abs(y) < Limits<float>::infinity);
    return any(rare) ? pow_of_any(x, y) : pow_positive(x, y);
  } else {
    const auto log_x = log_pair(split_float(x));
    const auto p = exact_product(y, log_x.hi);
    const auto rare = is_unusual(x) | ~(abs(p.hi) < -ExpRange<double>::normal);
    return any(rare) ? pow_of_any(x, y) : exp_of_pair(p.hi, fma(y, log_x.lo, p.lo));
  }
}

}  // namespace ranvier::RANVIER_ISA
