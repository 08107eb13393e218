// Conversions between vectors of float and floats of 16 bits (Float16, BFloat16), with the bits that
// base/half.h gives for single numbers: load_halves() and store_halves().
#pragma once
#include <type_traits>

#include "base/half.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// 16 bits of each float, as integers of 32.
template <class Half>
RANVIER_INLINE ivec<float> bits16(vec<float> x) {
  const ivec<float> b = bits(x);
  if constexpr (std::is_same_v<Half, BFloat16>) {
    const ivec<float> upper = b >> 16;  // the sign's bits, too: what stores 16 bits drops them
    return x != x ? upper | 0x40 : (b + 0x7fff + (upper & 1)) >> 16;
  } else {
    const ivec<float> size = b & INT32_MAX;
    // 112 is the difference of the exponents' offsets; 13 bits of the significand are rounded, ties to even.
    const ivec<float> normal = (size + 0xfff + (size >> 13 & 1) - (112 << 23)) >> 13;
    const ivec<float> small = bits(abs(x) + 0.5f) - (126 << 23);  // the sum is rounded as wanted
    const ivec<float> nan = 0x7e00 | (size >> 13 & 0x3ff);
    const ivec<float> infinity = ivec<float>{} + 0x7c00;
    const ivec<float> large = size > 0x7f800000 ? nan : infinity;  // 2^16 or more, infinities and NaN
    const ivec<float> normal_or_large = size >= (143 << 23) ? large : normal;
    const ivec<float> rounded = size < (113 << 23) ? small : normal_or_large;  // small: below 2^-14
    const ivec<float> sign = b >> 16 & 0x8000;
    return sign | rounded;
  }
}

// The floats whose 16 bits are in the lanes.
template <class Half>
RANVIER_INLINE vec<float> float_of(ivec<float> half) {
  if constexpr (std::is_same_v<Half, BFloat16>) {
    return from_bits(half << 16);
  } else {
    const ivec<float> sign = (half & 0x8000) << 16;
    const ivec<float> size = half & 0x7fff;
    const ivec<float> normal = (size << 13) + (112 << 23);
    const ivec<float> small = bits(__builtin_convertvector(size, vec<float>) * 0x1p-24f);
    // Infinities and NaN get the largest exponent, NaN the bit that makes it quiet.
    const ivec<float> large = (normal + (112 << 23)) | ((size > 0x7c00) & (1 << 22));
    const ivec<float> normal_or_large = size >= 0x7c00 ? large : normal;   // 0x7c00: infinity
    const ivec<float> magnitude = size < 0x400 ? small : normal_or_large;  // below 0x400: subnormal
    return from_bits(sign | magnitude);
  }
}

typedef uint16_t halves __attribute__((vector_size(2 * lanes<float>)));

// Loads integers of 16 bits to lanes of 32; stores the lower 16 bits of lanes. The intrinsics are named,
// since GCC would convert each half of a vector separately.
RANVIER_INLINE ivec<float> load_bits16(const void* p) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (ivec<float>)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256((const __m256i*)p));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (ivec<float>)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
#else
  halves x;
  __builtin_memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, ivec<float>);
#endif
}
RANVIER_INLINE void store_bits16(void* p, ivec<float> b) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtepi32_epi16(0xffff, (__m512i)b));
#else
  const halves x = __builtin_convertvector(b, halves);
  __builtin_memcpy(p, &x, sizeof x);
#endif
}

template <class Half>
RANVIER_INLINE vec<float> load_halves(const Half* p) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (std::is_same_v<Half, Float16>)
    return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)p));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__F16C__)
  if constexpr (std::is_same_v<Half, Float16>) return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#endif
  return float_of<Half>(load_bits16(p));
}
// The first n lanes, as load_n.
template <class Half>
RANVIER_INLINE vec<float> load_halves(const Half* p, int n) {
  Half whole[lanes<float>] = {};
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  _mm256_storeu_si256((__m256i*)whole, _mm256_maskz_loadu_epi16(__mmask16((1u << n) - 1u), p));
#else
  if (n == lanes<float>) return load_halves(p);
  __builtin_memcpy(whole, p, size_t(n) * sizeof *p);
#endif
  return load_halves(whole);
}

template <class Half>
RANVIER_INLINE void store_halves(Half* p, vec<float> y) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  if constexpr (std::is_same_v<Half, Float16>)
    return _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtps_ph(0xffff, y, _MM_FROUND_TO_NEAREST_INT));
#elif RANVIER_VECTOR_BYTES == 32 && defined(__F16C__)
  if constexpr (std::is_same_v<Half, Float16>)
    return _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT));
#endif
  store_bits16(p, bits16<Half>(y));
}

}  // namespace ranvier::RANVIER_ISA
