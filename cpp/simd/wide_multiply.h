// 32 x 32 -> 64 bit products of unsigned lanes.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// high:low = a * b, lane by lane. The instruction multiplies the even lanes only: once for them, once for the
// odd.
RANVIER_INLINE void multiply_wide(uvec<float> a, uint32_t b, uvec<float>& high, uvec<float>& low) {
  typedef uvec<double> wide;
  const wide even_mask = 0xffffffffull - wide{};
  const wide odd_lanes = (wide)a >> 32;
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  const __m512i factor = _mm512_set1_epi64(b);
  const wide even = (wide)_mm512_maskz_mul_epu32(all8, (__m512i)a, factor);
  const wide odd = (wide)_mm512_maskz_mul_epu32(all8, (__m512i)odd_lanes, factor);
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  const __m256i factor = _mm256_set1_epi64x(b);
  const wide even = (wide)_mm256_mul_epu32((__m256i)a, factor),
             odd = (wide)_mm256_mul_epu32((__m256i)odd_lanes, factor);
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
  const __m128i factor = _mm_set1_epi64x(b);
  const wide even = (wide)_mm_mul_epu32((__m128i)a, factor),
             odd = (wide)_mm_mul_epu32((__m128i)odd_lanes, factor);
#else
  const wide even = ((wide)a & even_mask) * uint64_t{b}, odd = odd_lanes * uint64_t{b};
#endif
  low = (uvec<float>)((even & even_mask) | (odd << 32));
  high = (uvec<float>)((even >> 32) | (odd & ~even_mask));
}

}  // namespace ranvier::RANVIER_ISA
