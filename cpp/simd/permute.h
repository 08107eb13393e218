// permute(): the lanes of a vector in any order, where the level has an instruction for it (has_permute<T>).
// Kernels choose their loops by has_permute, so it is the same for all levels of equal vector length.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// permute(v, index): lane i is v[index[i] mod lanes].
#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
template <class T>
static constexpr bool has_permute = true;
RANVIER_INLINE vec<float> permute(vec<float> v, ivec<float> index) {
  return _mm512_maskz_permutexvar_ps(all16, (__m512i)index, v);
}
RANVIER_INLINE vec<double> permute(vec<double> v, ivec<double> index) {
  return _mm512_maskz_permutexvar_pd(all8, (__m512i)index, v);
}
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
template <class T>
static constexpr bool has_permute = sizeof(T) == 4;
RANVIER_INLINE vec<float> permute(vec<float> v, ivec<float> index) {
  return _mm256_permutevar8x32_ps(v, (__m256i)index);
}
#elif RANVIER_VECTOR_BYTES == 32  // the same has_permute as at AVX2, since kernels are chosen by it
template <class T>
static constexpr bool has_permute = sizeof(T) == 4;
RANVIER_INLINE vec<float> permute(vec<float> v, ivec<float> index) {
  vec<float> moved;
  for (int i = 0; i < lanes<float>; ++i) moved[i] = v[index[i] & (lanes<float> - 1)];
  return moved;
}
#else
template <class T>
static constexpr bool has_permute = false;
#endif

}  // namespace ranvier::RANVIER_ISA
