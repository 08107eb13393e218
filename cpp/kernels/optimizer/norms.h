// Loops of OptimizerKernels (kernels.h) over contiguous parameters and gradients, for one ISA level: norms,
// dot products and penalties on weights, which are sums in double; and loops that scale, clamp or add.
#pragma once
#include "base/unroll.h"
#include "simd/math.h"

namespace ranvier::RANVIER_ISA {

// Loads as many elements as a vec<double> has lanes, as doubles.
RANVIER_INLINE vec<double> load_double(const double* p) { return load(p); }
RANVIER_INLINE vec<double> load_double(const float* p) {
  typedef float half __attribute__((vector_size(RANVIER_VECTOR_BYTES / 2)));
  half h;
  __builtin_memcpy(&h, p, sizeof h);
  return __builtin_convertvector(h, vec<double>);
}

template <class T>
RANVIER_INLINE vec<double> load_double(const T* p, int n) {  // the first n, then zeros
  T last[lanes<double>] = {};
  for (int k = 0; k < n; ++k) last[k] = p[k];
  return load_double(last);
}

// A Fold is a struct of three functions: `add` adds a vector of elements to a partial sum, `join` joins two
// partial sums, and `finish` returns the total of the lanes.
struct AddedUp {
  RANVIER_INLINE double finish(vec<double> sum) { return reduce_add(sum); }
  RANVIER_INLINE vec<double> join(vec<double> a, vec<double> b) { return a + b; }
};
struct SumOfProducts : AddedUp {
  RANVIER_INLINE vec<double> add(vec<double> sum, vec<double> a, vec<double> b, double) {
    return fma(a, b, sum);
  }
};
struct SumOfMagnitudes : AddedUp {
  RANVIER_INLINE vec<double> add(vec<double> sum, vec<double> a, vec<double>, double) { return sum + abs(a); }
};
// Not inlined, since pow is long code and sums of other powers are rare.
static __attribute__((noinline)) vec<double> add_power(vec<double> sum, vec<double> a, double p) {
  return sum + pow(abs(a), broadcast(p));
}
struct SumOfPowers : AddedUp {
  RANVIER_INLINE vec<double> add(vec<double> sum, vec<double> a, vec<double>, double p) {
    return add_power(sum, a, p);
  }
};
struct LargestMagnitude {
  RANVIER_INLINE vec<double> add(vec<double> largest, vec<double> a, vec<double>, double) {
    return max(largest, abs(a));
  }
  RANVIER_INLINE double finish(vec<double> largest) { return reduce_max(largest); }
  RANVIER_INLINE vec<double> join(vec<double> a, vec<double> b) { return max(a, b); }
};

// Folds the pairs (a[i], b[i]) in four independent chains. Missing lanes of the last vector are zeros, which
// add nothing.
template <class Fold, class T>
RANVIER_INLINE double fold(const T* a, const T* b, int64_t n, double p = 0) {
  constexpr int step = lanes<double>, chains = 4;
  vec<double> sum[chains] = {};
  int64_t i = 0;
  for (; i + chains * step <= n; i += chains * step) {
    RANVIER_UNROLL
    for (int k = 0; k < chains; ++k) {
      const int64_t at = i + k * step;
      sum[k] = Fold::add(sum[k], load_double(a + at), load_double(b + at), p);
    }
  }
  for (; i + step <= n; i += step) sum[0] = Fold::add(sum[0], load_double(a + i), load_double(b + i), p);
  if (const int rest = static_cast<int>(n - i))
    sum[1] = Fold::add(sum[1], load_double(a + i, rest), load_double(b + i, rest), p);
  return Fold::finish(Fold::join(Fold::join(sum[0], sum[1]), Fold::join(sum[2], sum[3])));
}

template <class T>
static double dot(const T* a, const T* b, int64_t n) {
  return fold<SumOfProducts>(a, b, n);
}
template <class Norm, class T>
static double norm_of(const T* g, int64_t n) {
  return fold<Norm>(g, g, n);
}
template <class T>
static double sum_of_powers(const T* g, int64_t n, double p) {
  return fold<SumOfPowers>(g, g, n, p);
}

// y = f(y, x), vector by vector.
template <class T, class F>
RANVIER_INLINE void map(T* y, const T* x, int64_t n, const F& f) {
  int some = before_aligned<lanes<T>>(y, n);
  int64_t i = 0;
  for (bool last = false;; last = true) {
    if (some) store_n(y + i, f(load_n(y + i, some), load_n(x + i, some)), some);
    if (last) return;
    for (i += some; i + lanes<T> <= n; i += lanes<T>) store(y + i, f(load(y + i), load(x + i)));
    some = static_cast<int>(n - i);
  }
}

template <class T>
static void scale(T* g, int64_t n, T factor) {
  map(g, g, n, [=](vec<T> v, vec<T>) { return v * broadcast(factor); });
}

template <class T>
static void clamp(T* g, int64_t n, T limit) {
  const vec<T> high = broadcast(limit);
  const vec<T> low = -high;
  map(g, g, n, [=](vec<T> v, vec<T>) { return max(min(v, high), low); });
}

template <class T>
static void add_scaled(T* y, const T* x, int64_t n, T factor) {
  map(y, x, n, [=](vec<T> v, vec<T> u) { return fma(broadcast(factor), u, v); });
}

// average += weight (value - average), computed from the nearer of the two numbers, so that a weight of 1
// gives `value`.
template <class T>
static void move_towards(T* average, const T* value, int64_t n, T weight) {
  const vec<T> w = broadcast(weight);
  const vec<T> rest = broadcast(T(1) - weight);
  if (weight < T(0.5))
    map(average, value, n, [=](vec<T> a, vec<T> v) { return fma(w, v - a, a); });
  else
    map(average, value, n, [=](vec<T> a, vec<T> v) { return fma(rest, a - v, v); });
}

// g scale + l1 sign(p) + twice_l2 p.
template <class T>
RANVIER_INLINE vec<T> penalised(typename VecOf<T>::type g, typename VecOf<T>::type p, T scale, T l1,
                                T twice_l2) {
  g = g * broadcast(scale);
  if (twice_l2 != 0) g = fma(broadcast(twice_l2), p, g);  // 0 times an infinite weight would be NaN
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
  const vec<double> slope = kSquares ? fma(l2, size, l1) : l1;
  return fma(size, slope, sum);
}

template <bool kSquares, class T>
static double sum_of_terms(const T* p, int64_t n, double l1, double l2) {
  constexpr int step = lanes<double>, chains = 4;
  const vec<double> a = broadcast(l1);
  const vec<double> b = broadcast(l2);
  vec<double> sum[chains] = {};
  int64_t i = 0;
  for (; i + chains * step <= n; i += chains * step) {
    RANVIER_UNROLL
    for (int k = 0; k < chains; ++k)
      sum[k] = add_terms<kSquares>(sum[k], load_double(p + i + k * step), a, b);
  }
  for (; i + step <= n; i += step) sum[0] = add_terms<kSquares>(sum[0], load_double(p + i), a, b);
  if (i < n) sum[1] = add_terms<kSquares>(sum[1], load_double(p + i, static_cast<int>(n - i)), a, b);
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// sum of l1 |p| + l2 p^2, in double
template <class T>
static double penalty(const T* p, int64_t n, double l1, double l2) {
  if (l2 == 0) return sum_of_terms<false>(p, n, l1, l2);  // 0 times an infinite weight would be NaN
  return sum_of_terms<true>(p, n, l1, l2);
}

}  // namespace ranvier::RANVIER_ISA
