// The gradient to the weights of a convolution with few channels, float32: products of planes (planes.h),
// whose lanes are pixels. The planes of dy have zeros between the rows.
#pragma once
#include "kernels/conv2d/planes/planes.h"

namespace ranvier {

class PlanarWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<float>& call);
  PlanarWeight(const Conv2dBackwardWeight<float>& call, int64_t group, Carver& carver, int threads);
  // The workspace of run_groups().
  static void reserve(const Conv2dBackwardWeight<float>& call, Carver& carver, int threads);
  // All groups, each with the same workspace. False where dw is not finite: an infinity or NaN has met the
  // zeros between the rows, and the sums have to be computed without those.
  static bool run_groups(const Conv2dBackwardWeight<float>& call, const Carver& carver, int threads,
                         const OpenTeam& team);

 private:
  static bool run_exchanged(const Conv2dBackwardWeight<float>& call, Carver carver, int threads,
                            const OpenTeam& team);
  bool run(const OpenTeam& team) const;
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
  int64_t rows_at_once_;  // of outputs
  Planes planes_;
  int64_t dy_plane_, images_at_once_, blocks_;
  int64_t parts_;             // of the blocks; decided by the shapes alone
  int64_t units_;             // of output channels, each of as many as a tile has
  int64_t step_;              // of the sums
  float *sums_, *bias_sums_;  // (parts, out, step), (parts, out)
  int64_t* offsets_;
  float *x_, *dy_;  // for each thread
};

}  // namespace ranvier
