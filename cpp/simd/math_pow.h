// pow. Included by math.h.
//
// x^y = exp(y log|x|), with the logarithm in about 63 bits for double (an error in it is multiplied by y)
// and in double for float; the special cases are those of C99, Annex F.
#pragma once

#include "simd/math_exp.h"
#include "simd/math_log.h"

namespace ranvier::RANVIER_ISA {

// T(z) = 2/5 + 2/7 z + ...: log(1 + f) = 2 s + s z (2/3 + z T(z)); error relative to it 2^-73.4.
RANVIER_INLINE vec<double> log_pair_tail(vec<double> z) {
  return polynomial(z, 0x1.9999999999995p-2, 0x1.249249249310fp-2, 0x1.c71c71c5669eep-3, 0x1.745d183ea3e6dp-3,
                    0x1.3b135f7094412p-3, 0x1.11213312aeaf7p-3, 0x1.de1f9c5d0245ep-4, 0x1.ebb5bff2fee55p-4);
}

// log(x) for positive finite x as hi + lo.
RANVIER_INLINE Pair<vec<double>> log_pair(vec<double> x) {
  using V = vec<double>;
  constexpr double two_thirds = 0x1.5555555555555p-1, two_thirds_lo = 0x1.5555555555555p-55;
  const auto [exponent, significand] = split_subnormal_too(x);
  const V f = significand - 1.0, d = f + 2.0, d_lo = f - (d - 2.0);
  // s = f / (2 + f)
  const V s = f / d;
  const auto sd = exact_product(s, d);
  const V s_lo = (((f - sd.hi) - sd.lo) - s * d_lo) / d;
  const auto z = exact_product(s, s);
  const V z_lo = z.lo + 2.0 * s * s_lo;
  // c = 2/3 + z T(z)
  const V tail = z.hi * log_pair_tail(z.hi);
  const V c = tail + two_thirds;
  const V c_lo = (tail - (c - two_thirds)) + two_thirds_lo + 0.4 * z_lo;
  // s z c
  const auto w = exact_product(s, z.hi);
  const V w_lo = w.lo + s * z_lo + s_lo * z.hi;
  const auto q = exact_product(w.hi, c);
  const V q_lo = q.lo + w.hi * c_lo + w_lo * c;
  const auto log_f = exact_sum(s + s, q.hi);
  const auto sum = exact_sum(exponent * Ln2<double>::hi, log_f.hi);
  return {sum.hi, sum.lo + (log_f.lo + (s_lo + s_lo) + q_lo + exponent * Ln2<double>::lo)};
}

// exp(r + r_lo) within about 0.6 ulp: 1 + r is kept with its rounding error.
RANVIER_INLINE vec<double> exp_near_zero(vec<double> r, vec<double> r_lo) {
  const vec<double> sum = r + 1.0;
  return sum + ((r - (sum - 1.0)) + fma(r * r, exp_tail(r), r_lo));
}

RANVIER_INLINE vec<double> pow_positive(vec<double> x, vec<double> y) {
  using V = vec<double>;
  const auto log_x = log_pair(x);
  const V rough = y * log_x.hi;
  const auto outside = ~(abs(rough) < 1000.0);  // over- or underflow; the exact product could overflow
  const V y_safe = select(outside, V{}, y);
  const auto p = exact_product(y_safe, log_x.hi);
  const V exponent =
      at_most(at_least(select(outside, rough, p.hi), ExpRange<double>::low), ExpRange<double>::high);
  const auto [n, r, r_lo] = reduce_by_ln2(exponent, p.lo + y_safe * log_x.lo);
  return scale_by_power(exp_near_zero(r, r_lo), n);
}

RANVIER_INLINE vec<float> pow_positive(vec<float> x, vec<float> y) {
  return narrow(exp(widen<0>(y) * log(widen<0>(x))), exp(widen<1>(y) * log(widen<1>(x))));
}

template <class V>
RANVIER_INLINE V pow_of_any(V x, V y) {
  using T = element_of<V>;
  const V size = abs(x), one = broadcast(T(1)), infinity = broadcast(Limits<T>::infinity);
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
// log(x) for positive normal x as hi + lo, within 2^-30 of itself: log() of math_log.h with what its
// roundings lose.
RANVIER_INLINE Pair<vec<float>> log_pair(vec<float> x) {
  typedef vec<float> V;
  const V e = exponent_of(x), m = significand_of(x);
  const ivec<float> node = log_node(m);
  const V r = fma(m, lookup(log_inverses, node), broadcast(-1.0f)), square = r * r;
  const V high = fma(e, broadcast(Ln2<float>::hi), lookup(log_high, node));
  const V hi = high + r, lost = r - (hi - high);  // high is 0 or larger than r
  // log(1 + r) - r = -r^2 / 2 + r^3 (1/3 - r / 4 + ...); error of the cubic relative to r 2^-37.
  const V cubic = polynomial(r, 0x1.555552p-2f, -0x1.fffff6p-3f, 0x1.99ff4ep-3f, -0x1.55c0f8p-3f);
  const V square_lost = fma(r, r, -square);
  V low = fma(e, broadcast(Ln2<float>::lo), lookup(log_low, node));
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
  const V p = y * log_x.hi, p_lo = fma(y, log_x.hi, -p) + y * log_x.lo;
  const auto [n, r, r_lo] = reduce_by_ln2(p, p_lo);
  const V tail = fma(r * r, exp_tail_beside_1(r), r_lo);
  const V result = scale_by_power((r + tail) + 1.0f, n);
  // Negative, subnormal and special x; over- and underflow, and NaN: those lanes alone take the other's
  // result.
  constexpr uint32_t normal = 0x00800000, normals = 0x7f000000;
  const ivec<float> rare = ~(((uvec<float>)x - normal < normals) & (abs(p) < 87.0f));
  return any(rare) ? select(rare, pow_out_of_line(x, y), result) : result;
}
#endif

template <class V>
RANVIER_INLINE V pow(V x, V y) {
  return pow_of_any(x, y);
}

}  // namespace ranvier::RANVIER_ISA
