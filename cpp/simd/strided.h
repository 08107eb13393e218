// Vectors whose lanes lie at any distance from each other.
#pragma once

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The first n lanes, 0 < n <= lanes, from p[0], p[stride] ...; the others are `rest`.
template <class T>
RANVIER_INLINE vec<T> load_strided(const T* p, int64_t stride, int n, T rest = 0) {
  vec<T> v = broadcast(rest);
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) v[i] = p[i * stride];
  return v;
}

template <class T>
RANVIER_INLINE void store_strided(T* p, int64_t stride, typename VecOf<T>::type v, int n) {
  for (int i = 0; i < lanes<T>; ++i)
    if (i < n) p[i * stride] = v[i];
}

}  // namespace ranvier::RANVIER_ISA
