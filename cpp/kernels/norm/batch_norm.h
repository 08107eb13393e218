// batch norm: each channel is brought to mean 0 and variance 1 over the batch and its pixels
//
//   x, y, dy, dx (n, c, s), s the pixels of an image; of one layout, which `columns` names:
//     columns  channels-last: c contiguous, the n s rows evenly spaced (also (n, c), with s = 1)
//     else     planes: s contiguous
//   mean, rstd (c) in double, for backward: of this batch when training, else of the running statistics
//   running_mean, running_var (c): r += factor (statistic - r), var being the unbiased one (n s - 1)
//   batches (1): counted up by one; where momentum is negative, factor = 1 / batches, the average of all
//
// Sums over rows are cut into at most kNormSegments segments of fixed size, joined in order.
//
// For compiled steps, and dense columns only, the ReLU and the max-pool that follow are a part of the call:
// the values between them are made a block at a time, in the caches, by the kernels of those kernel families.
// The bits are the same.
#pragma once
#include <cstddef>

#include "base/views.h"
#include "kernels/norm/norm.h"

namespace ranvier {

constexpr int64_t kNormSegments = 16;

// y of a max-pool over windows that do not overlap, and `where` as in conv2d_pool.h: found before the
// ReLU.
struct NormPool {
  TensorView<float> y;                   // (n, c, oh, ow), dense, channels-last; or data null: no pool
  TensorView<uint8_t> where;             // as y, or data null
  int64_t window[2] = {}, size[2] = {};  // size: h, w of x
};

template <class T>
struct BatchNormForward {
  RANVIER_CALL("batch_norm_forward", x, weight, bias, in_place(running_mean, true, training),
               in_place(running_var, true, training), in_place(batches), y, mean, rstd, pool.y, pool.where);
  size_t workspace_bytes(int threads) const;
  bool columns, training;
  double momentum, eps;
  TensorView<const T> x, weight, bias;      // weight, bias: (c), or data null
  TensorView<T> running_mean, running_var;  // training: both or neither; else both
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

// A batch norm by running statistics as one line for each channel, y = (x - m) a + b, in the numbers that
// BatchNormForward computes with:
//
//   m = mean rounded to T,  a = weight / sqrt(var + eps),  b = bias - (mean - m) a
//
// so that a kernel whose result is x can make y before it stores it, to the same bits.

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
