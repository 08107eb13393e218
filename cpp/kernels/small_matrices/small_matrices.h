// small_matrices: factors, solutions and determinants of stacks of small matrices, at most 32 x 32
//
//   op           a           b           results
//   cholesky     (.., n, n)              y (.., n, n) = L with L L^T = a; the lower triangle of a is read.
//   info solve        (.., n, n)  (.., n, k)  y (.., n, k) = a^-1 b. info triangle     (.., n, n)  (.., n, k)
//   y (.., n, k) = a^-1 b of the lower triangle of a, or with `upper` of
//                                        the upper one; `unit`: its diagonal is not read, and taken as 1
//   determinant  (.., n, n)              y (..) = det a
//   logarithm    (.., n, n)              y (..) = the sign of det a, z (..) = log |det a|. info
//   lu           (.., m, n)              y (.., m, n) = L below the diagonal and U; info (.., min(m, n)): the
//                                        row, from 1, that was exchanged with each row
//   qr           (.., m, n)              y (.., m, q) = Q or none, z (.., r, n) = R
//   eigh         (.., n, n)              y (.., n) = eigenvalues in rising order, z (.., n, n) = eigenvectors
//                                        as columns, or none. The lower triangle is read, with `upper` the
//                                        upper one. All NaN for a matrix with NaN or infinity
//
//   a, b: any strides, the same leading dimensions (stride 0 where they are repeated). Results are
//   contiguous. info (..): 0, or from 1 the first row without a factor (cholesky), the first pivot that is 0
//   (others).
//
// One matrix is in one lane of a vector: a panel is as many matrices as a vector has lanes, transposed, so
// that element (r, c) of all of them is one vector. All lanes run the same operations; what depends on a
// matrix, such as its pivot rows, is selected lane by lane. So no result depends on the other matrices of its
// panel, nor on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int64_t kSmallMatrix = 32;  // the most rows and columns
constexpr int kMostLanes = 16;        // of the longest vector

enum class MatrixOp { cholesky, solve, triangle, determinant, logarithm, lu, qr, eigh, count };

template <class T>
struct SmallMatrices {
  RANVIER_CALL("small_matrices", a, b, y, z, info);
  size_t workspace_bytes(int threads) const;
  MatrixOp op;
  bool upper, unit;
  TensorView<const T> a, b;
  TensorView<T> y, z;
  TensorView<int64_t> info;
};

// The matrices of a panel in memory: element (r, c) of matrix i is at
// first[i][r * row_step + c * column_step]. Lanes without a matrix repeat the first one.
template <class T>
struct PanelSource {
  const T* first[kMostLanes];
  int64_t rows, columns, row_step, column_step;
};

template <class T>
struct MatrixPanel {
  int count;  // of matrices: the first lanes
  bool upper, unit;
  PanelSource<T> a, b;
  T *y, *z;           // the results of the first matrix; null: not wanted
  int64_t y_columns;  // of qr: the columns of Q
  int64_t z_rows;     // of qr: the rows of R
  int64_t* info;      // of the first matrix
  T* memory;          // aligned to vectors: panel_vectors() of them
};

// Contiguous matrices, `step` elements from one to the next, and a number for each.
template <class T>
struct DenseStack {
  const T* first;
  int64_t step, count;
  T* y;
};

template <class T>
struct SmallMatrixKernels {
  int lanes;
  void (*determinants_of_2)(const DenseStack<T>&);
  void (*determinants_of_3)(const DenseStack<T>&);
  void (*run[int(MatrixOp::count)])(const MatrixPanel<T>&);
};

RANVIER_TABLES(SmallMatrixKernels, small_matrix_kernels)

}  // namespace ranvier
