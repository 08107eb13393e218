// Distances of all pairs of rows, and their gradient:
//
//   forward   y[b, i, j] = the p-norm of x1[b, i] - x2[b, j], for p >= 0; p = 0: how many differ
//   backward  dx = the gradient of x1, or of_second of x2, from dy and y
//
//   x1, dx (.., m, d), x2 (.., n, d), y, dy (.., m, n), all contiguous. of_one: x2 is x1 (n, d), and y and dy
//   (n (n - 1) / 2) have the pairs i < j only, in the order of i, then j.
//
// For p = 0, 1, 2 and infinity a tile of pairs is computed at a time. For other p, and where squares leave
// the range of T, pairs are those of distance.h. A sum over d, or over pairs, is cut at multiples of a fixed
// number.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

enum class PairPower { zero, one, two, largest, other };

constexpr int kPairRows = 4;        // rows of x1 that share each load of x2
constexpr int64_t kPairGroup = 64;  // pairs of a row whose gradients are added first

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
  size_t bytes_of_thread() const {  // gradients of a group's pairs
    return (sizeof(T) * size_t(kPairGroup * dx.shape[dx.ndim - 1]) + 127) / 64 * 64;
  }
  double p;
  bool of_one, of_second;
  TensorView<const T> dy, y, x1, x2;
  TensorView<T> dx;
};

// Rows [begin, end) of x1 with rows [column, column + columns) of x2, columns <= those of the kernels.
template <class T>
struct PairTile {
  const T *x1, *x2;  // the matrices of the batch
  int64_t m, d, begin, end, column, columns;
  PairPower power;  // not other
  bool of_one;      // pairs i < j only
  T* y;             // the distances of the batch
  int64_t n;        // rows of x2
  // The distance of one pair, whose sum of squares is not in the range of T.
  T (*exact)(const T* x1, const T* x2, int64_t d);
};

// to[r] += the sum over `count` rows of x2, one after another, of weight[r][k] slope(x1[r] - x2[k]). The
// slope is the difference for p = 2, else its sign, and 0 where p is infinite and the size not
// distance[r][k].
template <class T>
struct PairSlopes {
  const T* x1[kPairRows];
  const T* x2;
  int64_t d, count;
  PairPower power;  // one, two, largest
  const T (*distance)[kPairGroup], (*weight)[kPairGroup];
  T* to[kPairRows];  // null: not wanted
};

template <class T>
struct PairKernels {
  int columns;
  void (*distances)(const PairTile<T>&);
  // dy /= y for `count` pairs, 0 where y is; false where such a quotient may leave the range of T.
  bool (*weights)(int64_t count, const T* y, T* dy);
  // weight /= how many differences have the size distance[r][k], which share the slope of the largest.
  void (*share)(const PairSlopes<T>&, T (*weight)[kPairGroup]);
  void (*slopes)(const PairSlopes<T>&);
};

RANVIER_TABLES(PairKernels, pair_kernels)

// The place in y of the pair of row i and column 0, from which columns are counted.
static inline int64_t pair_row(bool of_one, int64_t n, int64_t i) {
  return of_one ? i * (2 * n - i - 3) / 2 - 1 : i * n;
}

}  // namespace ranvier
