// The lanes of a vector that a mask selects, moved together.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Writes the lanes of a whose bit is set to p, in order, and those of b to q; returns their number. Behind
// them as much is overwritten as a whole vector covers.
RANVIER_INLINE int compress_store(uint32_t bits, vec<float> a, float* p, ivec<float> b, int32_t* q) {
  RANVIER_WRITES(p, sizeof a);
  RANVIER_WRITES(q, sizeof b);
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  const __mmask16 m = __mmask16(bits);
  _mm512_storeu_ps(p, _mm512_maskz_compress_ps(m, a));  // to memory it would take ten times as long on Zen 4
  _mm512_storeu_si512(q, _mm512_maskz_compress_epi32(m, (__m512i)b));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  const uint64_t bytes = _pdep_u64(bits, 0x0101010101010101) * 0xff;
  const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(_pext_u64(0x0706050403020100, bytes)));
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(a, order));
  _mm256_storeu_si256((__m256i*)q, _mm256_permutevar8x32_epi32((__m256i)b, order));
#else
  int n = 0;
  for (int i = 0; i < lanes<float>; ++i) {
    p[n] = a[i], q[n] = b[i];
    n += bits >> i & 1;
  }
#endif
  return __builtin_popcount(bits);
}

}  // namespace ranvier::RANVIER_ISA
