// Half a vector of floats, where the level has instructions for it: cores that do 64 bytes in two steps take
// half the time.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512VL__)
#define RANVIER_HAS_HALF 1
RANVIER_INLINE half_vec fma(half_vec a, half_vec b, half_vec c) { return _mm256_fmadd_ps(a, b, c); }
#else
#define RANVIER_HAS_HALF 0
#endif

}  // namespace ranvier::RANVIER_ISA
