// The part of vec.h that needs intrinsics, on AVX-512 (level v4). Included by vec.h.
#pragma once

#include <immintrin.h>

namespace ranvier::RANVIER_ISA {

// Masks of all lanes. GCC 12 warns of uninitialised values in the unmasked forms of some intrinsics (its
// header passes an undefined register); with such a constant mask it emits the same instruction without a
// warning.
static constexpr __mmask16 all16 = 0xffff;
static constexpr __mmask8 all8 = 0xff;

RANVIER_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
RANVIER_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}

RANVIER_INLINE vec<float> sqrt(vec<float> v) { return _mm512_maskz_sqrt_ps(all16, v); }
RANVIER_INLINE vec<double> sqrt(vec<double> v) { return _mm512_maskz_sqrt_pd(all8, v); }

RANVIER_INLINE vec<float> round_even(vec<float> v) {
  return _mm512_maskz_roundscale_ps(all16, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_even(vec<double> v) {
  return _mm512_maskz_roundscale_pd(all8, v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<float> round_down(vec<float> v) {
  return _mm512_maskz_roundscale_ps(all16, v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
RANVIER_INLINE vec<double> round_down(vec<double> v) {
  return _mm512_maskz_roundscale_pd(all8, v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

// One instruction each; b where either lane is NaN.
RANVIER_INLINE vec<float> maximum(vec<float> a, vec<float> b) { return _mm512_maskz_max_ps(all16, a, b); }
RANVIER_INLINE vec<double> maximum(vec<double> a, vec<double> b) { return _mm512_maskz_max_pd(all8, a, b); }
RANVIER_INLINE vec<float> minimum(vec<float> a, vec<float> b) { return _mm512_maskz_min_ps(all16, a, b); }
RANVIER_INLINE vec<double> minimum(vec<double> a, vec<double> b) { return _mm512_maskz_min_pd(all8, a, b); }

// table[index mod its length], lane by lane.
#define RANVIER_HAS_LOOKUP 1
RANVIER_INLINE vec<float> lookup(const float (&table)[16], ivec<float> index) {
  return _mm512_maskz_permutexvar_ps(all16, (__m512i)index, _mm512_loadu_ps(table));
}
RANVIER_INLINE vec<double> lookup(const double (&table)[8], ivec<double> index) {
  return _mm512_maskz_permutexvar_pd(all8, (__m512i)index, _mm512_loadu_pd(table));
}
RANVIER_INLINE vec<float> lookup(const float (&table)[32], ivec<float> index) {
  return _mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index, _mm512_loadu_ps(table + 16));
}
RANVIER_INLINE vec<double> lookup(const double (&table)[16], ivec<double> index) {
  return _mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)index, _mm512_loadu_pd(table + 8));
}

// Lane by lane p[at], 0 where at is negative. Not for the thread sanitizer: RANVIER_READS tells it ranges
// only.
#define RANVIER_HAS_GATHER (!RANVIER_RACE_CHECK)
RANVIER_INLINE vec<float> gather(const float* p, ivec<float> at) {
  const __mmask16 inside = _mm512_cmpge_epi32_mask((__m512i)at, _mm512_setzero_si512());
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), inside, (__m512i)at, p, 4);
}
RANVIER_INLINE vec<double> gather(const double* p, ivec<double> at) {
  const __mmask8 inside = _mm512_cmpge_epi64_mask((__m512i)at, _mm512_setzero_si512());
  return _mm512_mask_i64gather_pd(_mm512_setzero_pd(), inside, (__m512i)at, p, 8);
}

// |v| = 2^exponent * significand with the significand in [1, 2), also for subnormal v. 0 is 2^-inf * 1,
// infinity 2^inf * 1. The significand of a negative number is NaN.
RANVIER_INLINE vec<float> exponent_of(vec<float> v) { return _mm512_maskz_getexp_ps(all16, v); }
RANVIER_INLINE vec<double> exponent_of(vec<double> v) { return _mm512_maskz_getexp_pd(all8, v); }
RANVIER_INLINE vec<float> significand_of(vec<float> v) {
  return _mm512_maskz_getmant_ps(all16, v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
}
RANVIER_INLINE vec<double> significand_of(vec<double> v) {
  return _mm512_maskz_getmant_pd(all8, v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
}

// v * 2^floor(n), rounded once, also where the result is subnormal or overflows.
RANVIER_INLINE vec<float> scale_by_power(vec<float> v, vec<float> n) {
  return _mm512_maskz_scalef_ps(all16, v, n);
}
RANVIER_INLINE vec<double> scale_by_power(vec<double> v, vec<double> n) {
  return _mm512_maskz_scalef_pd(all8, v, n);
}

// v where |v| < 1, else 1 with its sign; NaN gives 1. The 2 asks for the smaller magnitude with v's sign.
RANVIER_INLINE vec<float> within_1(vec<float> v) {
  return _mm512_maskz_range_ps(all16, v, _mm512_set1_ps(1.0f), 2);
}
RANVIER_INLINE vec<double> within_1(vec<double> v) {
  return _mm512_maskz_range_pd(all8, v, _mm512_set1_pd(1.0), 2);
}

// load_n, store_n: see vec.h. Lanes that the mask leaves out are neither read nor written.
RANVIER_INLINE vec<float> load_n(const float* p, int n) {
  RANVIER_READS(p, n * sizeof *p);
  return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1u), p);
}
RANVIER_INLINE vec<double> load_n(const double* p, int n) {
  RANVIER_READS(p, n * sizeof *p);
  return _mm512_maskz_loadu_pd(__mmask8((1u << n) - 1u), p);
}
RANVIER_INLINE void store_n(float* p, vec<float> v, int n) {
  RANVIER_WRITES(p, n * sizeof *p);
  _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1u), v);
}
RANVIER_INLINE void store_n(double* p, vec<double> v, int n) {
  RANVIER_WRITES(p, n * sizeof *p);
  _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1u), v);
}

RANVIER_INLINE bool any(ivec<float> mask) { return _mm512_movepi32_mask((__m512i)mask) != 0; }
RANVIER_INLINE bool any(ivec<double> mask) { return _mm512_movepi64_mask((__m512i)mask) != 0; }

}  // namespace ranvier::RANVIER_ISA
