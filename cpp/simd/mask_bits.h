// Comparisons of up to 32 elements, 0 < n <= 32, as the bits of an integer, the first element's lowest.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)

RANVIER_INLINE uint32_t first_bits(int n) { return uint32_t((uint64_t{1} << n) - 1); }

RANVIER_INLINE uint32_t bits_equal(const uint8_t* p, int n, uint8_t x) {
  RANVIER_READS(p, n);
  const __mmask32 m = first_bits(n);
  return _mm256_mask_cmpeq_epi8_mask(m, _mm256_maskz_loadu_epi8(m, p), _mm256_set1_epi8(char(x)));
}

RANVIER_INLINE uint32_t bits_unequal(const float* p, int n, float x) {
  RANVIER_READS(p, n * sizeof *p);
  const __m512 all = _mm512_set1_ps(x);
  const uint32_t m = first_bits(n);
  const auto part = [&](int first) __attribute__((always_inline)) {
    const __mmask16 half = __mmask16(m >> first);
    return uint32_t(_mm512_mask_cmp_ps_mask(half, _mm512_maskz_loadu_ps(half, p + first), all, _CMP_NEQ_UQ));
  };
  return part(0) | part(16) << 16;
}

#else

RANVIER_INLINE uint32_t bits_equal(const uint8_t* p, int n, uint8_t x) {
  uint32_t bits = 0;
  for (int i = 0; i < n; ++i) bits |= uint32_t(p[i] == x) << i;
  return bits;
}

RANVIER_INLINE uint32_t bits_unequal(const float* p, int n, float x) {
  uint32_t bits = 0;
  for (int i = 0; i < n; ++i) bits |= uint32_t(p[i] != x) << i;
  return bits;
}

#endif

}  // namespace ranvier::RANVIER_ISA
