// softmax over one axis: y = exp(x) / sum(exp(x)), or its logarithm, and their gradients from dy and y.
//
//   x, y, dy and dx have the same shape, with at least one dimension, and any strides; y may be x, dx may be
//   dy or y (in place). The forward also takes floats of 16 bits (halves). The maximum of a line (the
//   elements along the axis) is subtracted first, so that nothing overflows. A line is summed in vectors
//   along it, or where lines are side by side in memory, one line in each lane. The order depends on the
//   length of the line and on the layout, not on threads.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/lines.h"
#include "base/views.h"

namespace ranvier {

template <class T>
struct SoftmaxForward {
  RANVIER_CALL("softmax_forward", x, y);
  size_t workspace_bytes(int threads) const;  // only halves need memory
  bool log;
  int axis;
  TensorView<const T> x;
  TensorView<T> y;
};

template <class T>
struct SoftmaxBackward {
  RANVIER_CALL("softmax_backward", dy, y, dx);
  bool log;
  int axis;
  TensorView<const T> dy, y;
  TensorView<T> dx;
};

// `count` lines of n elements.
template <class T>
struct SoftmaxLines {
  int64_t count, n;
  Lines<const T> x, dy;  // the forward reads x; the backward reads dy, and y as `x`
  Lines<T> out;
};

template <class T>
struct SoftmaxKernels {
  using Function = void (*)(const SoftmaxLines<T>&);
  Function forward[2], backward[2];  // [log]
};

RANVIER_TABLES(SoftmaxKernels, softmax_kernels)

}  // namespace ranvier
