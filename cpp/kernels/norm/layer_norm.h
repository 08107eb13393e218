// layer norm: each line of n elements is brought to mean 0 and variance 1; without `centered`, RMS norm,
// which only divides it by its root mean square (mean = 0, var = mean(x^2))
//
//   x, y, dy, dx (m, n), lines contiguous and evenly spaced; weight, bias (n) contiguous, or data null
//   x, weight, bias and y of forward may be halves
//   mean, rstd (m) in double: what backward needs; mean is not there without `centered`
//
// A line's sums run along it in vectors. Sums over lines, for the parameters, are cut into at most
// kLineSegments segments of fixed size, joined in order.
#pragma once
#include "kernels/norm/norm.h"

namespace ranvier {

constexpr int64_t kLineSegments = 16;

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
