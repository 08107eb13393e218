// quick_pow: pow, whose logarithm of doubles is looked up where a register pair holds its table.
#pragma once

#include "simd/math_pow.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_LOOKUP
// As log_inverses of math_log.h: c near 1 / m for each 16th of [1, 2), so short that r = c m - 1 is exact,
// and -log(c) = high + low, where e ln2.hi + high is exact.
// clang-format off
static constexpr double wide_inverses[16] = {
    0x1p+0, 0x1.dp-1, 0x1.cp-1, 0x1.ap-1, 0x1.9p-1, 0x1.8p-1, 0x1.7p-1, 0x1.6p-1, 0x1.5p-1, 0x1.4p-1, 0x1.3p-1,
    0x1.3p-1, 0x1.2p-1, 0x1.1p-1, 0x1.1p-1, 0x1p-1};
static constexpr double wide_high[16] = {
    0.0, 0x1.9335e5d598p-4, 0x1.1178e8228p-3, 0x1.a93ed3c8acp-3, 0x1.f991c6cb3cp-3, 0x1.269621134ep-2,
    0x1.522ae0738ap-2, 0x1.7fafa3bd82p-2, 0x1.af5295248cp-2, 0x1.e148a1a272p-2, 0x1.0ae76e2d05p-1,
    0x1.0ae76e2d05p-1, 0x1.269621134ep-1, 0x1.43d9ff2f92p-1, 0x1.43d9ff2f92p-1, 0x1.62e42fefa3p-1};
static constexpr double wide_low[16] = {
    0.0, -0x1.b3ba8f150ae0ap-43, -0x1.b8421cc74be04p-43, 0x1.9e36f2bea77a6p-43, -0x1.90d04cd7cc834p-44,
    -0x1.1b61f10522625p-44, 0x1.ebe708164c759p-45, -0x1.5c8243204959ap-43, 0x1.ba0ceab622eeap-43,
    0x1.b36537e3375b2p-44, 0x1.3e90d710fcfc5p-43, 0x1.3e90d710fcfc5p-43, -0x1.1b61f10522625p-43,
    0x1.e267b0b7efae1p-44, 0x1.e267b0b7efae1p-44, 0x1.3de6af278ece6p-42};
// clang-format on

RANVIER_INLINE vec<double> lookup(const double (&table)[16], ivec<double> index) {
  return _mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)index, _mm512_loadu_pd(table + 8));
}

// log(x) of positive normal x as hi + lo, within 2^-63 of itself.
RANVIER_INLINE Pair<vec<double>> looked_up_log(vec<double> x) {
  typedef vec<double> V;
  constexpr double third = 0x1.5555555555555p-2, third_lo = 0x1.5555555555555p-56;
  const V e = _mm512_maskz_getexp_pd(all8, x);
  const V m = _mm512_maskz_getmant_pd(all8, x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
  const ivec<double> node = bits(m) >> 48;
  const V r = fma(m, lookup(wide_inverses, node), broadcast(-1.0)), square = r * r;
  const V high = fma(e, broadcast(Ln2<double>::hi), lookup(wide_high, node)), sum = high + r;
  // log(1 + r) - r = r^2 (r / 3 - 1/2) + r^4 (-1/4 + r / 5 - ...); error of the last relative to r 2^-65.7.
  const V w = fma(r, broadcast(third), broadcast(-0.5)), w_part = fma(r, broadcast(third), -(w + 0.5));
  const V q = square * w, y = sum + q;  // |high| is 0 or larger than |r|, |sum| larger than |q|
  const V last = polynomial(r, -0x1.fffffffffffd6p-3, 0x1.999999999d346p-3, -0x1.55555555af9c1p-3,
                            0x1.249248fbe0eeep-3, -0x1.fffff84b9fc7ep-4, 0x1.c71d7c2aa6572p-4,
                            -0x1.99b8a1ddf246ep-4, 0x1.73c053d8e8a3cp-4, -0x1.2cecd9250c995p-4);
  const V w_lo = fma(r, broadcast(third_lo), w_part), square_lo = fma(r, r, -square);
  V lo = fma(square, w_lo, fma(square_lo, w, fma(square, w, -q)));
  lo = fma(square * square, last, lo + fma(e, broadcast(Ln2<double>::lo), lookup(wide_low, node)));
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
