// Conversions between bytes and the integer lanes of a vector: widen_bytes() and narrow_to_bytes(). GCC 12
// converts through memory, so the instructions of each level are named here. Then SmallInts: one number below
// 256 for each lane of a vec<float>, chosen by comparisons, and stored as bytes.
#pragma once
#include <string.h>

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
struct ByteLanes {  // as many bytes as a vec<T> has lanes
  typedef uint8_t type __attribute__((vector_size(lanes<T>)));
};

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)

// The masks all16 and all8 select all lanes. GCC 12 warns of uninitialised values in the forms without a mask
// (avx512.h); the instruction is the same.
RANVIER_INLINE ivec<float> widen_bytes(const uint8_t* p, float) {
  return (ivec<float>)_mm512_maskz_cvtepu8_epi32(all16, _mm_loadu_si128((const __m128i*)p));
}
RANVIER_INLINE ivec<double> widen_bytes(const uint8_t* p, double) {
  return (ivec<double>)_mm512_maskz_cvtepu8_epi64(all8, _mm_loadl_epi64((const __m128i*)p));
}
RANVIER_INLINE ByteLanes<float>::type narrow_to_bytes(ivec<float> v) {
  return (ByteLanes<float>::type)_mm512_maskz_cvtepi32_epi8(all16, (__m512i)v);
}
RANVIER_INLINE ByteLanes<double>::type narrow_to_bytes(ivec<double> v) {
  return (ByteLanes<double>::type)_mm_cvtsi128_si64(_mm512_maskz_cvtepi64_epi8(all8, (__m512i)v));
}

#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)

RANVIER_INLINE ivec<float> widen_bytes(const uint8_t* p, float) {
  return (ivec<float>)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
RANVIER_INLINE ivec<double> widen_bytes(const uint8_t* p, double) {
  int32_t four;
  memcpy(&four, p, sizeof four);
  return (ivec<double>)_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four));
}
RANVIER_INLINE ByteLanes<float>::type narrow_to_bytes(ivec<float> v) {
  const __m256i low = _mm256_set1_epi32(0x0c080400);  // the first byte of each lane, in both halves
  const __m256i b = _mm256_shuffle_epi8((__m256i)v, low);
  return (ByteLanes<float>::type)_mm_cvtsi128_si64(
      _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
}
RANVIER_INLINE ByteLanes<double>::type narrow_to_bytes(ivec<double> v) {
  const __m256i low = _mm256_set1_epi16(0x0800);
  const __m256i b = _mm256_shuffle_epi8((__m256i)v, low);
  const int four =
      _mm_cvtsi128_si32(_mm_unpacklo_epi16(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1)));
  return (ByteLanes<double>::type)four;
}

// The lanes of four vectors, each -128 ... 127, as bytes, one vector after another. For one vector at a time,
// most of the time would be for bringing its bytes together.
#define RANVIER_HAS_NARROW_FOUR 1
typedef int8_t FourOfBytes __attribute__((vector_size(32)));
RANVIER_INLINE FourOfBytes narrow_four(const ivec<float> (&v)[4]) {
  const __m256i low = _mm256_packs_epi32((__m256i)v[0], (__m256i)v[1]);
  const __m256i high = _mm256_packs_epi32((__m256i)v[2], (__m256i)v[3]);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs join the halves of vectors
  return (FourOfBytes)_mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
}

#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)

RANVIER_INLINE ivec<float> widen_bytes(const uint8_t* p, float) {
  int32_t four;
  memcpy(&four, p, sizeof four);
  return (ivec<float>)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four));
}
RANVIER_INLINE ivec<double> widen_bytes(const uint8_t* p, double) {
  uint16_t two;
  memcpy(&two, p, sizeof two);
  return (ivec<double>)_mm_cvtepu8_epi64(_mm_cvtsi32_si128(two));
}
RANVIER_INLINE ByteLanes<float>::type narrow_to_bytes(ivec<float> v) {
  return (ByteLanes<float>::type)_mm_cvtsi128_si32(_mm_shuffle_epi8((__m128i)v, _mm_set1_epi32(0x0c080400)));
}
RANVIER_INLINE ByteLanes<double>::type narrow_to_bytes(ivec<double> v) {
  return (ByteLanes<double>::type) static_cast<uint16_t>(
      _mm_cvtsi128_si32(_mm_shuffle_epi8((__m128i)v, _mm_set1_epi16(0x0800))));
}

