// quick_pow: the same function as pow. With RANVIER_HAS_LOOKUP (AVX-512) the logarithm of doubles uses the
// tables of math_log.h, which takes less time; otherwise it is pow.
#pragma once

#include "simd/math_pow.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_LOOKUP
// log(x) of positive normal x as hi + lo, with a relative error of 2^-63.
RANVIER_INLINE Pair<vec<double>> looked_up_log(vec<double> x) {
  typedef vec<double> V;
  constexpr double third = 0x1.5555555555555p-2, third_lo = 0x1.5555555555555p-56;
  const V e = exponent_of(x);
  const V m = significand_of(x);
  const auto node = log_node(m);
  const V r = fma(m, node.inverse, broadcast(-1.0));
  const V square = r * r;
  const V high = fma(e, broadcast(Ln2<double>::hi), node.high);
  const V sum = high + r;
  // log(1 + r) - r = r^2 (r / 3 - 1/2) + r^4 (-1/4 + r / 5 - ...); error of the last relative to r 2^-65.7.
  const V w = fma(r, broadcast(third), broadcast(-0.5));
  const V w_part = fma(r, broadcast(third), -(w + 0.5));
  const V q = square * w;
  const V y = sum + q;  // |high| is 0 or larger than |r|, |sum| larger than |q|
  const V last = polynomial(r, -0x1.fffffffffffd6p-3, 0x1.999999999d346p-3, -0x1.55555555af9c1p-3,
                            0x1.249248fbe0eeep-3, -0x1.fffff84b9fc7ep-4, 0x1.c71d7c2aa6572p-4,
                            -0x1.99b8a1ddf246ep-4, 0x1.73c053d8e8a3cp-4, -0x1.2cecd9250c995p-4);
  const V w_lo = fma(r, broadcast(third_lo), w_part);
  const V square_lo = fma(r, r, -square);
  V lo = fma(square, w_lo, fma(square_lo, w, fma(square, w, -q)));
  lo = fma(square * square, last, lo + fma(e, broadcast(Ln2<double>::lo), node.low));
  return {y, lo + ((r - (sum - high)) + (q - (y - sum)))};
}

RANVIER_INLINE vec<double> quick_pow(vec<double> x, vec<double> y) {
  const auto log_x = looked_up_log(x);
  const auto p = exact_product(y, log_x.hi);
  const auto rare = is_unusual(x) | ~(abs(p.hi) < -ExpRange<double>::normal);
  const vec<double> result = exp_of_pair(p.hi, fma(y, log_x.lo, p.lo));
  return any(rare) ? select(rare, pow_out_of_line(x, y), result) : result;
}
RANVIER_INLINE vec<float> quick_pow(vec<float> x, vec<float> y) { return pow(x, y); }
#else
template <class V>
RANVIER_INLINE V quick_pow(V x, V y) {
  return pow(x, y);
}
#endif

}  // namespace ranvier::RANVIER_ISA
