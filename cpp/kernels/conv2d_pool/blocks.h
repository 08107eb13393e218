// The operands of the gradients of conv2d_pool: blocks of channels (PooledBlocks), and lists of pooled pixels
// (list_pixels()).
//
// x and w are used in blocks of channels, so that the sums for a row of taps fit into registers, and the
// pixels of a region into L1. A pixel of a block has `width` elements. A pooled pixel is a pixel of dy. Its
// window is the pixels of the convolution's output from which max-pooling has taken one, which `where` names.
#pragma once
#include <algorithm>

#include "base/carve.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/operands.h"
#include "kernels/conv2d/share.h"
#include "kernels/conv2d_pool/gradient.h"

namespace ranvier {

// A block of channels, and the layout of a filter (the weights of one output channel) for it: [row of
// taps][segment] [vectors * lanes]. A segment is what is contiguous in the image: a row of taps x channels,
// or one tap if the columns are dilated.
struct PooledBlock {
  int64_t first, channels;
  int64_t width;    // elements of a pixel
  int64_t segment;  // used elements of a segment
  int64_t vectors;  // vectors of a segment
  int64_t filter;   // elements of a filter
};

// The part of a filter that a tile computes: rows of taps x vectors.
struct PooledPart {
  int64_t in_image, in_filter;  // where the part begins, in elements: in the image and in the filter
  int rows, vectors, last;      // last: used lanes of the last vector
};

class PooledBlocks {
 public:
  // width: elements of a pixel in a block, or 0: chosen by the size of the tile.
  PooledBlocks(int64_t channels, const int64_t (&taps)[2], const Conv2dGeometry& geometry, int64_t width = 0);
  int64_t count() const { return count_; }
  PooledBlock operator[](int64_t i) const;
  // The elements of a pixel, and of a filter, in all blocks and in those before block i. All blocks but the
  // last have the size of the first.
  int64_t pixel() const { return before(count_ - 1) + (*this)[count_ - 1].width; }
  int64_t filter() const { return before_filter(count_ - 1) + (*this)[count_ - 1].filter; }
  int64_t before(int64_t i) const { return i * width_; }
  int64_t before_filter(int64_t i) const { return i * (*this)[0].filter; }

  // Calls f(part) for each part of the filters of a block. image_row: elements of a row of the image.
  template <class F>
  void for_each_part(const PooledBlock& block, int64_t image_row, const F& f) const {
    const int64_t row_step = geometry_.dilation[0] * image_row;
    const int64_t filter_row = block.filter / taps_[0];
    const int64_t per_row = segments();
    const int64_t most_rows = rows_of(std::min<int64_t>(block.vectors, kPooledVectors));
    for (int64_t r = 0; r < taps_[0]; r += most_rows)
      for (int64_t s = 0; s < per_row; ++s)
        for (int64_t v = 0; v < block.vectors; v += kPooledVectors) {
          const int64_t vectors = std::min<int64_t>(block.vectors - v, kPooledVectors);
          const int64_t left = block.segment - v * lanes_;
          const int64_t in_last = left >= vectors * lanes_ ? lanes_ : left - (vectors - 1) * lanes_;
          PooledPart part;
          part.in_image = r * row_step + s * geometry_.dilation[1] * block.width + v * lanes_;
          part.in_filter = r * filter_row + (s * block.vectors + v) * lanes_;
          part.rows = static_cast<int>(std::min(most_rows, taps_[0] - r));
          part.vectors = static_cast<int>(vectors);
          part.last = static_cast<int>(in_last);
          f(part);
        }
  }
  // Where a filter has tap (r, s) of the first channel of the block.
  int64_t tap(const PooledBlock& block, int64_t r, int64_t s) const {
    const int64_t step = segments() == 1 ? block.width : block.vectors * lanes_;  // from tap to tap
    return r * (block.filter / taps_[0]) + s * step;
  }

 private:
  int64_t segments() const { return geometry_.dilation[1] == 1 ? 1 : taps_[1]; }
  int64_t rows_of(int64_t vectors) const;  // the rows of taps of a part with this many vectors

  Conv2dGeometry geometry_;
  int64_t channels_, taps_[2], lanes_;
  int64_t width_;  // elements of a pixel in each block but the last
  int64_t count_;
};

// Memory of the same size for each thread. take(carver) takes the arrays of one thread: the constructor calls
// it without memory, for the size, and a thread calls it with of(its index) for its own arrays. The gradients
// of weights and input and their lookup (weight.cpp, input.cpp, lookup.cpp) have one each.
class TeamScratch {
 public:
  TeamScratch() = default;  // until the size is known
  template <class Take>
  TeamScratch(const Take& take, Carver& carver, int threads) {
    Carver one(nullptr);
    take(one);
    bytes_ = static_cast<int64_t>(one.used());
    first_ = carver.take<char>(bytes_ * threads);
  }
  Carver of(int thread) const { return Carver(first_ + thread * bytes_); }

 private:
  int64_t bytes_ = 0;  // of one thread
  char* first_ = nullptr;
};

// A region: some rows and columns of pooled pixels of some images.
struct PooledRegion {
  int64_t image, images, row, rows, column, columns;
  int64_t pixels() const { return images * rows * columns; }
};

// Memory for the lists of PooledPixels (gradient.h), which have an entry for each pixel.
struct PixelLists {
  int64_t *dy_at, *where_at;
  int32_t* corner;

  PixelLists() = default;
  PixelLists(int64_t pixels, Carver& carver)
      : dy_at(carver.take<int64_t>(pixels)),
        where_at(carver.take<int64_t>(pixels)),
        corner(carver.take<int32_t>(pixels)) {}
};

// Lists the pooled pixels of a region. The first window begins at pixel `corner` of an input whose rows are
// row_step and images image_step pixels apart.
PooledPixels list_pixels(const TensorView<const float>& dy, const PixelRows<uint8_t>& where,
                         const Conv2dGeometry& geometry, const int64_t (&window)[2],
                         const PooledRegion& region, int64_t corner, int64_t image_step, int64_t row_step,
                         const PixelLists& lists);

// How many pixels of the input along axis d `pooled` consecutive pooled pixels read.
inline int64_t pooled_reach(const Conv2dGeometry& g, const int64_t (&window)[2], const int64_t (&taps)[2],
                            int d, int64_t pooled) {
  return (pooled * window[d] - 1) * g.stride[d] + (taps[d] - 1) * g.dilation[d] + 1;
}

}  // namespace ranvier
