// A row of pixels in tiles of pixels side by side, which share the inputs that the taps of a row meet: see
// ConvKernels::shared.
#pragma once
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier {

struct SharedRow {
  int64_t rows, tiles, width;  // pixels of a tile, tiles, pixels in all
  bool first, last;            // true if they have a pixel to the left of the class, and one to the right
};

// The division of the pixels of a row into tiles that share inputs; none if it has no rows. A first and a
// last pixel that lack the outermost tap are a class of their own each, and part of these tiles where that
// takes less.
SharedRow shared_row(const Axis& columns);

}  // namespace ranvier
