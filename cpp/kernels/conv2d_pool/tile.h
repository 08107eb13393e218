// The kernels that an ISA level has for conv2d with max-pooling, beside those of conv2d. float32 only.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// y[i][k] = finish(max over r < window[0], s < window[1] of norm(z[r * row + (i * window[1] + s) * pixel + k]
// + bias[k])) and where[i][k] = the offset r * window[1] + s of that maximum; i < windows, k < channels. Of z
// whole vectors are readable.
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
  int64_t step;    // from window to window in y and in `where`
};

constexpr int kMaxPooledWindows = kPairedRows / 4;

// A tile of the direct sum whose rows are the values of windows of 2 x 2, four of each, which are pooled in
// registers: the maximum of rows 4i to 4i + 3 is stored at c[4i], its offset at where[i]. Rows are in pairs
// (row_step), and have at most two vectors of columns.
struct PooledTile : ConvTile<float> {
  uint8_t* where[kMaxPooledWindows];  // or all null
};

// The same for windows of 2 x 2 of planes, whose lanes are pixels. For row i of windows and channel k the
// values are those from z[k * z_step + 2i * pitch] on and those of the next row. Results: y[k * step + i *
// windows + j], and byte k % 4 of where[k / 4 * step + i * windows + j]; whole vectors are written.
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
  int windows[2];             // windows of a tile of one vector of channels, and of two
  void (*tile)(PooledTile&);  // may lengthen its lists of rows
  // y[k] = the maximum of the four outputs of a tile, where[k] (or null) = 2i + j of the first that is it
  void (*winograd_tile)(const WinogradSums&, float* y, uint8_t* where);
  void (*planes)(const PooledPlanes&);  // null where the level has no planes
};

RANVIER_TABLE(PooledKernels, pooled_kernels)

}  // namespace ranvier
