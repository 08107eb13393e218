// The gradient to the weights of a 1x1 convolution with few channels of dense pixels, float32. Vectors hold
// the channels of x or dy, whichever has more, of several pixels where they are few; each lane takes the
// channels of the other tensor, one after another, out of one vector (pixels.h).
//
//   dw[k, c] = sum over pixels of dy[pixel, k] x[pixel, c]
//
// Chosen: as pixels.h, where one side has at most a vector of channels and the other at most 8, or two
// vectors and 2.
//
// Memory: at most 16 partial sums of dw.
//
// Earns: 1.8 to 11 times the speed of planes or of the direct sum.
#pragma once
#include "base/carve.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

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
  int64_t parts_, chunk_;     // of the pixels; decided by the shapes alone
  float *sums_, *bias_sums_;  // for each part: VectorSums
  float* ones_;               // a vector
};

}  // namespace ranvier
