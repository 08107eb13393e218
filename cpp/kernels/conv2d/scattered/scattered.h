// The gradient to an input of few channels: each pixel of dy adds its products with a row of taps, for all
// input channels, to a row of dx.
//
//   dx[n, c, p stride - pad + r, q stride - pad + s] += sum over k of dy[n, k, p, q] w[k, c, r, s]
//
// The taps of a row with their channels are contiguous in the sums: together they fill vectors, which the few
// channels alone would not. The sums are those of an image with its padding, so that no tap is a special
// case; the padding is not copied to dx. The cost is that the sums are read and written once for each row of
// taps.
//
// Chosen: float32, from AVX2 on, no groups, at least 4 images whose sums stay in L2, where a cost model that
// is fitted to measured shapes expects a gain (pays()): about 16 channels of dy, and images that are small
// compared with the taps.
//
// Memory: the weights, and the sums of an image for each thread.
//
// Gain: 1.2 to 1.8 times the speed of planes or of the direct sum, for example with 5x5 taps from 6 to 16
// channels on 14x14 pixels.
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
  int64_t row_;                    // elements of a row of taps: taps x channels of dx
  PixelRows<float> dy_;
  int64_t pixels_;             // pixels of an image of dy
  int64_t height_;             // rows of the sums of an image
  int64_t pitch_;              // elements from one of these rows to the next
  int64_t size_;               // elements of the sums of an image
  float* weights_;             // [row of taps][panel][out][width]
  int64_t *dy_at_, *sums_at_;  // the places of pixels in dy and in the sums, in the order of order_pixels()
  float* sums_;                // for each thread
  int64_t* not_finite_;        // for each thread: 1 if a sum of its images was infinite or NaN
  int64_t* weight_at_;         // for each thread: where w has the elements of a row of taps
  // Computes everything again if a sum is not finite. The zeros at the end of the last vector of a row make
  // NaN of an infinity, and these products are added to the sums of the next pixels.
  Correlator<float> direct_;
};

}  // namespace ranvier
