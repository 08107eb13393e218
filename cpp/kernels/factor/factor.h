// Factors of matrices: cholesky, lu, qr; and what is made of L and U: determinants and the exchange of rows.
//
// Leading dimensions are a batch. Inputs have any strides, results are C-contiguous. Each matrix is copied to
// the workspace, where its rows are padded: rows that are a power of two apart would share the few lines of a
// set of L1. Blocks of columns are factored one after another, and the columns after a block, strip by strip
// (kernels.h), get its share subtracted. If there are fewer matrices than threads, the threads share the
// strips of one matrix; no sum crosses them, so that bits do not depend on the threads.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

// l l^T = a for symmetric a (..., n, n), of which the lower triangle is read; l is 0 above its diagonal.
// info (...): 0; or the place, from 1, of the first row that has no factor, since the leading part that ends
// with it is not positive-definite. The rows of l from there on are NaN in the lower triangle. An infinite
// pivot has a factor, but the row after it has none.
template <class T>
struct Cholesky {
  RANVIER_CALL("cholesky", a, l, info);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> a;
  TensorView<T> l;
  TensorView<int32_t> info;
};

// P L U = a (..., m, n), by elimination with exchanged rows. lu (..., m, n): L below the diagonal, without
// its ones, U on it and above. pivots (..., min(m, n)): row i was exchanged with row pivots[i], counted from
// 1: that of the greatest |x| of the column, the first of equal ones. NaN is chosen only in row i itself. A
// column whose pivot is 0 is left as it is. info (...): the place of the first such column, from 1, or 0.
template <class T>
struct Lu {
  RANVIER_CALL("lu", a, lu, pivots, info);
  size_t workspace_bytes(int threads) const;
  TensorView<const T> a;
  TensorView<T> lu;
  TensorView<int32_t> pivots;
  TensorView<int32_t> info;
};

// q r = a (..., m, n) by Householder reflections of the first `reflections` columns, at most min(m, n). The
// signs are LAPACK's: the diagonal of r has the sign that a column's first element has not. q (..., m, any):
// the first columns of the product of the reflections, or data null. r (..., rows, n): the first rows of what
// is left of a; 0 below the diagonal in the columns that are reflected.
template <class T>
struct Qr {
  RANVIER_CALL("qr", a, q, r);
  size_t workspace_bytes(int threads) const;
  int64_t reflections;
  TensorView<const T> a;
  TensorView<T> q;
  TensorView<T> r;
};

// Of the factors of square matrices: the determinants det (...); or, if det has no data, their signs, 0 for a
// determinant that is 0 or NaN, and the logarithms of their sizes. lu (..., n, n) and pivots are those of Lu,
// contiguous.
template <class T>
struct Determinant {
  RANVIER_CALL("determinant", lu, pivots, det, sign, log);
  TensorView<const T> lu;
  TensorView<const int32_t> pivots;
  TensorView<T> det, sign, log;
};

// Exchanges the rows of y (..., n, k), C-contiguous, in the order of the pivots (..., count) of Lu, which may
// have any strides; each is from 1 to n, and count is at most n.
template <class T>
struct ExchangeRows {
  RANVIER_CALL("exchange_rows", pivots, in_place(y));
  TensorView<const int32_t> pivots;
  TensorView<T> y;
};

}  // namespace ranvier
