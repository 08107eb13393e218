// Distances of all pairs of rows of two matrices (cdist), and their gradient:
//
//   forward   y[b, i, j] = the p-norm of x1[b, i] - x2[b, j], for p >= 0; for p = 0 how many elements differ
//   backward  dx = the gradient of x1, or with `of_second` that of x2, from dy and y
//
//   x1 (.., m, d), x2 (.., n, d), y, dy (.., m, n), dx as x1 or x2; all contiguous. With `of_one` (pdist) x2
//   is x1 (n, d), and y and dy (n (n - 1) / 2) have the pairs i < j only, in the order of i, then j.
//
// For p = 0, 1, 2 and infinity a tile of pairs is computed at a time. For other p, and if squares leave the
// range of T, each pair is computed by the loops of distance.h. A sum over d, or over pairs, is divided at
// multiples of a fixed number, so that its bits do not depend on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

enum class PairPower { zero, one, two, largest, other };

constexpr int kPairRows = 4;        // rows of x1 that share each load of x2
constexpr int64_t kPairGroup = 64;  // pairs of a row whose gradients are summed before they are added to dx

template <class T>
struct PairDistances {
  RANVIER_CALL("pair_distances", x1, x2, y);
  double p;
  bool of_one;
  TensorView<const T> x1, x2;
  TensorView<T> y;
};

template <class T>
struct PairGradients {
  RANVIER_CALL("pair_gradients", dy, y, x1, x2, dx);
  size_t workspace_bytes(int threads) const { return threads * bytes_of_thread(); }
  size_t bytes_of_thread() const {  // for the gradients of the pairs of a group
    return (sizeof(T) * size_t(kPairGroup * dx.shape[dx.ndim - 1]) + 127) / 64 * 64;
  }
  double p;
  bool of_one, of_second;
  TensorView<const T> dy, y, x1, x2;
  TensorView<T> dx;
};

// Pairs of rows [begin, end) of x1 with rows [column, column + columns) of x2; columns <=
// PairKernels::columns.
template <class T>
struct PairTile {
  const T *x1, *x2;  // the matrices of this batch index
  int64_t m, d, begin, end, column, columns;
  PairPower power;  // any except `other`
  bool of_one;      // pairs i < j only
  T* y;             // the distances of this batch index
  int64_t n;        // rows of x2
  // Computes the distance of one pair whose sum of squares is not in the range of T.
  T (*exact)(const T* x1, const T* x2, int64_t d);
};

// to[r] += the sum over `count` rows k of x2, in order, of weight[r][k] slope(x1[r] - x2[k]), element by
// element. The slope of a difference is the difference itself for p = 2; for p = 1 its sign; for p = infinity
// its sign if its size is distance[r][k], else 0.
template <class T>
struct PairSlopes {
  const T* x1[kPairRows];
  const T* x2;
  int64_t d, count;
  PairPower power;  // one, two or largest
  const T (*distance)[kPairGroup], (*weight)[kPairGroup];
  T* to[kPairRows];  // null if the row is not wanted
};

template <class T>
struct PairKernels {
  int columns;
  void (*distances)(const PairTile<T>&);
  // dy /= y for `count` pairs; 0 where y is 0. Returns false if a quotient may leave the range of T.
  bool (*weights)(int64_t count, const T* y, T* dy);
  // weight[r][k] /= the number of differences of size distance[r][k], which share the gradient of the largest
  // one.
  void (*share)(const PairSlopes<T>&, T (*weight)[kPairGroup]);
  void (*slopes)(const PairSlopes<T>&);
};

RANVIER_TABLES(PairKernels, pair_kernels)

// The index in y of the pair (i, 0). That of (i, j) is j more. With of_one pairs with j <= i do not exist.
static inline int64_t pair_row(bool of_one, int64_t n, int64_t i) {
  return of_one ? i * (2 * n - i - 3) / 2 - 1 : i * n;
}

}  // namespace ranvier
