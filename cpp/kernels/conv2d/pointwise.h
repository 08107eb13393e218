// Gradients of 1x1 convolutions: products of matrices, of (n h w) pixels by channels.
#pragma once
#include "kernels/conv2d/correlate.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

// dx (pixels, c) = dy (pixels, k) w (k, c), where so few pixels do not pay for packing the weights.
template <class T>
class PointwiseInput {
 public:
  static bool pays(const Conv2dBackwardInput<T>& call);
  PointwiseInput(const Conv2dBackwardInput<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  PixelRows<T> dy_;
  Matmul<T> product_;
  void* workspace_;
};

// y (pixels, 1) = x (pixels, c) w (c, 1): one output channel, dense pixels, float32. The bits are those of
// the direct sum, whose lanes are input channels, too, but whose rows are any pixels.
class PointwiseDots {
 public:
  static bool pays(const Correlation<float>& problem);
  PointwiseDots(const Correlation<float>& problem, Carver& carver, int threads);
  int64_t packed_size() const { return 0; }
  void pack_weights(const OpenTeam&) const {}
  void run(const Team& team) const;

 private:
  Matmul<float> product_;
  void* workspace_;
};

// dx of a 1x1 convolution with a stride: of the pixels that it meets first, as of stride 1, then of all, with
// zeros between.
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

// dw (k, c) = dy^T (k, pixels) x (pixels, c).
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
};

}  // namespace ranvier
