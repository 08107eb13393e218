// The gradient to the input of a convolution with few pixels: a matrix product of dy with the weights, which
// are read where they are, and then for each pixel of dx a sum over taps.
//
//   columns[pixel, c, r, s] = sum over k of dy[pixel, k] w[k, c, r, s], for the pixels of dy
//   dx[n, c, h, w]          = sum of columns[pixel, c, r, s] over the pixels and taps (r, s) for which the
//                             convolution multiplied x[n, c, h, w] by w[k, c, r, s]
//
// Chosen (pays()): float32, no groups, more than one tap or a stride, at least 16 channels, weights of at
// most 16 MB, and at most about 50 pixels in all images together, or 100 at stride 1 with taps other than
// 3x3. At most about 15 images, fewer with many taps or pixels.
//
// Memory: the columns: for each pixel of dy as many numbers as the weights of one output.
//
// Gain: 1.1 to 5 times the speed of the direct sum, most for one image, because packing the weights takes
// longer than these few products.
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
  int64_t column_;      // elements of the columns of a pixel: [channel][tap]
  float* columns_;      // the columns of all pixels of dy
  const float** taps_;  // memory of each thread for sum_row()
  Matmul<float> product_;
  void* workspace_;
};

}  // namespace ranvier
