// grid_sample: an image read between its pixels
//
//   forward   y[i, j, k, :] = the pixel of x[i] next to (columns, rows)[i, j, k], or the mean of the four
//   around
//             it, weighted by nearness; pixels outside count as 0. NaN where such a place is NaN.
//   backward  dx, and dcolumns and drows, which are 0 for the next pixel
//
//   x (n, c, h, w) any strides; columns, rows, dcolumns, drows (n, p, q), y, dy (n, p, q, c) and dx (n, h, w,
//   c) contiguous. An image's dx is one thread's work, point after point.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

template <class T>
struct GridSample {
  RANVIER_CALL("grid_sample", x, columns, rows, y);
  bool nearest;
  TensorView<const T> x, columns, rows;
  TensorView<T> y;
};

template <class T>
struct GridSampleBackward {
  RANVIER_CALL("grid_sample_backward", dy, x, columns, rows, dx, dcolumns, drows);
  bool nearest;
  TensorView<const T> dy, x, columns, rows;
  TensorView<T> dx, dcolumns, drows;
};

}  // namespace ranvier
