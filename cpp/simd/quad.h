// Looks up numbers in tables of four floats, called quads: each lane takes the element that the index in this
// lane names. For the gradient of conv2d_pool (kernels/conv2d_pool/quads.h).
#pragma once
#include <utility>

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// choose(index, n, g): prepares indices (0 to 3 where they are used) for lookups in any number of tables.
// pick(table, choice): table[index] in each lane, or 0 where g is 0 or the index is not below n.
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
struct QuadChoice {
  __m512i index;
  __mmask16 keep;
};
RANVIER_INLINE QuadChoice choose(ivec<float> index, int n, vec<float> g) {
  const __mmask16 below = _mm512_cmplt_epi32_mask((__m512i)index, _mm512_set1_epi32(n));
  return {(__m512i)index, _mm512_mask_cmp_ps_mask(below, g, _mm512_setzero_ps(), _CMP_NEQ_UQ)};
}
RANVIER_INLINE vec<float> pick(const float* table, const QuadChoice& c) {
  RANVIER_READS(table, 16);
  return _mm512_maskz_permutevar_ps(c.keep, _mm512_maskz_broadcast_f32x4(all16, _mm_loadu_ps(table)),
                                    c.index);
}
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
struct QuadChoice {
  __m256i index;
  __m256 keep;
};
RANVIER_INLINE QuadChoice choose(ivec<float> index, int n, vec<float> g) {
  return {(__m256i)index, (__m256)((index < n) & (g != vec<float>{}))};
}
RANVIER_INLINE vec<float> pick(const float* table, const QuadChoice& c) {
  RANVIER_READS(table, 16);
  const __m256 all = _mm256_broadcast_ps((const __m128*)table);
  return _mm256_and_ps(_mm256_permutevar_ps(all, c.index), c.keep);
}
#elif RANVIER_VECTOR_BYTES == 16 && (defined(__SSE4_1__) || defined(__ARM_NEON))
struct QuadChoice {
  ivec<float> bytes;
};
RANVIER_INLINE QuadChoice choose(ivec<float> index, int n, vec<float> g) {
  const ivec<float> first = index * 0x04040404 + 0x03020100;  // the element's bytes; -1 gives 0
  return {first | ~((index < n) & (g != vec<float>{}))};
}
RANVIER_INLINE vec<float> pick(const float* table, const QuadChoice& c) {
  RANVIER_READS(table, 16);
#if defined(__SSE4_1__)
  return (vec<float>)_mm_shuffle_epi8((__m128i)_mm_loadu_ps(table), (__m128i)c.bytes);
#else
  return (vec<float>)vqtbl1q_u8(vreinterpretq_u8_f32(vld1q_f32(table)), (uint8x16_t)c.bytes);
#endif
}
#else
struct QuadChoice {
  ivec<float> index, keep;
};
RANVIER_INLINE QuadChoice choose(ivec<float> index, int n, vec<float> g) {
  return {index, (index < n) & (g != vec<float>{})};
}
RANVIER_INLINE vec<float> pick(const float* table, const QuadChoice& c) {
  vec<float> v;
  for (int i = 0; i < lanes<float>; ++i) v[i] = c.keep[i] ? table[c.index[i] & 3] : 0.0f;
  return v;
}
#endif

// x0 y0 x1 y1 ... from the lower halves of x and y, or with kUpper from the upper halves.
template <bool kUpper, class V, int... I>
RANVIER_INLINE V zip(V x, V y, std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
  constexpr int first = kUpper ? n / 2 : 0;
  // An index below n is a lane of x, n + i is lane i of y.
  return __builtin_shufflevector(x, y, (I % 2 * n + first + I / 2)...);
}

// to[4 i] ... to[4 i + 3] = a[i], b[i], c[i], d[i]
RANVIER_INLINE void store_quads(float* to, vec<float> a, vec<float> b, vec<float> c, vec<float> d) {
  using Lanes = std::make_integer_sequence<int, lanes<float>>;
  const vec<float> ac[2] = {zip<false>(a, c, Lanes{}), zip<true>(a, c, Lanes{})};
  const vec<float> bd[2] = {zip<false>(b, d, Lanes{}), zip<true>(b, d, Lanes{})};
  for (int i = 0; i < 2; ++i, to += 2 * lanes<float>) {
    store(to, zip<false>(ac[i], bd[i], Lanes{}));
    store(to + lanes<float>, zip<true>(ac[i], bd[i], Lanes{}));
  }
}

}  // namespace ranvier::RANVIER_ISA
