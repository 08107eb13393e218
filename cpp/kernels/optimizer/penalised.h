// The gradient of the weights' penalty on contiguous elements, for one ISA level.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
RANVIER_INLINE vec<T> penalised(typename VecOf<T>::type g, typename VecOf<T>::type p, T scale, T l1,
                                T twice_l2) {
  g = g * broadcast(scale);
  if (twice_l2 != 0) g = fma(broadcast(twice_l2), p, g);  // not 0 times an infinite weight
  if (l1 != 0) {
    const vec<T> sign = select((p == 0) | (p != p), p, copysign(broadcast(T(1)), p));
    g = fma(broadcast(l1), sign, g);
  }
  return g;
}

// g = scale g + l1 sign(p) + twice_l2 p
template <class T>
static void add_penalty(T* g, const T* p, int64_t n, T scale, T l1, T twice_l2) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>)
    store(g + i, penalised<T>(load(g + i), load(p + i), scale, l1, twice_l2));
  const int rest = static_cast<int>(n - i);
  if (rest > 0)
    store_n(g + i, penalised<T>(load_n(g + i, rest), load_n(p + i, rest), scale, l1, twice_l2), rest);
}

}  // namespace ranvier::RANVIER_ISA
