// A batch norm by running statistics as one line for each channel, y = (x - m) a + b, in the numbers that
// BatchNormForward computes with:
//
//   m = mean rounded to T,  a = weight / sqrt(var + eps),  b = bias - (mean - m) a
//
// so that a kernel whose result is x can make y before it stores it, to the same bits.
#pragma once
#include <cstddef>

#include "base/views.h"
#include "kernels/norm/norm.h"

namespace ranvier {

template <class T>
Normalize<T> line_of(double mean, double scale, double bias) {
  const T m = T(mean);
  return {m, T(scale), T(bias - (mean - double(m)) * scale)};
}

template <class T>
struct BatchNormScale {
  RANVIER_CALL("batch_norm_scale", mean, var, weight, bias, line);
  TensorView<const T> mean, var, weight, bias;  // (c); weight and bias: or data null
  double eps;
  TensorView<T> line;  // (3, c), C-contiguous: m, a, b
};

}  // namespace ranvier
