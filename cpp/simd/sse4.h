// The part of vec.h that needs intrinsics, on SSE4.2 (level v2, no FMA). Included by vec.h.
#pragma once

#include <smmintrin.h>

#include "simd/bounded.h"
#include "simd/scale.h"

namespace ranvier::RANVIER_ISA {

// Not fused: two roundings. math.h is written so that its bounds hold all the same.
RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return a * b + c; }
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return a * b + c; }

RANVIER_INLINE vec<float> sqrt(vec<float> v) { return _mm_sqrt_ps(v); }
RANVIER_INLINE vec<double> sqrt(vec<double> v) { return _mm_sqrt_pd(v); }

RANVIER_INLINE vec<float> round_even(vec<float> v) {
  return _mm_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_even(vec<double> v) {
  return _mm_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<float> round_down(vec<float> v) {
  return _mm_round_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_down(vec<double> v) {
  return _mm_round_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

// One instruction each; b where either lane is NaN.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) { return _mm_max_ps(a, b); }
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) { return _mm_max_pd(a, b); }
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) { return _mm_min_ps(a, b); }
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) { return _mm_min_pd(a, b); }

RANVIER_INLINE bool any(ivec<float> mask) { return _mm_movemask_epi8((__m128i)mask) != 0; }
RANVIER_INLINE bool any(ivec<double> mask) { return _mm_movemask_epi8((__m128i)mask) != 0; }

}  // namespace ranvier::RANVIER_ISA
