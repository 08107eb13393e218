// The gradient to the weights of a convolution with few channels, float32: products of planes (planes.h),
// whose lanes are pixels. The planes of dy have zeros between the rows.
//
//   dw[k, c, t] = sum over images and i of dy[k][i] plane[c][i + offset(t)]
//
// Chosen: stride 1, at most 8 inputs, or fewer than a vector, and at most 12 outputs (pays).
//
// Memory: for each thread the planes of a block, and at most 16 partial sums of dw.
//
// Earns: 1.3 to 5 times the speed of the direct sum.
#pragma once
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {

class PlanarWeight {  // the gradient of one group
 public:
  PlanarWeight(const Conv2dBackwardWeight<float>& call, int64_t group, Carver& carver, int threads);
  bool run(const OpenTeam& team) const;  // false where dw is not finite

 private:
  struct Block {  // whole images, or rows of one image
    int64_t image, images, first_row, rows;
  };
  int64_t rows_at_once() const;
  Block block(int64_t index) const;
  void accumulate(const OpenTeam& team, int64_t part, Range units) const;
  void fill(const Block& block, Range outs, float* x, float* dy) const;
  void add_block(const Block& block, Range outs, const float* x, const float* dy, int64_t part) const;
  void combine(const OpenTeam& team) const;

  Conv2dBackwardWeight<float> c_;
  int64_t out_, products_;  // channels; taps x input channels
  PlanarAxis rows_, columns_;
  int64_t rows_at_once_;  // rows of outputs
  Planes planes_;
  int64_t dy_plane_, images_at_once_, blocks_;
  int64_t parts_;             // the parts of the blocks; decided by the shapes alone
  int64_t units_;             // units of output channels, each of as many as a tile has
  int64_t step_;              // the distance of sums
  float *sums_, *bias_sums_;  // (parts, out, step), (parts, out)
  int64_t* offsets_;
  float *x_, *dy_;  // for each thread
};

// All groups, each with the same workspace.
class PlanarWeights {
 public:
  static bool pays(const Conv2dBackwardWeight<float>& call);
  PlanarWeights(const Conv2dBackwardWeight<float>& call, Carver& carver, int threads);
  // False where dw is not finite: an infinity or NaN has met the zeros between the rows, and the sums have to
  // be computed without those.
  bool run(const OpenTeam& team) const;

 private:
  Conv2dBackwardWeight<float> c_;
  int threads_;
  bool exchanges_;
  float* flipped_;  // dw where x and dy exchange their roles
  Carver workspace_;
};

}  // namespace ranvier
