// conv2d's two algorithms, each thread's results pooled while they are in its caches or registers.
#pragma once
#include "kernels/conv2d/correlate.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

// The direct sum. One panel of output channels and one band of rows at a time goes into a buffer and from
// there into y.
class PooledCorrelator final : Correlator<float> {
 public:
  PooledCorrelator(const Conv2dPoolForward<float>& call, void* workspace, int team);
  size_t workspace_bytes() const { return carver_.used(); }
  void run(const Team& team) const;

 private:
  struct Band {  // of windows: some rows of one image or all rows of several; some columns or all
    int64_t image, images, row, rows, column, columns;
    int64_t windows() const { return images * rows * columns; }
  };
  struct Inner {  // the windows whose values all need the same taps
    Range rows, columns;
    Axis::Class row_class, column_class;
  };
  struct Buffer {
    float* z;
    int64_t row, image;  // elements
  };
  const float* bias_of(int64_t panel) const;
  Inner inner() const;
  Band band(int64_t begin, int64_t end) const;
  void compute(const OpenTeam& team) const;
  void run_band(const OpenTeam& team, const Inner& inner, const Band& band, int64_t panel) const;
  void run_inner(const OpenTeam& team, const Inner& inner, const Band& band, int64_t panel) const;
  void run_buffered(const OpenTeam& team, const Band& band, int64_t panel) const;
  Buffer buffer(const OpenTeam& team, const Band& band) const;
  void fill_buffer(const OpenTeam& team, const Band& band, int64_t panel) const;
  void pool_buffer(const OpenTeam& team, const Band& band, int64_t panel) const;

  Conv2dPoolForward<float> call_;
  int64_t images_of_band_, rows_of_band_;  // at most
  int64_t pixel_, buffer_size_;            // elements
  int64_t most_windows_;                   // that fit into the buffer
  float* buffer_;                          // for each thread
};

// Winograd's tiles of 2 x 2 outputs. Windows of 2 x 2 are tiles, and pooled as such; to others, whole rows of
// windows go through a buffer.
class PooledWinograd final : Winograd {
 public:
  PooledWinograd(const Conv2dPoolForward<float>& call, void* workspace, int team);
  size_t workspace_bytes() const { return carver_.used(); }
  void run(const Team& team) const { Winograd::run(team); }

 private:
  void outputs(const OpenTeam& team, const Block& block) const override;
  void pool_tiles(const Block& block) const;
  void pool_bands(const OpenTeam& team, const Block& block) const;

  Conv2dPoolForward<float> call_;
  int64_t buffer_size_;
  float* buffer_;  // for each thread [band][row][column][channel]
};

}  // namespace ranvier
