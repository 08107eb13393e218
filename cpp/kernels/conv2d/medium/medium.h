// Convolutions whose factors are rounded to bfloat16, for rv.set_float32_matmul_precision("medium"): the
// direct sum (direct/direct.h) on pairs, as matmul's in matmul/pairs.h.
//
// Two neighbours along the sum are one element: two channels of x and w in the forward and the gradient to
// the input, two images of x and dy in the gradient to the weights. So each operand has half as many channels
// or images, and the direct sum's plans hold as they are; its tile alone is another one.
//
// Chosen: where the call is medium, the processor has such products, and a group has an even number of at
// least 16 channels to add up and at least 16 outputs (of the weights: channels and outputs).
//
// Memory: a copy of half the size of both operands.
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/direct/weight.h"

namespace ranvier {

class MediumSum : public PacksNothing {
 public:
  static bool pays(const Correlation<float>& p);
  MediumSum(const Correlation<float>& p, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void round_weights(const OpenTeam& team) const;

  const Correlation<float> p_;
  const PixelRows<float> x_;
  float *pairs_x_, *pairs_w_;
  int64_t stride_;  // from one pixel of pairs_x_ to the next
  Correlator<float> sum_;
};

class MediumWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<float>& c);
  MediumWeight(const Conv2dBackwardWeight<float>& c, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  const Conv2dBackwardWeight<float> c_;
  const PixelRows<float> x_, dy_;
  float *pairs_x_, *pairs_dy_;
  WeightGradient<float> weight_, bias_;
};

}  // namespace ranvier