#elif RANVIER_VECTOR_BYTES == 16 && defined(__ARM_NEON)

RANVIER_INLINE ivec<float> widen_bytes(const uint8_t* p, float) {
  uint32_t four;
  memcpy(&four, p, sizeof four);
  const uint16x8_t words = vmovl_u8(vcreate_u8(four));
  return (ivec<float>)vmovl_u16(vget_low_u16(words));
}
RANVIER_INLINE ivec<double> widen_bytes(const uint8_t* p, double) { return ivec<double>{p[0], p[1]}; }
RANVIER_INLINE ByteLanes<float>::type narrow_to_bytes(ivec<float> v) {
  const uint16x4_t words = vmovn_u32((uint32x4_t)v);
  const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
  return (ByteLanes<float>::type)vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
}
RANVIER_INLINE ByteLanes<double>::type narrow_to_bytes(ivec<double> v) {
  return (ByteLanes<double>::type) static_cast<uint16_t>((v[0] & 0xff) | (v[1] & 0xff) << 8);
}

#else

template <class T>
RANVIER_INLINE ivec<T> widen_bytes(const uint8_t* p, T) {
  typename ByteLanes<T>::type bytes;
  memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, ivec<T>);
}
RANVIER_INLINE ByteLanes<float>::type narrow_to_bytes(ivec<float> v) {
  return __builtin_convertvector(v, ByteLanes<float>::type);
}
RANVIER_INLINE ByteLanes<double>::type narrow_to_bytes(ivec<double> v) {
  return __builtin_convertvector(v, ByteLanes<double>::type);
}

#endif

// The first n bytes, 0 < n <= lanes; the other lanes are 0 and nothing past p[n - 1] is touched.
RANVIER_INLINE ivec<float> widen_first_bytes(const uint8_t* p, int n) {
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (ivec<float>)_mm512_maskz_cvtepu8_epi32(all16, _mm_maskz_loadu_epi8(__mmask16((1u << n) - 1u), p));
#else
  uint8_t bytes[lanes<float>] = {};
  for (int i = 0; i < lanes<float>; ++i)
    if (i < n) bytes[i] = p[i];
  return widen_bytes(bytes, 0.0f);
#endif
}

// SmallInts: numbers below 256, one for each lane of a vec<float>. They are bytes at levels where the result
// of a comparison can choose between bytes, else integers of 32 bits.
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512BW__) && defined(__AVX512VL__)

using SmallInts = ByteLanes<float>::type;
RANVIER_INLINE SmallInts small_ints(uint8_t x) { return x - SmallInts{}; }
RANVIER_INLINE SmallInts if_greater(vec<float> a, vec<float> b, SmallInts yes, SmallInts no) {
  return (SmallInts)_mm_mask_blend_epi8(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), (__m128i)no, (__m128i)yes);
}
RANVIER_INLINE ByteLanes<float>::type to_bytes(SmallInts v) { return v; }
RANVIER_INLINE bool any_nan(vec<float> v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0; }
// Stores the first n bytes of v, 0 < n <= lanes.
RANVIER_INLINE void store_bytes(uint8_t* p, ByteLanes<float>::type v, int n) {
  RANVIER_WRITES(p, n);
  _mm_mask_storeu_epi8(p, __mmask16((1u << n) - 1u), (__m128i)v);
}

#else

using SmallInts = ivec<float>;
RANVIER_INLINE SmallInts small_ints(uint8_t x) { return ibroadcast<float>(x); }
RANVIER_INLINE SmallInts if_greater(vec<float> a, vec<float> b, SmallInts yes, SmallInts no) {
  return select(a > b, yes, no);
}
RANVIER_INLINE ByteLanes<float>::type to_bytes(SmallInts v) { return narrow_to_bytes(v); }
RANVIER_INLINE bool any_nan(vec<float> v) { return any(v != v); }
RANVIER_INLINE void store_bytes(uint8_t* p, ByteLanes<float>::type v, int n) {  // the first n of them
  RANVIER_WRITES(p, n);
  if (n == lanes<float>)
    memcpy(p, &v, sizeof v);
  else
    for (int i = 0; i < n; ++i) p[i] = v[i];
}

#endif

}  // namespace ranvier::RANVIER_ISA
