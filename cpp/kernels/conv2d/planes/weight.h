// The gradient to the weights of a convolution with few channels, in float32.
//
//   x (images, in, h, w), dy (images, out, oh, ow) -> dw[k, c, t] = sum over images and output pixels i of
//                                                     dy[k][i] plane[c][i + offset(t)]
//
// k: output channel, c: input channel, t: tap. x and dy are copied channel by channel into planes (planes.h),
// so that the lanes of a vector are pixels. In a plane i is one index over all pixels, row after row;
// offset(t) is the distance of tap t from the output pixel. The planes of dy have zeros between their rows,
// so that the pixels there add nothing.
//
// The images are divided into blocks whose planes stay in L1, and the blocks into parts. Each part has its
// own sums; they are added at the end, in the same order for any number of threads.
//
// Chosen: stride 1, at most 8 inputs, or fewer than a vector, and at most 12 outputs (pays).
//
// Memory: for each thread the planes of a block, and at most 16 partial sums of dw (one for each part).
//
// Gain: 1.3 to 5 times the speed of the direct sum.
#pragma once
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {

// The gradient of one group.
class PlanarWeight {
 public:
  PlanarWeight(const Conv2dBackwardWeight<float>& call, int64_t group, Carver& carver, int threads);
  bool run(const OpenTeam& team) const;  // false if dw is not finite

 private:
  struct Block {  // images [image, image + images), output rows [first_row, first_row + rows) of each
    int64_t image, images, first_row, rows;
  };
  int64_t rows_at_once() const;
  Block block(int64_t index) const;
  void accumulate(const OpenTeam& team, int64_t part, Range units) const;
  // Copies a block of the images, and its output channels `outs`, to the planes x and dy.
  void fill(const Block& block, Range outs, float* x, float* dy) const;
  void add_block(const Block& block, Range outs, const float* x, const float* dy, int64_t part) const;
  void combine(const OpenTeam& team) const;

  Conv2dBackwardWeight<float> c_;
  int64_t out_;       // output channels
  int64_t products_;  // input channels x taps: elements of dw for an output channel
  PlanarAxis rows_, columns_;
  int64_t rows_at_once_;  // the output rows of a block
  Planes planes_;
  int64_t dy_plane_;          // elements of a plane of dy
  int64_t images_at_once_;    // images of a block
  int64_t blocks_;            // how many blocks there are
  int64_t parts_;             // the number of parts; decided by the shapes alone
  int64_t units_;             // groups of output channels, each as large as a tile of the kernel
  int64_t step_;              // products_, rounded up to the rows of a tile
  float *sums_, *bias_sums_;  // partial sums of dw (parts, out, step) and of db (parts, out)
  int64_t* offsets_;          // (step): for each input channel and tap, its offset in the planes of x
  float *x_, *dy_;            // the planes of each thread
};

// All groups, one after another in the same workspace.
class PlanarWeights {
 public:
  static bool pays(const Conv2dBackwardWeight<float>& call);
  PlanarWeights(const Conv2dBackwardWeight<float>& call, Carver& carver, int threads);
  // False if dw is not finite: an infinity or NaN of x may have been multiplied by the zeros between the rows
  // of dy. The caller then computes dw with the direct sum, which has no such zeros.
  bool run(const OpenTeam& team) const;

 private:
  Conv2dBackwardWeight<float> c_;
  int threads_;
  bool exchanges_;
  float* flipped_;  // dw with the taps reversed, if x and dy exchange their roles (weight.cpp)
  Carver workspace_;
};

}  // namespace ranvier
