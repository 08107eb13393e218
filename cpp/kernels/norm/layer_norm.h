// layer norm: each line of n elements is brought to mean 0 and variance 1; without `centered`, RMS norm,
// which only divides it by its root mean square (mean = 0, var = mean(x^2))
//
//   x, y, dy, dx (m, n), lines contiguous and evenly spaced; weight, bias (n) contiguous, or data null
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
  static constexpr const char* name = "layer_norm_forward";
  bool centered;
  double eps;
  TensorView<const T> x, weight, bias;
  TensorView<T> y;
  TensorView<double> mean, rstd;

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.read(x);
    if (weight.data) v.read(weight);
    if (bias.data) v.read(bias);
    v.write(y), v.write(rstd);
    if (centered) v.write(mean);
  }
};

// With g = dy weight and means over the line: dx = rstd (g - mean(g) - xhat mean(g xhat)), without mean(g)
// where not centered; dweight = sum dy xhat, dbias = sum dy over the lines.
template <class T>
struct LayerNormBackward {
  static constexpr const char* name = "layer_norm_backward";
  bool centered;
  TensorView<const T> dy, x, weight;
  TensorView<const double> mean, rstd;  // of forward
  TensorView<T> dx, dweight, dbias;     // each may have data null

  size_t workspace_bytes(int threads) const;
  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.read(dy), v.read(x), v.read(rstd);
    if (centered) v.read(mean);
    if (weight.data) v.read(weight);
    if (dx.data) v.write(dx);
    if (dweight.data) v.write(dweight);
    if (dbias.data) v.write(dbias);
  }
};

}  // namespace ranvier
