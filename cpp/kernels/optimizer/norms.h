// Norms of contiguous gradients in double, and their clipping, for one ISA level.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// As many elements as a vec<double> has lanes, in double.
RANVIER_INLINE vec<double> load_double(const double* p) { return load(p); }
RANVIER_INLINE vec<double> load_double(const float* p) {
  typedef float half __attribute__((vector_size(RANVIER_VECTOR_BYTES / 2)));
  half h;
  __builtin_memcpy(&h, p, sizeof h);
  return __builtin_convertvector(h, vec<double>);
}

struct SumOfSquares {
  RANVIER_INLINE vec<double> add(vec<double> sum, vec<double> g) { return fma(g, g, sum); }
  RANVIER_INLINE double finish(vec<double> sum) { return reduce_add(sum); }
  RANVIER_INLINE vec<double> join(vec<double> a, vec<double> b) { return a + b; }
};
struct SumOfMagnitudes {
  RANVIER_INLINE vec<double> add(vec<double> sum, vec<double> g) { return sum + abs(g); }
  RANVIER_INLINE double finish(vec<double> sum) { return reduce_add(sum); }
  RANVIER_INLINE vec<double> join(vec<double> a, vec<double> b) { return a + b; }
};
struct LargestMagnitude {
  RANVIER_INLINE vec<double> add(vec<double> largest, vec<double> g) { return max(largest, abs(g)); }
  RANVIER_INLINE double finish(vec<double> largest) { return reduce_max(largest); }
  RANVIER_INLINE vec<double> join(vec<double> a, vec<double> b) { return max(a, b); }
};

template <class Norm, class T>
static double norm_of(const T* g, int64_t n) {
  constexpr int step = lanes<double>, chains = 4;
  vec<double> sum[chains] = {};
  int64_t i = 0;
  for (; i + chains * step <= n; i += chains * step)
    for (int k = 0; k < chains; ++k) sum[k] = Norm::add(sum[k], load_double(g + i + k * step));
  for (; i + step <= n; i += step) sum[0] = Norm::add(sum[0], load_double(g + i));
  if (i < n) {
    T last[step] = {};  // zeros add nothing to any of the norms
    for (int64_t k = i; k < n; ++k) last[k - i] = g[k];
    sum[1] = Norm::add(sum[1], load_double(last));
  }
  return Norm::finish(Norm::join(Norm::join(sum[0], sum[1]), Norm::join(sum[2], sum[3])));
}

template <class T>
static void scale(T* g, int64_t n, T factor) {
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(g + i, load(g + i) * broadcast(factor));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) store_n(g + i, load_n(g + i, rest) * broadcast(factor), rest);
}

template <class T>
static void clamp(T* g, int64_t n, T limit) {
  const vec<T> high = broadcast(limit), low = -high;
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store(g + i, max(min(load(g + i), high), low));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) store_n(g + i, max(min(load_n(g + i, rest), high), low), rest);
}

}  // namespace ranvier::RANVIER_ISA
