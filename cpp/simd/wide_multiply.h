// 32 x 32 -> 64 bit products of unsigned lanes.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The low 32 bits of each 64-bit lane times b; the lanes' upper bits do not matter.
RANVIER_INLINE uvec<double> multiply_low(uvec<double> a, uint32_t b) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (uvec<double>)_mm512_maskz_mul_epu32(all8, (__m512i)a, _mm512_set1_epi64(b));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (uvec<double>)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
  return (uvec<double>)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)
  return (uvec<double>)vmull_u32(vmovn_u64((uint64x2_t)a), vdup_n_u32(b));
#else
  return (a & 0xffffffffull) * uint64_t{b};
#endif
}

}  // namespace ranvier::RANVIER_ISA
