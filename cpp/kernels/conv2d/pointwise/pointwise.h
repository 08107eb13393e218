// 1x1 convolutions and their gradients as matrix products: x and y are matrices of n h w pixels by channels.
//
//   y = x w^T + bias        dx = dy w        dw = dy^T x
//
// Chosen: 1x1 taps and no groups. At stride 1 wherever pixels are evenly spaced in memory, except results so
// large that the direct sum stores them past the caches (is_bound_by_stores()); dw from 96 input channels on.
// With a stride, dw takes a view of the pixels that the filter reads, which has stride 1; and dx, from 16
// channels on, is computed for these pixels and then spread among zeros (SpreadInput).
//
// Memory: a copy of x or dy if its channels are not contiguous, except planes that a forward or dx with few
// outputs reads as they are (reads_planes()). For SpreadInput, dx of the pixels that the filter reads.
//
// Gain: 1.05 to 2.5 times the speed of the direct sum for the forward and dx, 1.1 to 1.8 times for dw, 1.1
// to 2.3 times for SpreadInput.
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/direct/weight.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

// y (pixels, out) = x (pixels, in) w (in, out): the forward of stride 1, and its gradient to the input.
template <class T>
class Pointwise : public PacksNothing {
 public:
  static bool pays(const Correlation<T>& problem);
  Pointwise(const Correlation<T>& problem, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void copy_weights() const;

  PixelRows<T> x_;
  TensorView<const T> w_;  // (1, in, out): a view of the weights
  T* w_copy_;              // a copy of w_ whose inputs are contiguous, where needed
  Matmul<T> product_;
  void* workspace_;
};

// dx of a 1x1 convolution with a stride: it is first computed for the pixels that the filter reads, a call
// with stride 1 (met_); these pixels are then copied to dx, with zeros between them.
template <class T>
class SpreadInput {
 public:
  static bool pays(const Conv2dBackwardInput<T>& call);
  SpreadInput(const Conv2dBackwardInput<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void spread_row(int64_t image, int64_t row) const;

  Conv2dBackwardInput<T> c_, met_;
  void* workspace_;
};

// dw (k, c) = dy^T (k, pixels) x (pixels, c), and db.
template <class T>
class PointwiseWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<T>& call);
  PointwiseWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  PixelRows<T> dy_, x_;
  Matmul<T> product_;
  void* workspace_;
  bool has_bias_;
  WeightGradient<T> bias_;
};

}  // namespace ranvier
