// solve_triangle: y = a^-1 y in place, for triangles a
//
//   a (..., n, n), of which the triangle below the diagonal, or with `upper` above it, and the diagonal are
//   read; with `unit` the diagonal is taken as 1. y (..., n, k), C-contiguous. Zeros in the diagonal give
//   infinities and NaN.
//
// The first rows are solved, their share is taken off the others by a product, and so on in each half, so
// that most of the work is products. Columns are shared out by 128: bits do not depend on the team.
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
