// layer norm: each line of n elements is brought to mean 0 and variance 1. Without `centered` it is RMS norm,
// which divides a line by its root mean square: mean = 0, var = mean(x^2).
//
//   x, y, dy, dx (m, n): each line is contiguous, and lines are evenly spaced
//   weight, bias (n): contiguous, or data null
//   x, weight, bias and y of the forward may be halves (floats of 16 bits).
//   mean, rstd (m) in double, for the backward; mean has no data without `centered`
//
// A line is summed in vectors along it. Sums over lines, for the gradients of parameters, are cut into at
// most kLineSegments segments, whose sums are added in order.
#pragma once
#include "kernels/norm/norm.h"

namespace ranvier {

constexpr int64_t kLineSegments = 16;  // the most segments of lines

template <class T>
struct LayerNormForward {
  RANVIER_CALL("layer_norm_forward", x, weight, bias, y, rstd, mean);
  size_t workspace_bytes(int threads) const;  // only halves need memory
  bool centered;
  double eps;
  TensorView<const T> x, weight, bias;
  TensorView<T> y;
  TensorView<double> mean, rstd;
};

// With g = dy weight and means over the line: dx = rstd (g - mean(g) - xhat mean(g xhat)), without mean(g)
// where not centered; dweight = sum dy xhat, dbias = sum dy over the lines.
template <class T>
struct LayerNormBackward {
  RANVIER_CALL("layer_norm_backward", dy, x, rstd, mean, weight, dx, dweight, dbias);
  size_t workspace_bytes(int threads) const;
  bool centered;
  TensorView<const T> dy, x, weight;
  TensorView<const double> mean, rstd;  // as forward returned them
  TensorView<T> dx, dweight, dbias;     // each may have data null
};

}  // namespace ranvier
