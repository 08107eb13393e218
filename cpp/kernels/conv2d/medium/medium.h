// Convolutions whose factors are rounded to bfloat16, for rv.set_float32_matmul_precision("medium"): the
// direct sum (direct/direct.h) on pairs. A pair is two numbers of bfloat16 in the place of one float32, which
// the processor multiplies and adds at once, as in kernels/matmul/pairs.h.
//
// A pair is two neighbours along the sum: two channels of x and w in the forward and the gradient to the
// input, two images of x and dy in the gradient to the weights. So each operand has half as many channels or
// images. The direct sum is computed as with float32, except for the inner loop of a tile.
//
// Chosen: where the call has this precision, the processor has these products, and a group has at least 16
// outputs and an even number of at least 16 input channels (which may be odd for the gradient to the
// weights).
//
// Memory: copies of both operands, of half their size.
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/direct/weight.h"

namespace ranvier {

// The forward, or the gradient to the input.
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

// The gradients to weight and bias; the bias is summed in float32.
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
