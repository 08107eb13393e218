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
  static constexpr const char* name = "batch_norm_scale";
  TensorView<const T> mean, var, weight, bias;  // (c); weight and bias: or data null
  double eps;
  TensorView<T> line;  // (3, c), C-contiguous: m, a, b

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const { v.read(mean), v.read(var), v.read(weight), v.read(bias), v.write(line); }
};

}  // namespace ranvier
