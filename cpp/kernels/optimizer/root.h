// A square root that leaves the divider of the processor to the divisions beside it.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// sqrt(v). A rule that takes a root and a division of each element waits for the divider, which makes both.
// At v4 one vector in four gets its root from multiplications instead: Newton's step on an estimate with 14
// bits, and one on the remainder, which rounds as the instruction does (Markstein, "Computation of elementary
// functions on the IBM RISC System/6000 processor", 1990). Compared with the instruction for each float from
// 2^-100 on. number: which vector of the row this is.
template <class T>
RANVIER_INLINE vec<T> root(vec<T> v, int64_t number) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (number & 3) return sqrt(v);
    const __m512i bits = (__m512i)v, smallest = _mm512_set1_epi32(0x0d800000);  // 2^-100
    const __m512i range = _mm512_set1_epi32(0x7f800000 - 0x0d800000);
    const __mmask16 nonzero = _mm512_test_epi32_mask(bits, bits);
    // Left to the instruction, by one unsigned comparison of the bits: numbers below 2^-100, whose remainder
    // is not exact, negative ones, infinity and NaN. The root of 0 is 0, by the mask.
    if (__builtin_expect(_mm512_mask_cmpge_epu32_mask(nonzero, _mm512_sub_epi32(bits, smallest), range), 0))
      return sqrt(v);
    const vec<float> estimate = _mm512_maskz_rsqrt14_ps(all16, v), half = broadcast(0.5f);
    vec<float> y = v * estimate, h = half * estimate;  // near sqrt(v) and 1 / (2 sqrt(v))
    const vec<float> error = fma(-y, h, half);
    y = fma(y, error, y), h = fma(h, error, h);
    return _mm512_maskz_fmadd_ps(nonzero, fma(-y, y, v), h, y);
  }
#endif
  (void)number;
  return sqrt(v);
}

}  // namespace ranvier::RANVIER_ISA
