// Operations on half a vector of floats, at AVX-512 only (RANVIER_HAS_HALF). Cores that process 64 bytes in
// two steps take half the time for half a vector.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512VL__)
#define RANVIER_HAS_HALF 1
RANVIER_INLINE half_vec fma(half_vec a, half_vec b, half_vec c) { return _mm256_fmadd_ps(a, b, c); }
RANVIER_INLINE half_vec load_half(const float* p) {
  RANVIER_READS(p, sizeof(half_vec));
  return _mm256_loadu_ps(p);
}
RANVIER_INLINE vec<float> join(half_vec low, half_vec high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
// The first half of a and the second half of b. Blended as integers, since on Zen 5 a blend of floats takes
// the place of an FMA.
RANVIER_INLINE vec<float> halves(vec<float> a, vec<float> b) {
  return (vec<float>)_mm512_mask_blend_epi32(0xff00, (__m512i)a, (__m512i)b);
}
// The first n lanes, as load_n() and store_n().
RANVIER_INLINE half_vec load_half(const float* p, int n) {
  RANVIER_READS(p, n * sizeof *p);
  return _mm256_maskz_loadu_ps(__mmask8((1u << n) - 1u), p);
}
RANVIER_INLINE void store_half(float* p, half_vec v, int n) {
  RANVIER_WRITES(p, n * sizeof *p);
  _mm256_mask_storeu_ps(p, __mmask8((1u << n) - 1u), v);
}
#else
#define RANVIER_HAS_HALF 0
#endif

}  // namespace ranvier::RANVIER_ISA
