// group norm: each sample's channels, in groups of c / groups, are brought to mean 0 and variance 1
//
//   x, y, dy, dx (n, c, s), s the pixels of an image; of one layout, which `columns` names:
//     columns  channels-last: c contiguous, a sample's s rows evenly spaced
//     else     planes: c s contiguous (also (n, c), with s = 1)
//   weight, bias (c): contiguous, or data null
//   mean, rstd (n, groups) in double: what backward needs
//
// groups = c is instance norm. One sample's groups (its whole columns) are one thread's work: they stay in
// its cache between the measuring and the applying.
#pragma once
#include "kernels/norm/norm.h"

namespace ranvier {

template <class T>
struct GroupNormForward {
  RANVIER_CALL("group_norm_forward", x, weight, bias, y, mean, rstd);
  size_t workspace_bytes(int threads) const;
  bool columns;
  int64_t groups;
  double eps;
  TensorView<const T> x, weight, bias;
  TensorView<T> y;
  TensorView<double> mean, rstd;
};

// With g = dy weight and means over the group's elements:
// dx = rstd (g - mean(g) - xhat mean(g xhat)); dweight = sum dy xhat, dbias = sum dy over n and s.
template <class T>
struct GroupNormBackward {
  RANVIER_CALL("group_norm_backward", dy, x, mean, rstd, weight, dx, dweight, dbias);
  size_t workspace_bytes(int threads) const;
  bool columns;
  int64_t groups;
  TensorView<const T> dy, x, weight;
  TensorView<const double> mean, rstd;  // as forward returned them
  TensorView<T> dx, dweight, dbias;     // each may have data null
};

}  // namespace ranvier
