// scan: running sums, products and extremes along one axis, and the gradient of running products
//
//   scan              y[i] = x[0] op ... op x[i], or x[i] op ... op x[n - 1] where reverse is set
//   product_backward  dx[i] = sum over j >= i of dy[j] * (product over k <= j, k != i, of x[k])
//                           = before[i] * after[i], with before[0] = 1, before[i] = before[i - 1] * x[i - 1],
//                                                   after[n - 1] = dy[n - 1],
//                                                   after[i] = dy[i] + x[i + 1] * after[i + 1]:
//                     There is no division, so zeros in x are right. If dy has length 1 along the axis, it
//                     belongs to y[n - 1], and dy of all other elements is 0: dx is the gradient of the
//                     product of the line.
//   running_extreme   y[i] = the greatest (or least) of x[0] ... x[i], index[i] = its place, the last one of
//                     equal elements; a NaN is more extreme than any number
//
//   All tensors have the same shape, with at least one dimension, and any strides. The elements of a line
//   (those along the axis) are joined one after another, or if they are contiguous a vector at a time with a
//   fixed tree inside the vector. The order depends on the length of the line and on the layout alone. Sums
//   and products are running in double.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/lines.h"
#include "base/views.h"

namespace ranvier {

enum class ScanOp { sum, product, count };

template <class T>
struct Scan {
  RANVIER_CALL("scan", x, y);
  ScanOp op;
  bool reverse;
  int axis;
  TensorView<const T> x;
  TensorView<T> y;
};

template <class T>
struct ProductBackward {
  RANVIER_CALL("product_backward", dy, x, dx);
  int axis;
  TensorView<const T> dy, x;
  TensorView<T> dx;
};

template <class T>
struct RunningExtreme {
  RANVIER_CALL("running_extreme", x, y, index);
  bool greatest;
  int axis;
  TensorView<const T> x;
  TensorView<T> y;
  TensorView<int64_t> index;
};

// `count` lines of n elements. scan reads x; product_backward reads x and dy.
template <class T>
struct ScanLines {
  const Team* team;  // for interrupted()
  int64_t count, n;
  Lines<const T> x, dy;
  bool only_last;  // dy has only the last element of each line
  Lines<T> out;
};

template <class T>
struct ScanKernels {
  using Function = void (*)(const ScanLines<T>&);
  Function scan[static_cast<int>(ScanOp::count)][2];  // [op][reverse]
  Function product_backward;
};

RANVIER_TABLES(ScanKernels, scan_kernels)

}  // namespace ranvier
