// Loads and stores of n lanes, 0 < n <= lanes<T>: whole vectors take the plain instruction.
#pragma once
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

template <class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int n) {
  return n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_lanes(T* p, typename VecOf<T>::type v, int n) {
  n == lanes<T> ? store(p, v) : store_n(p, v, n);
}

// The same of elements `stride` apart. Not by the two above: GCC then makes avg_pool2d 6 % slower.
template <class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int64_t stride, int n) {
  return stride != 1 ? load_strided(p, stride, n) : n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_lanes(T* p, int64_t stride, typename VecOf<T>::type v, int n) {
  if (stride != 1) return store_strided(p, stride, v, n);
  n == lanes<T> ? store(p, v) : store_n(p, v, n);
}

}  // namespace ranvier::RANVIER_ISA
