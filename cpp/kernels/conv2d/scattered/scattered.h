// The gradient to the input where it has few channels: each pixel of dy adds its products with a row of
// taps, all input channels of each, to a row of dx.
//
//   dx[n, c, p stride - pad + r, q stride - pad + s] += sum over k of dy[n, k, p, q] w[k, c, r, s]
//
// A row of taps and its channels lie side by side: together they fill vectors that the few channels alone
// would not. The sums are of an image with its padding, so no tap is left out; the padding is not copied to
// dx. The price: for each row of taps, the sums are read and written once more.
//
// Chosen: float32, from AVX2 on, no groups, 4 images or more whose sums stay in L2, where a cost model
// fitted to measured shapes expects a gain (pays): dy of some 16 channels, and images small beside the
// taps.
//
// Memory: the weights, and the sums of an image for each thread.
//
// Earns: 1.2 to 1.8 times the speed of planes or of the direct sum, as 5x5 taps from 6 to 16 channels on
// 14x14 pixels.
#pragma once
#include "kernels/conv2d/direct/direct.h"

namespace ranvier {

class ScatteredInput {
 public:
  static bool pays(const Conv2dBackwardInput<float>& call, const Correlation<float>& problem);
  ScatteredInput(const Conv2dBackwardInput<float>& call, const Correlation<float>& problem, Carver& carver,
                 int threads);
  void run(const Team& team) const;

 private:
  int64_t padded() const { return (row_ + lanes_ - 1) / lanes_ * lanes_; }  // row_ in whole vectors
  void prepare(const OpenTeam& team) const;
  void pack_outputs(const OpenTeam& team) const;
  void order_pixels() const;
  bool run_image(const OpenTeam& team, int64_t image) const;
  void add_rows(const float* dy, float* sums) const;
  void copy_out(const float* sums, int64_t image) const;

  Conv2dBackwardInput<float> c_;
  int64_t lanes_, out_, taps_[2];  // out_: channels of dy
  int64_t row_;                    // elements of a row of taps
  PixelRows<float> dy_;
  int64_t pixels_;                 // pixels of an image of dy
  int64_t height_, pitch_, size_;  // an image's sums: rows, elements from row to row, elements
  float* weights_;                 // [tap row][panel][out][width]
  int64_t *dy_at_, *sums_at_;      // the places of pixels, ordered to keep the sums of neighbours apart
  float* sums_;                    // for each thread
  int64_t* not_finite_;            // for each thread: whether a sum of its images was infinite or NaN
  int64_t* weight_at_;             // for each thread: where w has the elements of a row of taps
  // Computes all again where a sum is not finite: the zeros at the end of a row's last vector make NaN of an
  // infinity, and their products are added to the sums of the next pixels.
  Correlator<float> direct_;
};

}  // namespace ranvier
