// Operands as the micro-kernel of conv2d (ConvTile in direct/tile.h) reads them: PixelRows, images whose
// channels are contiguous, copied where the caller's are not; and Panels, the division of the output channels
// of each group into panels, whose packed weights a tile reads as vectors. Most algorithms in the folders
// here have both as members.
#pragma once
#include "base/carve.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier {

class OpenTeam;

// The base of algorithms whose weights cannot be packed ahead of the call (see Conv2dPack).
struct PacksNothing {
  int64_t packed_size() const { return 0; }
  void pack_weights(const OpenTeam&) const {}
};

// True if all pixels are evenly spaced: x.strides[3] leads from each to the next, also at the ends of rows
// and images.
template <class T>
bool is_joined(const TensorView<T>& x) {
  const int64_t row = x.shape[3] * x.strides[3];
  return (x.shape[2] == 1 || x.strides[2] == row) && (x.shape[0] == 1 || x.strides[0] == x.shape[2] * row);
}

// An image tensor (n, c, h, w) whose channels are contiguous: the memory of the caller, or a copy in the
// workspace. T is float, double, or uint8_t for the places of the maxima of a pool.
template <class T>
class PixelRows {
 public:
  // It copies if channels are not contiguous, or for one of these reasons:
  //   whole_vectors: channels of which whole vectors are read, also past the last one: if this is not a
  //     multiple of a vector. 0: none is read past the last.
  //   spread: many pixels are read again and again: if they share one set of L1.
  //   joined: all pixels are read as one run: if is_joined() is false.
  PixelRows(const TensorView<const T>& x, int64_t whole_vectors, Carver& carver, bool spread = true,
            bool joined = false);
  void copy_share(const OpenTeam& team) const;  // this thread's part of the copy, where there is one
  const T* pixel(int64_t n, int64_t h, int64_t w) const {
    return data + n * stride_n + h * stride_h + w * stride_w;
  }
  const T* data;
  int64_t stride_n, stride_h, stride_w;

 private:
  TensorView<const T> x_;
  T* copy_;
};

// The output channels of each group, divided into panels of a given width, or else of one or two vectors.
// Where may_be_wide, an odd number of vectors is divided into panels of three vectors and at most one of two,
// if that is possible: a panel of one vector would need a load of an input for each product.
template <class T>
struct Panels {
  Panels(int64_t groups, int64_t per_group, int width = 0, bool may_be_wide = false);
  int64_t groups;     // groups of output channels
  int64_t per_group;  // output channels of a group
  int64_t in_group;   // panels of a group
  int64_t wide;       // the first panels of a group, which have `width` columns; the others have rest_width
  int width;          // the columns of a wide panel. The memory of each panel has this width.
  int rest_width;

  int64_t count() const { return groups * in_group; }
  int64_t group(int64_t panel) const { return panel / in_group; }
  int64_t first(int64_t panel) const { return group(panel) * per_group + offset(panel % in_group); }
  int columns(int64_t panel) const {
    const int64_t at = panel % in_group;
    const int64_t left = per_group - offset(at);
    const int64_t most = at < wide ? width : rest_width;
    return static_cast<int>(left < most ? left : most);
  }

 private:
  int64_t offset(int64_t at) const {
    return at < wide ? at * width : wide * width + (at - wide) * rest_width;
  }
};

}  // namespace ranvier
