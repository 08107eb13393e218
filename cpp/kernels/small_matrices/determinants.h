// Determinants of a panel of matrices: by elimination, those of two and three rows by their formulas.
#pragma once
#include "kernels/small_matrices/elimination.h"

namespace ranvier::RANVIER_ISA {

// The determinants of a panel (n, n), which is overwritten.
template <class T>
static __attribute__((noinline)) vec<T> determinant_by_elimination(vec<T>* a, int64_t n) {
  const vec<T> sign = eliminate_all<T>({a, nullptr, n, n, 0});
  return product_of_pivots<T>(a, n, sign);
}

// x y - z w
template <class V>
RANVIER_INLINE V minor(V x, V y, V z, V w) {
  return x * y - z * w;
}

// The determinants of matrices of n = 2 or 3 rows. Where a product may have left the range of T, they are
// computed by elimination, which also finds those that are 0.
template <int n, class T>
RANVIER_INLINE vec<T> determinant_of_few(vec<T>* a) {
  // For elements up to kLargest the formula does not overflow, and what underflows is less than the rounding
  // error of a determinant above kLeast.
  constexpr T kLargest = sizeof(T) == 4 ? T(0x1p33) : T(0x1p300);
  constexpr T kLeast = sizeof(T) == 4 ? T(0x1p-88) : T(0x1p-660);
  vec<T> largest = {};
  RANVIER_UNROLL
  for (int k = 0; k < n * n; ++k) largest = maximum(abs(a[k]), largest);
  vec<T> y;
  if constexpr (n == 2) {
    y = minor(a[0], a[3], a[1], a[2]);
  } else {
    const vec<T> first = a[0] * minor(a[4], a[8], a[5], a[7]);
    const vec<T> second = a[1] * minor(a[3], a[8], a[5], a[6]);
    const vec<T> third = a[2] * minor(a[3], a[7], a[4], a[6]);
    y = (first - second) + third;
  }
  const ivec<T> outside = ~((largest < kLargest) & (abs(y) > kLeast));
  if (!any(outside)) return y;
  vec<T> copy[n * n];  // so that `a` stays in registers
  RANVIER_UNROLL
  for (int k = 0; k < n * n; ++k) copy[k] = a[k];
  return select(outside, determinant_by_elimination<T>(copy, n), y);
}

template <class T>
static void determinant(const MatrixPanel<T>& p) {
  vec<T>* a = memory_of(p);
  load_panel(p.a, a);
  vec<T> y;
  if (p.a.rows == 2) {
    y = determinant_of_few<2, T>(a);
  } else if (p.a.rows == 3) {
    y = determinant_of_few<3, T>(a);
  } else {
    y = determinant_by_elimination<T>(a, p.a.rows);
  }
  store_n(p.y, y, p.count);
}

// The same for a stack of contiguous matrices of n rows, panel by panel in registers.
template <int n, class T>
static void determinants_of_few(const DenseStack<T>& s) {
  constexpr int L = lanes<T>;
  constexpr int kSize = n * n;
  constexpr int kSquare = kSize < L ? kSize : L;  // elements that a transpose loads
  for (int64_t i = 0; i < s.count; i += L) {
    const T* first = s.first + i * s.step;
    const int count = lanes_used<T>(s.count - i);
    vec<T> a[kSize];
    vec<T> square[L];
    RANVIER_UNROLL
    for (int k = 0; k < L; ++k) {
      const int64_t at = k < count ? k * s.step : 0;  // lanes without a matrix repeat the first one
      square[k] = kSquare == L ? load(first + at) : load_n(first + at, kSquare);
    }
    transpose(square);
    RANVIER_UNROLL
    for (int k = 0; k < kSquare; ++k) a[k] = square[k];
    RANVIER_UNROLL
    for (int k = kSquare; k < kSize; ++k) a[k] = load_lanes(first + k, s.step, count);
    store_n(s.y + i, determinant_of_few<n, T>(a), count);
  }
}

}  // namespace ranvier::RANVIER_ISA
