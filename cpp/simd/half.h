// Half a vector of floats, where the level has instructions for it: cores that do 64 bytes in two steps take
// half the time.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512VL__)
#define RANVIER_HAS_HALF 1
RANVIER_INLINE half_vec fma(half_vec a, half_vec b, half_vec c) { return _mm256_fmadd_ps(a, b, c); }
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
