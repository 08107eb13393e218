// A mask as the bits of an integer, the first lane's lowest.
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
#else
  uint32_t bits = 0;
  for (int i = 0; i < lanes<float>; ++i) bits |= uint32_t(mask[i] & 1) << i;
  return bits;
#endif
}

}  // namespace ranvier::RANVIER_ISA
