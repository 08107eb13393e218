// The plan of conv2d_pool's gradients to weight and bias: for each output channel the list of its gradients
// in a region, and for each entry the patch of the input that it came from, times the gradient, added to the
// channel's filter. Partial sums over fixed parts of the regions.
#pragma once
#include "kernels/conv2d_pool/blocks.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

class PooledWeightGradient {
 public:
  PooledWeightGradient(const Conv2dPoolBackwardWeight<float>& call, void* workspace, int team);
  size_t workspace_bytes() const { return carver_.used(); }
  void run(const Team& team) const;

 private:
  // Pooled pixels whose input about fits in L1: a few images, or a rectangle of one.
  struct Region {
    int64_t image, images, row, rows, column, columns;
    int64_t pixels() const { return images * rows * columns; }
  };
  // A region's input: in `x`, or the caller's where that lies on vectors and needs no padding.
  struct Input {
    const float* data;
    int64_t block, image, row;  // pixels
  };
  struct Scratch {  // of a thread
    float* x;       // [block][image][row][column][width], with zeros for the padding
    int64_t *dy_at, *where_at;
    int32_t* corner;  // of each pooled pixel
    PooledLists lists;
  };
  void choose_regions();
  int64_t image_rows(int64_t pooled) const;
  int64_t image_columns(int64_t pooled) const;
  Region region(int64_t i) const;
  Scratch scratch(const OpenTeam& team) const;
  void accumulate(const OpenTeam& team) const;
  void accumulate_part(const OpenTeam& team, int64_t part, Range channels) const;
  bool lies_on_vectors() const;
  Input input(const Region& region, const Scratch& s) const;
  void copy_region(const Region& region, const Scratch& s) const;
  void copy_row(const PooledBlock& block, int64_t image, int64_t y, int64_t x0, int64_t columns,
                float* to) const;
  PooledPixels list_pixels(const Region& region, const Input& x, const Scratch& s) const;
  void add_region(const Input& x, const PooledPixels& pixels, int64_t part, Range channels,
                  const Scratch& s) const;
  void combine(const OpenTeam& team) const;
  float* sums(int64_t part, int64_t block, int64_t k) const;

  Conv2dPoolBackwardWeight<float> c_;
  int64_t out_;  // channels
  PooledBlocks blocks_;
  Carver carver_;
  int64_t images_, rows_, columns_;  // of a region, at most
  int64_t regions_, parts_;          // decided by the shapes alone
  int64_t entries_;                  // of a list, at most
  int64_t image_size_;               // pixels of a region's image
  bool in_place_;
  float *sums_, *bias_sums_;  // [part][block][k][filter], [part][k][lane]
  Scratch scratch_;           // of the first thread; the others' follow
};

}  // namespace ranvier
