// The inner loops of the factorizations that are compiled for each ISA level, and their arguments. Element
// (i, j) of a matrix x is at x[i * rs_x + j * cs_x]; where there is no cs_x, rows are contiguous.
//
// A strip is a group of columns of the width of two vectors, for which the loops keep sums of several rows in
// registers. An element is one chain of FMAs in a fixed order, whatever the tile that computes it, so that
// the bits depend neither on the strips nor on the threads.
#pragma once
#include <cstdint>

#include "base/isa.h"

namespace ranvier {

// y (rows, columns) -= a (rows, k) x (k, columns)
template <class T>
struct FactorProduct {
  int64_t rows, columns, k;
  const T* a;
  int64_t rs_a, cs_a;
  const T* x;
  int64_t rs_x;
  T* y;
  int64_t rs_y;
};

// y (n, columns) = a^-1 y for a lower triangle a (n, n). unit: the diagonal is not read but taken as 1. With
// negative strides, from the last row on, a is an upper triangle.
template <class T>
struct Substitution {
  int64_t n, columns;
  const T* a;
  int64_t rs_a, cs_a;
  T* y;
  int64_t rs_y;
  bool unit;
};

// A panel: some columns of a matrix, stored as contiguous lines, `ld` elements apart. After `rows` elements a
// line has at least kPanelPadding further ones, which are zeros before the call.
template <class T>
struct Panel {
  T* line;
  int64_t ld, rows;
  int columns;
  T* column(int j) const { return line + j * ld; }
};
constexpr int64_t kPanelPadding = 16;  // at least the lanes of the longest vector
constexpr int64_t kPanel = 32;         // columns of a panel of lu and qr
constexpr int64_t kMostStrip = 32;     // FactorKernels::strip of the longest vectors

template <class T>
struct FactorKernels {
  int strip;  // columns of a strip
  void (*subtract)(const FactorProduct<T>&);
  void (*substitute)(const Substitution<T>&);
  // u^T u = the symmetric matrix (n, n) of which u has the upper triangle; `width` >= n elements of each row
  // are computed, whole strips. Returns the number of rows that are done: all, or those before a pivot that
  // is not above 0, or up to one that is infinite.
  int64_t (*cholesky)(int64_t n, int64_t width, T* u, int64_t rs_u);
  // Elimination with exchanged rows, columns <= rows: line j is then row 0 to j of U, and below it L without
  // its diagonal. exchanged[j]: the row that was exchanged with row j.
  void (*lu)(const Panel<T>&, int32_t* exchanged);
  // Householder reflections H_j = I - tau_j v_j v_j^T with H_k ... H_1 panel = R. Line j is then v_j, with 0
  // above its first element, which is 1. r (columns, columns): the rows of R; t (columns, columns), both with
  // zeros outside of their upper triangles: H_1 ... H_k = I - v t v^T.
  void (*qr)(const Panel<T>&, T* r, T* t);
  // y[j * rs_y + i] = x[i * rs_x + j] for i < rows, j < columns.
  void (*transpose)(int64_t rows, int64_t columns, const T* x, int64_t rs_x, T* y, int64_t rs_y);
};

RANVIER_TABLES(FactorKernels, factor_kernels)

}  // namespace ranvier
