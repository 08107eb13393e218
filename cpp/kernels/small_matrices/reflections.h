// QR factors of a panel of matrices by Householder's reflections, with LAPACK's signs.
#pragma once
#include "kernels/small_matrices/panel.h"

namespace ranvier::RANVIER_ISA {

// A matrix (rows, columns) to which reflections are applied, and the matrix that has their vectors: that of
// reflection j is 1 in row j, and below it column j.
template <class T>
struct Reflected {
  vec<T>* to;
  int64_t rows, columns;
  const vec<T>* vectors;
  int64_t step;  // between rows of `vectors`
};

// Subtracts tau v (v^T x) from each column x from `first` on.
template <class T>
RANVIER_INLINE void reflect(const Reflected<T>& m, int64_t j, vec<T> tau, int64_t first) {
  for (int64_t c = first; c < m.columns; ++c) {
    vec<T> sum = m.to[j * m.columns + c];
    for (int64_t i = j + 1; i < m.rows; ++i)
      sum = fma(m.vectors[i * m.step + j], m.to[i * m.columns + c], sum);
    const vec<T> share = -tau * sum;
    m.to[j * m.columns + c] += share;
    for (int64_t i = j + 1; i < m.rows; ++i) {
      vec<T>& x = m.to[i * m.columns + c];
      x = fma(share, m.vectors[i * m.step + j], x);
    }
  }
}

// Replaces column j of a by its reflection: the diagonal and, below it, the vector. Returns tau. A column
// that is 0 below the diagonal stays as it is.
template <class T>
RANVIER_INLINE vec<T> reflection(vec<T>* a, int64_t rows, int64_t columns, int64_t j) {
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  const vec<T> above = a[j * columns + j];
  vec<T> squares = zero;
  for (int64_t i = j + 1; i < rows; ++i) {
    const vec<T> x = a[i * columns + j];
    squares = fma(x, x, squares);
  }
  const vec<T> length = sqrt(fma(above, above, squares));
  const ivec<T> stays = squares == zero;
  const vec<T> diagonal = select(stays, above, -copysign(length, above));
  const vec<T> factor = select(stays, zero, T(1) / select(stays, one, above - diagonal));
  for (int64_t i = j + 1; i < rows; ++i) a[i * columns + j] *= factor;
  a[j * columns + j] = diagonal;
  return select(stays, zero, (diagonal - above) / select(stays, one, diagonal));
}

// Scales each column by a power of 2, so that squares of its elements stay in the range of T. Q does not
// change; `scales` has the factors that bring the columns of R back.
template <class T>
RANVIER_INLINE void scale_columns(vec<T>* a, int64_t rows, int64_t columns, vec<T>* scales) {
  for (int64_t c = 0; c < columns; ++c) {
    vec<T> most = {};
    for (int64_t r = 0; r < rows; ++r) most = maximum(abs(a[r * columns + c]), most);
    const vec<T> scale = scale_to_1<T>(most);
    for (int64_t r = 0; r < rows; ++r) a[r * columns + c] *= scale;
    scales[c] = T(1) / scale;
  }
}

template <class T>
static void factor_qr(const MatrixPanel<T>& p) {
  const int64_t rows = p.a.rows;
  const int64_t columns = p.a.columns;
  const int64_t steps = rows < columns ? rows : columns;
  const vec<T> zero = {};
  vec<T>* a = memory_of(p);
  vec<T>* q = behind<T>(a, rows * columns);
  vec<T>* taus = behind<T>(q, rows * p.y_columns);
  vec<T>* scales = taus + steps;
  load_panel(p.a, a);
  scale_columns<T>(a, rows, columns, scales);
  for (int64_t j = 0; j < steps; ++j) {
    taus[j] = reflection<T>(a, rows, columns, j);
    reflect<T>({a, rows, columns, a, columns}, j, taus[j], j + 1);
  }
  if (p.y) {
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < p.y_columns; ++c) q[r * p.y_columns + c] = zero + T(r == c);
    for (int64_t j = steps - 1; j >= 0; --j) reflect<T>({q, rows, p.y_columns, a, columns}, j, taus[j], j);
    store_panel(q, p.y, rows * p.y_columns, p.count);
  }
  for (int64_t r = 0; r < p.z_rows; ++r)
    for (int64_t c = 0; c < columns; ++c) a[r * columns + c] = c < r ? zero : a[r * columns + c] * scales[c];
  store_panel(a, p.z, p.z_rows * columns, p.count);
}

}  // namespace ranvier::RANVIER_ISA
