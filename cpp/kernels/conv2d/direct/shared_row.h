// The division of a row of output pixels into tiles of neighbouring pixels, which share the inputs that the
// taps of a row meet: for SumForm::shared (direct.h) and ConvKernels::shared (tile.h).
#pragma once
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier {

struct SharedRow {
  int64_t rows;      // the pixels of a tile
  int64_t tiles;     // the number of tiles
  int64_t width;     // the pixels of all tiles
  bool first, last;  // true if the tiles include the pixel before the class, and the one after it
};

// Divides the pixels of the class (axis.h) that uses all kSharedTaps taps into tiles. The pixels before and
// after this class lack the outermost tap, and each is a separate class; the tiles include them where that
// takes less time. rows = 0 in the result: there are no such tiles.
SharedRow shared_row(const Axis& columns);

}  // namespace ranvier
