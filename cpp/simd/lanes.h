// Loads and stores of n lanes, 0 < n <= lanes<T>: whole vectors take the plain instruction.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
RANVIER_INLINE vec<T> load_lanes(const T* p, int n) {
  return n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_lanes(T* p, typename VecOf<T>::type v, int n) {
  n == lanes<T> ? store(p, v) : store_n(p, v, n);
}

}  // namespace ranvier::RANVIER_ISA
