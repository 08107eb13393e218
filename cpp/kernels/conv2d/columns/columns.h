// The gradient to the input of a convolution with few pixels, float32: a product of dy with the weights where
// they are, then for each pixel of dx the sum of its taps' columns. Packing the weights would take longer
// than the products.
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

class ColumnsInput {
 public:
  static bool pays(const Conv2dBackwardInput<float>& call);
  ColumnsInput(const Conv2dBackwardInput<float>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void copy_weights(const OpenTeam& team) const;
  void sum_row(int64_t image, int64_t row, const float** taps) const;

  Conv2dBackwardInput<float> c_;
  PixelRows<float> dy_;
  AxisGeometry axes_[2];
  float* weights_;      // a copy where the caller's are not contiguous, or null
  int64_t column_;      // elements of a pixel's columns: channel by channel, all taps of each
  float* columns_;      // of all pixels of dy
  const float** taps_;  // for each thread: the taps of a pixel of dx
  Matmul<float> product_;
  void* workspace_;
};

}  // namespace ranvier
