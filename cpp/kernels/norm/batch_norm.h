// batch norm: each channel is brought to mean 0 and variance 1 over the batch and its pixels
//
//   x, y, dy, dx (n, c, s), where s is the number of pixels of an image; all have one layout:
//     columns  channels-last: c contiguous, the n s rows evenly spaced (also (n, c), with s = 1)
//     else     planes: s contiguous
//   mean, rstd (c) in double, for the backward: of this batch if `training`, else of the running statistics
//   running_mean, running_var (c): r += factor (statistic - r); this variance is divided by n s - 1; factor
//     is momentum, or if momentum is negative 1 / batches, which gives the average over all batches
//   batches (1): how many batches there were; raised by one if `training`
//
// Sums over rows are cut into at most kNormSegments segments, whose sums are joined in order.
//
// In compiled steps a following ReLU and max-pool can be part of the call, for dense columns
// (program/fuse_patterns.cpp). The values in between are made a block at a time, which stays in cache, by the
// loops of the activation and conv2d_pool kernels. The bits are the same.
#pragma once
#include <cstddef>

#include "base/views.h"
#include "kernels/norm/norm.h"

namespace ranvier {

constexpr int64_t kNormSegments = 16;  // the most segments of the sums of a channel

// The result of a max-pool over windows that do not overlap, and the offsets of the maxima, which are found
// before the ReLU (as in kernels/conv2d_pool/conv2d_pool.h).
struct NormPool {
  TensorView<float> y;                   // (n, c, oh, ow), dense, channels-last; or data null: no pool
  TensorView<uint8_t> where;             // as y, or data null
  int64_t window[2] = {}, size[2] = {};  // height and width of a window, and of the images x
};

template <class T>
struct BatchNormForward {
  RANVIER_CALL("batch_norm_forward", x, weight, bias, in_place(running_mean, true, training),
               in_place(running_var, true, training), in_place(batches), y, mean, rstd, pool.y, pool.where);
  size_t workspace_bytes(int threads) const;
  bool columns, training;
  double momentum, eps;
  TensorView<const T> x, weight, bias;      // weight, bias: (c), or data null
  TensorView<T> running_mean, running_var;  // if training, both may have data null
  TensorView<int64_t> batches;              // or data null
  TensorView<T> y;                          // with a pool: data null
  TensorView<double> mean, rstd;
  bool relu = false;
  NormPool pool = {};
};

// dweight = sum dy xhat, dbias = sum dy, xhat = (x - mean) rstd;
// dx = weight rstd (dy - (dbias + xhat dweight) / (n s)), without the second term where not training.
template <class T>
struct BatchNormBackward {
  RANVIER_CALL("batch_norm_backward", dy, x, mean, rstd, weight, dx, dweight, dbias);
  size_t workspace_bytes(int threads) const;
  bool columns, training;
  TensorView<const T> dy, x, weight;    // weight: (c), or data null
  TensorView<const double> mean, rstd;  // as forward returned them
  TensorView<T> dx, dweight, dbias;     // each may have data null
};

// A batch norm by running statistics is a linear function for each channel, y = (x - m) a + b. With the same
// numbers that BatchNormForward uses, a kernel whose result is x can compute y before it stores x, with the
// same bits:
//
//   m = mean rounded to T,  a = weight / sqrt(var + eps),  b = bias - (mean - m) a
//
// line_of() returns these numbers from mean, a and bias. BatchNormScale computes them for all channels.
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
