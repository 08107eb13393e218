// Gradients of 1x1 convolutions of stride 1: products of matrices, of (n h w) pixels by channels.
#pragma once
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/layout.h"
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
