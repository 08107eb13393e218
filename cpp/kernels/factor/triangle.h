// solve_triangle: y = a^-1 y in place, for triangular matrices a
//
//   a (..., n, n): only the diagonal and the triangle below it, or with `upper` above it, are read. With
//   `unit` the diagonal is not read and taken as 1. y (..., n, k), C-contiguous. Zeros in the diagonal give
//   infinities and NaN.
//
// Each half of the rows is solved recursively: after the first half, a matrix product subtracts its share
// from the right-hand side of the second half. So most of the work is matrix products. Threads take groups of
// 128 columns; the groups do not depend on the number of threads, so the bits do not, either.
#pragma once
#include "kernels/matmul/matmul.h"

namespace ranvier {

template <class T>
struct SolveTriangle {
  RANVIER_CALL("solve_triangle", a, in_place(y));
  size_t workspace_bytes(int threads) const { return threads * bytes_of_thread(); }
  size_t bytes_of_thread() const;
  bool upper, unit;
  TensorView<const T> a;
  TensorView<T> y;

  int64_t rows() const { return y.shape[y.ndim - 2]; }
  int64_t columns() const { return y.shape[y.ndim - 1]; }
};

}  // namespace ranvier
