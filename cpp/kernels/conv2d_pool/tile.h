// The kernels that an ISA level has for the forward pass of conv2d_pool, in addition to those of conv2d, and
// their arguments: they pool sums of a convolution. An offset is the number of an element in its window, row
// by row. float32 only.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// Arguments of `row`, which pools a row of windows from memory: y[i][k] = finish(the maximum over r <
// window[0], s < window[1] of norm(z[r * row + (i * window[1] + s) * pixel + k] + bias[k])), where[i][k] =
// the offset r * window[1] + s of this maximum, for i < windows and k < channels. finish: a ReLU if `relu`.
// Whole vectors of z are readable.
struct PooledRow {
  const float* z;
  int64_t row, pixel;
  int64_t window[2];
  int64_t windows, channels;
  const float* bias;            // or null
  const float* norm = nullptr;  // or null: see ConvTile
  int64_t norm_step = 0;
  bool relu;
  float* y;
  uint8_t* where;  // or null
  int64_t step;    // from window to window in y and in `where`, in elements
};

constexpr int kMaxPooledWindows = kPairedRows / 4;

// Arguments of `tile`: a tile of the direct sum whose rows are the values of windows of 2 x 2, four for each
// window, which are pooled in registers. The maximum of the rows 4 i to 4 i + 3 is stored at c[4 i], its
// offset at where[i]. Rows are in pairs (row_step), and have at most two vectors of columns.
struct PooledTile : ConvTile<float> {
  uint8_t* where[kMaxPooledWindows];  // or all are null
};

// Arguments of `planes`, which pools windows of 2 x 2 from planes, where lanes are pixels. The values of row
// i of windows of channel k are in two rows, from z[k * z_step + 2 i * pitch] on and pitch further. The
// maximum of window j is stored to y[k * step + i * windows + j], its offset to byte k % 4 of where[k / 4 *
// step + i * windows + j]. Whole vectors are written.
struct PooledPlanes {
  const float* z;
  int64_t z_step, pitch;
  int64_t rows, windows, channels;
  const float* norm;  // or null: see ConvTile
  int64_t norm_step;
  float* y;
  uint32_t* where;  // or null
  int64_t step;
};

struct PooledKernels {
  void (*row)(const PooledRow&);
  int windows[2];             // the most windows of a tile of one vector of channels, and of two
  void (*tile)(PooledTile&);  // may lengthen the lists a, c and where
  // y[k] = the maximum of the four outputs of a tile, where[k] (or null) = 2 i + j of the first that equals
  // it.
  void (*winograd_tile)(const WinogradSums&, float* y, uint8_t* where);
  void (*planes)(const PooledPlanes&);  // null where the level has no planes
};

RANVIER_TABLE(PooledKernels, pooled_kernels)

}  // namespace ranvier
