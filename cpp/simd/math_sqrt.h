// quick_sqrt: the same bits as sqrt, in less time at AVX-512, which has an instruction that estimates 1 /
// sqrt(x).
#pragma once

#include "simd/math_log.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
// From an estimate of 1 / sqrt(x) with an error of 2^-14, one step of Goldschmidt and one of Newton give the
// root g within 0.72 ulp, and h, near 1 / (2 g), with a relative error of 2^-51.4. The last step adds the
// remainder of g: before it is rounded, the result is within 2^-103.3 of the exact root. The rounding is
// right, since no root is the midpoint of two doubles, and so few roots are that close to a midpoint that a
// test tries them all (tests/kernels/test_math.py).
RANVIER_INLINE vec<double> quick_sqrt(vec<double> x) {
  typedef uvec<double> U;
  // For a smaller x, the remainder of g could be subnormal: such vectors, and special numbers, take sqrt.
  constexpr uint64_t least = uint64_t{1023 - 900} << 52, infinity = uint64_t{2047} << 52;
  const __m512i past = (__m512i)((U)bits(x) - least);
  if (__builtin_expect(_mm512_cmpge_epu64_mask(past, (__m512i)(U{} + (infinity - least))) != 0, 0))
    return sqrt(x);
  const vec<double> half = broadcast(0.5);
  const vec<double> estimate = _mm512_maskz_rsqrt14_pd(all8, x);
  vec<double> g = x * estimate;
  vec<double> h = half * estimate;
  const vec<double> r = fma(-g, h, half);
  g = fma(g, r, g);
  h = fma(h, r, h);
  const vec<double> h_left = fma(-g, h, half);
  g = fma(fma(-g, g, x), h, g);
  h = fma(h, h_left, h);
  return fma(fma(-g, g, x), h, g);
}
// One step is enough for the 24 bits of float: the test tries every significand.
RANVIER_INLINE vec<float> quick_sqrt(vec<float> x) {
  typedef uvec<float> U;
  constexpr uint32_t least = uint32_t{127 - 70} << 23, infinity = uint32_t{255} << 23;
  const __m512i past = (__m512i)((U)bits(x) - least);
  if (__builtin_expect(_mm512_cmpge_epu32_mask(past, (__m512i)(U{} + (infinity - least))) != 0, 0))
    return sqrt(x);
  const vec<float> half = broadcast(0.5f);
  const vec<float> estimate = _mm512_maskz_rsqrt14_ps(all16, x);
  vec<float> g = x * estimate;
  vec<float> h = half * estimate;
  const vec<float> r = fma(-g, h, half);
  g = fma(g, r, g);
  h = fma(h, r, h);
  return fma(fma(-g, g, x), h, g);
}
#else
template <class V>
RANVIER_INLINE V quick_sqrt(V x) {
  return sqrt(x);
}
#endif

}  // namespace ranvier::RANVIER_ISA
