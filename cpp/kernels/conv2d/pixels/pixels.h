// 1x1 convolutions with few channels. Channels are last in memory, so a vector of outputs holds all channels
// of several pixels. For each input channel c a permutation of one vector of x gives every lane x[pixel, c]
// of its own pixel.
//
//   y[pixel, k] = bias[k] + sum over channels c of x[pixel, c] w[k, c]
//
// Chosen: float32, 1x1, stride 1, dense pixels, channels that fit into a vector; and either at most 4 input
// channels, or no more inputs than outputs and at least two pixels in a vector.
//
// Memory: a few vectors. x and y are not copied: the speed of the caches is the limit.
//
// Earns: 1.2 to 2.8 times the speed of pointwise products.
#pragma once
#include "base/carve.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

class Pixels : public PacksNothing {
 public:
  static bool pays(const Correlation<float>& problem);
  Pixels(const Correlation<float>& problem, Carver& carver);
  void run(const Team& team) const;

 private:
  void prepare() const;

  const Correlation<float> p_;
  int64_t in_, out_, together_;  // channels; pixels of a vector
  float *weights_, *lines_;      // (in, lanes); (4, lanes): the bias, and m, a, b of the norm (conv2d.h)
  int32_t* pick_;                // (lanes): where the inputs of a lane's pixel begin in the vector of x
};

// The gradient to the weights of a 1x1 convolution with few channels of dense pixels, float32. Of x and dy,
// the one with more channels is wide and the other narrow. A vector holds channels of wide: a part of a
// pixel's, or those of several pixels. For each channel of narrow, a permutation gives every lane that of its
// own pixel.
//
//   dw[k, c] = sum over pixels of dy[pixel, k] x[pixel, c]
//
// Chosen: as above, where narrow has at most 8 channels and wide as many as a vector holds, or narrow at most
// 2 and wide as many as two vectors hold.
//
// Memory: at most 16 partial sums of dw.
//
// Earns: 1.8 to 11 times the speed of the algorithms in planes/ or of the direct sum.
class PixelWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<float>& call);
  PixelWeight(const Conv2dBackwardWeight<float>& call, Carver& carver);
  void run(const Team& team) const;

 private:
  void accumulate(const OpenTeam& team, int64_t part) const;
  void combine() const;

  Conv2dBackwardWeight<float> c_;
  int64_t in_, out_, pixels_;
  int64_t parts_, chunk_;     // the parts of the pixels; decided by the shapes alone
  float *sums_, *bias_sums_;  // for each part: VectorSums
  float* ones_;               // a vector
};

}  // namespace ranvier
