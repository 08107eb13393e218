// The gradient to the input of a convolution with few pixels: a product of dy with the weights where they
// are, then for each pixel of dx the sum of its taps' columns.
//
//   columns[pixel, c, r, s] = sum over k of dy[pixel, k] w[k, c, r, s]
//   dx[n, c, h, w]          = sum of the columns of the taps (r, s) that the outputs took x[n, c, h, w] with
//
// Chosen: float32, no groups, more than one tap or a stride, 16 channels or more, weights of at most 16 MB,
// and up to some 50 pixels in all images together, at stride 1 with taps other than 3x3 up to 100. Of the
// images up to some 15, fewer of them the more taps and pixels each has (pays).
//
// Memory: the columns, pixels x weights of one output.
//
// Earns: 1.1 to 5 times the speed of the direct sum, most for one image, because packing the weights takes
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
  int64_t column_;      // elements of a pixel's columns: channel by channel, all taps of each
  float* columns_;      // the columns of all pixels of dy
  const float** taps_;  // for each thread: the taps of a pixel of dx
  Matmul<float> product_;
  void* workspace_;
};

}  // namespace ranvier
