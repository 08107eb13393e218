// group norm: the channels of each sample are divided into groups of c / groups, and each group is brought to
// mean 0 and variance 1
//
//   x, y, dy, dx (n, c, s), where s is the number of pixels of an image; all have one layout:
//     columns  channels-last: c contiguous, a sample's s rows evenly spaced
//     else     planes: c s contiguous (also (n, c), with s = 1)
//   weight, bias (c): contiguous, or data null
//   mean, rstd (n, groups) in double, for the backward
//
// groups = c is instance norm. One thread computes a group from the statistics to the result, so that its
// elements stay in the thread's cache.
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
