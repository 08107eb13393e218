// The part of vec.h that needs intrinsics, on AVX2 + FMA (level v3). Included by vec.h.
#pragma once

#include <immintrin.h>

#include "simd/scale.h"

namespace ranvier::RANVIER_ISA {

RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}

RANVIER_INLINE vec<float> sqrt(vec<float> v) { return _mm256_sqrt_ps(v); }
RANVIER_INLINE vec<double> sqrt(vec<double> v) { return _mm256_sqrt_pd(v); }

RANVIER_INLINE vec<float> round_even(vec<float> v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_even(vec<double> v) {
  return _mm256_round_pd(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<float> round_down(vec<float> v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_down(vec<double> v) {
  return _mm256_round_pd(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

// One instruction each; b where either lane is NaN.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) { return _mm256_max_ps(a, b); }
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) { return _mm256_max_pd(a, b); }
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) { return _mm256_min_ps(a, b); }
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) { return _mm256_min_pd(a, b); }

RANVIER_INLINE __m256i first_n_of_8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
RANVIER_INLINE __m256i first_n_of_4(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

// Masked-out lanes are neither read nor written, so the end of a page is safe.
RANVIER_INLINE vec<float> load_n(const float* p, int n) {
  RANVIER_READS(p, n * sizeof *p);
  return _mm256_maskload_ps(p, first_n_of_8(n));
}
RANVIER_INLINE vec<double> load_n(const double* p, int n) {
  RANVIER_READS(p, n * sizeof *p);
  return _mm256_maskload_pd(p, first_n_of_4(n));
}
// Stored in parts: a masked store takes dozens of operations on AMD's cores without AVX-512.
RANVIER_INLINE void store_n(float* p, vec<float> v, int n) {
  RANVIER_WRITES(p, n * sizeof *p);
  if (n == 8) return _mm256_storeu_ps(p, v);
  __m128 rest = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
    rest = _mm_movehl_ps(rest, rest);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, rest);
}
RANVIER_INLINE void store_n(double* p, vec<double> v, int n) {
  RANVIER_WRITES(p, n * sizeof *p);
  if (n == 4) return _mm256_storeu_pd(p, v);
  __m128d rest = _mm256_castpd256_pd128(v);
  if (n & 2) {
    _mm_storeu_pd(p, rest);
    rest = _mm256_extractf128_pd(v, 1);
    p += 2;
  }
  if (n & 1) _mm_store_sd(p, rest);
}

// Lane by lane p[at], 0 where at is negative. Not for the thread sanitizer: RANVIER_READS tells it ranges
// only.
#define RANVIER_HAS_GATHER (!RANVIER_RACE_CHECK)
RANVIER_INLINE vec<float> gather(const float* p, ivec<float> at) {
  return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, (__m256i)at, (__m256)(__m256i)(at >= 0), 4);
}
RANVIER_INLINE vec<double> gather(const double* p, ivec<double> at) {
  return _mm256_mask_i64gather_pd(_mm256_setzero_pd(), p, (__m256i)at, (__m256d)(__m256i)(at >= 0), 8);
}

RANVIER_INLINE bool any(ivec<float> mask) { return _mm256_movemask_epi8((__m256i)mask) != 0; }
RANVIER_INLINE bool any(ivec<double> mask) { return _mm256_movemask_epi8((__m256i)mask) != 0; }

}  // namespace ranvier::RANVIER_ISA
