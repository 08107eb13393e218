// Cholesky factors and triangular systems of a panel of matrices.
#pragma once
#include <limits>

#include "kernels/small_matrices/panel.h"

namespace ranvier::RANVIER_ISA {

// Column by column: products of its elements are subtracted from the columns behind it, so that no sum waits
// for itself.
template <class T>
static void factor_cholesky(const MatrixPanel<T>& p) {
  const int64_t n = p.a.rows;
  const vec<T> zero = {};
  const vec<T> infinity = zero + std::numeric_limits<T>::infinity();
  vec<T>* a = memory_of(p);
  vec<T>* column = behind<T>(a, n * n);
  load_panel(p.a, a);
  ivec<T> wrong = zero != zero;  // lanes of matrices without a factor
  ivec<T> place = {};            // the first row, from 1, that has none
  for (int64_t j = 0; j < n; ++j) {
    const vec<T> square = a[j * n + j];
    wrong |= ~(square > zero);  // also for NaN
    place = select(wrong & (place == 0), ibroadcast<T>(int_of<T>(j + 1)), place);
    const vec<T> diagonal = sqrt(square);
    const vec<T> factor = T(1) / diagonal;
    a[j * n + j] = diagonal;
    for (int64_t i = j + 1; i < n; ++i) {
      a[i * n + j] *= factor;
      column[i] = a[i * n + j];
    }
    for (int64_t i = j + 1; i < n; ++i) {
      vec<T>* row = a + i * n;
      const vec<T> share = -column[i];
      for (int64_t c = j + 1; c <= i; ++c) row[c] = fma(share, column[c], row[c]);
    }
    for (int64_t c = j + 1; c < n; ++c) a[j * n + c] = zero;
    wrong |= diagonal == infinity;  // the rows below are divided by it
  }
  if (any(place != 0)) {
    const vec<T> nan = zero + std::numeric_limits<T>::quiet_NaN();
    for (int64_t i = 0; i < n; ++i) {
      const ivec<T> without = (place != 0) & (place <= ibroadcast<T>(int_of<T>(i + 1)));
      for (int64_t j = 0; j <= i; ++j) a[i * n + j] = select(without, nan, a[i * n + j]);
    }
  }
  store_panel(a, p.y, n * n, p.count);
  store_whole<T>(place, p.info, 1, p.count);
}

// Rows of the solution in the order in which they are found: each is divided by its diagonal, and its share
// is subtracted from the rows that are still to be found.
template <class T>
static void solve_triangle(const MatrixPanel<T>& p) {
  const int64_t n = p.a.rows;
  const int64_t columns = p.b.columns;
  vec<T>* a = memory_of(p);
  vec<T>* b = behind<T>(a, n * n);
  load_panel(p.a, a);
  load_panel(p.b, b);
  for (int64_t step = 0; step < n; ++step) {
    const int64_t k = p.upper ? n - 1 - step : step;
    vec<T>* found = b + k * columns;
    if (!p.unit) {
      const vec<T> diagonal = a[k * n + k];
      for (int64_t c = 0; c < columns; ++c) found[c] /= diagonal;
    }
    const int64_t begin = p.upper ? 0 : k + 1;
    const int64_t end = p.upper ? k : n;
    for (int64_t i = begin; i < end; ++i) {
      const vec<T> factor = -a[i * n + k];
      vec<T>* row = b + i * columns;
      for (int64_t c = 0; c < columns; ++c) row[c] = fma(factor, found[c], row[c]);
    }
  }
  store_panel(b, p.y, n * columns, p.count);
}

}  // namespace ranvier::RANVIER_ISA
