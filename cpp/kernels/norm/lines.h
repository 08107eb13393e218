// The loops along a line, for one ISA level.
#pragma once
#include "kernels/norm/norm.h"
#include "simd/lanes.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int kNormVectors = 4;  // independent sums, so that one addition need not wait for the last

// f(vector, i, n) for the vectors of [0, count): `vector` counts the accumulators up, n lanes are inside.
template <class T, class F>
RANVIER_INLINE void for_each_vector(int64_t count, const F& f) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + kNormVectors * L <= count; i += kNormVectors * L)
    for (int v = 0; v < kNormVectors; ++v) f(v, i + v * L, L);
  for (; i + L <= count; i += L) f(0, i, L);
  if (i < count) f(1, i, static_cast<int>(count - i));
}

// v in the first n lanes, 0 in the others
template <class T>
RANVIER_INLINE vec<T> first_lanes(typename VecOf<T>::type v, int n) {
  return n == lanes<T> ? v : select(iota<T>() < T(n), v, vec<T>{});
}
template <class T>
RANVIER_INLINE double total(const typename VecOf<T>::type (&v)[kNormVectors]) {
  return double(reduce_add((v[0] + v[1]) + (v[2] + v[3])));
}

template <class T>
static Moments moments(const T* x, int64_t n) {
  vec<T> sum[kNormVectors]{}, rest[kNormVectors]{}, squares[kNormVectors]{};
  for_each_vector<T>(n, [&](int v, int64_t i, int l) { sum[v] += load_lanes(x + i, l); });
  const T m = T(total<T>(sum) / double(n));
  const int64_t ahead = n == kNormChunk ? n : 0;  // the next chunk comes while this one is in L1
  for_each_vector<T>(n, [&](int v, int64_t i, int l) {
    __builtin_prefetch(x + i + ahead);
    const vec<T> d = first_lanes<T>(load_lanes(x + i, l) - m, l);
    rest[v] += d, squares[v] = fma(d, d, squares[v]);
  });
  const double missing = total<T>(rest) / double(n), m2 = total<T>(squares) - missing * missing * double(n);
  return {double(m) + missing, m2 < 0 ? 0 : m2};
}

template <bool has_weight, bool has_bias, class T>
static void normalize_line(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y) {
  const vec<T> a = broadcast(f.a), b = broadcast(f.b);
  for_each_vector<T>(n, [&](int, int64_t i, int l) {
    vec<T> v = fma(load_lanes(x + i, l) - f.m, a, b);
    const vec<T> shift = has_bias ? load_lanes(bias + i, l) : vec<T>{};
    if constexpr (has_weight)
      v = fma(v, load_lanes(weight + i, l), shift);
    else if constexpr (has_bias)
      v = v + shift;
    store_lanes(y + i, v, l);
  });
}

template <class T>
static void normalize(const T* x, int64_t n, Normalize<T> f, const T* weight, const T* bias, T* y) {
  if (weight)
    (bias ? normalize_line<true, true, T> : normalize_line<true, false, T>)(x, n, f, weight, bias, y);
  else
    (bias ? normalize_line<false, true, T> : normalize_line<false, false, T>)(x, n, f, weight, bias, y);
}

template <bool has_weight, class T>
static GradientSums line_sums(const T* dy, const T* x, int64_t n, T m, const T* weight) {
  vec<T> sum[kNormVectors]{}, dot[kNormVectors]{};
  for_each_vector<T>(n, [&](int v, int64_t i, int l) {
    vec<T> g = load_lanes(dy + i, l);  // 0 past the end
    if constexpr (has_weight) g = g * load_lanes(weight + i, l);
    const vec<T> d = first_lanes<T>(load_lanes(x + i, l) - m, l);
    sum[v] += g, dot[v] = fma(g, d, dot[v]);
  });
  return {total<T>(sum), total<T>(dot)};
}

template <class T>
static GradientSums sums(const T* dy, const T* x, int64_t n, T m, const T* weight) {
  return (weight ? line_sums<true, T> : line_sums<false, T>)(dy, x, n, m, weight);
}

template <bool has_weight, class T>
static void line_gradient(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx) {
  const vec<T> a = broadcast(f.a), b = broadcast(f.b), k = broadcast(f.k);
  for_each_vector<T>(n, [&](int, int64_t i, int l) {
    vec<T> g = load_lanes(dy + i, l);
    if constexpr (has_weight) g = g * load_lanes(weight + i, l);
    store_lanes(dx + i, fma(g, a, fma(load_lanes(x + i, l) - f.m, b, k)), l);
  });
}

template <class T>
static void gradient(const T* dy, const T* x, int64_t n, NormGradient<T> f, const T* weight, T* dx) {
  (weight ? line_gradient<true, T> : line_gradient<false, T>)(dy, x, n, f, weight, dx);
}

}  // namespace ranvier::RANVIER_ISA
