// The weights' penalty and its gradient on contiguous elements, for one ISA level.
#pragma once
#include "kernels/optimizer/norms.h"
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

// sum + l1 |p| + l2 p^2
template <bool kSquares>
RANVIER_INLINE vec<double> add_terms(vec<double> sum, vec<double> p, vec<double> l1, vec<double> l2) {
  const vec<double> size = abs(p);
  return fma(size, kSquares ? fma(l2, size, l1) : l1, sum);
}

template <bool kSquares, class T>
static double sum_of_terms(const T* p, int64_t n, double l1, double l2) {
  constexpr int step = lanes<double>, chains = 4;
  const vec<double> a = broadcast(l1), b = broadcast(l2);
  vec<double> sum[chains] = {};
  int64_t i = 0;
  for (; i + chains * step <= n; i += chains * step)
    for (int k = 0; k < chains; ++k)
      sum[k] = add_terms<kSquares>(sum[k], load_double(p + i + k * step), a, b);
  for (; i + step <= n; i += step) sum[0] = add_terms<kSquares>(sum[0], load_double(p + i), a, b);
  if (i < n) sum[1] = add_terms<kSquares>(sum[1], load_double(p + i, static_cast<int>(n - i)), a, b);
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// sum of l1 |p| + l2 p^2, in double
template <class T>
static double penalty(const T* p, int64_t n, double l1, double l2) {
  if (l2 == 0) return sum_of_terms<false>(p, n, l1, l2);  // not 0 times an infinite weight
  return sum_of_terms<true>(p, n, l1, l2);
}

}  // namespace ranvier::RANVIER_ISA
