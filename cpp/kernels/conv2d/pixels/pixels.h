// 1x1 convolutions with few channels. Channels are last in memory, so a vector of outputs holds all channels
// of several pixels. For each input channel c, a permutation of a vector of x gives each lane x[pixel, c] for
// the pixel of this lane.
//
//   y[pixel, k] = bias[k] + sum over channels c of x[pixel, c] w[k, c]
//
// Chosen: float32, 1x1, stride 1, dense pixels, channels that fit into a vector; and either at most 4 input
// channels, or no more inputs than outputs and at least two pixels in a vector.
//
// Memory: a few vectors. x and y are not copied, so the speed of the caches is the limit.
//
// Gain: 1.2 to 2.8 times the speed of the matrix products in pointwise/.
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
  int64_t in_, out_;  // channels
  int64_t together_;  // pixels of a vector
  float* weights_;    // (in, lanes)
  float* lines_;      // (4, lanes): the bias, and m, a, b of the norm (conv2d.h)
  int32_t* pick_;     // (lanes): where the inputs of a lane's pixel begin in the vector of x
};

// The gradient to the weights of a 1x1 convolution with few channels of dense pixels, float32. "wide" is the
// one of x and dy that has more channels, "narrow" the other. A vector holds channels of wide: some of one
// pixel, or all of several pixels. For each channel of narrow, a permutation gives each lane this channel of
// the pixel of the lane.
//
//   dw[k, c] = sum over pixels of dy[pixel, k] x[pixel, c]
//
// Chosen: 1x1, stride 1, dense pixels, where narrow has at most 8 channels and wide at most one vector, or
// narrow at most 2 channels and wide at most two vectors.
//
// Memory: at most 16 partial sums of dw.
//
// Gain: 1.8 to 11 times the speed of the algorithms in planes/ or of the direct sum.
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
  int64_t parts_;             // of the pixels; how many is decided by the shapes alone
  int64_t chunk_;             // pixels that are summed for dw, and then for db while they are in L1
  float *sums_, *bias_sums_;  // for each part, in the layout of VectorSums (pixels.cpp)
  float* ones_;               // a vector of ones, to sum dy for db
};

}  // namespace ranvier
