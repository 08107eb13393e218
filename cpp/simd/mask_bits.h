// Results of comparisons as the bits of an integer, where the lowest bit is the first lane; and
// compress_store(), which stores the lanes whose bit is set.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

RANVIER_INLINE uint32_t mask_bits(ivec<float> mask) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps((__m256)mask));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
  return uint32_t(_mm_movemask_ps((__m128)mask));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)
  return vaddvq_u32((uint32x4_t)(mask & ivec<float>{1, 2, 4, 8}));
#else
  uint32_t bits = 0;
  for (int i = 0; i < lanes<float>; ++i) bits |= uint32_t(mask[i] & 1) << i;
  return bits;
#endif
}

// A bit for each of the 32 bytes at p: 1 if the byte is equal to x.
RANVIER_INLINE uint32_t bits_equal(const uint8_t* p, uint8_t x) {
  RANVIER_READS(p, 32);
#if RANVIER_VECTOR_BYTES >= 32 && defined(__AVX2__)
  const __m256i bytes = _mm256_loadu_si256((const __m256i*)p);
  return uint32_t(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(char(x)))));
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
  const __m128i all = _mm_set1_epi8(char(x));
  const __m128i* half = (const __m128i*)p;
  const int low = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(half), all));
  return uint32_t(low) | uint32_t(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128(half + 1), all))) << 16;
#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)
  const uint8x16_t place = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const uint8x16_t all = vdupq_n_u8(x);
  const uint8x16_t low = vandq_u8(vceqq_u8(vld1q_u8(p), all), place);
  const uint8x16_t high = vandq_u8(vceqq_u8(vld1q_u8(p + 16), all), place);
  uint8x16_t sums = vpaddq_u8(low, high);  // three times: a byte for each eight
  sums = vpaddq_u8(sums, sums);
  sums = vpaddq_u8(sums, sums);
  return vgetq_lane_u32(vreinterpretq_u32_u8(sums), 0);
#else
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= uint32_t(p[i] == x) << i;
  return bits;
#endif
}

// Stores the lanes of a whose bit is set to p, in order, and the same lanes of b to q; returns their number.
// It writes whole vectors: memory after the stored lanes is overwritten. No bit beyond the lanes may be set,
// as all bits are counted.
RANVIER_INLINE int compress_store(uint32_t bits, vec<float> a, float* p, ivec<float> b, int32_t* q) {
  RANVIER_WRITES(p, sizeof a);
  RANVIER_WRITES(q, sizeof b);
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  const __mmask16 m = __mmask16(bits);
  // Compressed in a register: on Zen 4 the instruction that compresses to memory takes ten times as long.
  _mm512_storeu_ps(p, _mm512_maskz_compress_ps(m, a));
  _mm512_storeu_si512(q, _mm512_maskz_compress_epi32(m, (__m512i)b));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  // Each bit becomes a byte of 0 or 0xff; pext packs the numbers of the lanes whose byte is 0xff.
  const uint64_t bytes = _pdep_u64(bits, 0x0101010101010101) * 0xff;
  const __m256i order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(_pext_u64(0x0706050403020100, bytes)));
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(a, order));
  _mm256_storeu_si256((__m256i*)q, _mm256_permutevar8x32_epi32((__m256i)b, order));
#else
  int n = 0;
  for (int i = 0; i < lanes<float>; ++i) {
    p[n] = a[i];
    q[n] = b[i];
    n += bits >> i & 1;
  }
#endif
  return __builtin_popcount(bits);
}

}  // namespace ranvier::RANVIER_ISA
