// PooledBlocks and list_pixels() (blocks.h): divides channels into blocks so that the sums for a row of taps
// fit into registers, and lists where the pooled pixels of a region are in dy, in `where` and in the input.
#include "kernels/conv2d_pool/blocks.h"

namespace ranvier {
namespace {

// The time of a vector that may cross cache lines, if an aligned one takes 1.
constexpr double kUnaligned = 1.6;

}  // namespace

// Chooses how many channels a block has. If there are few, one block has all of them, without gaps between
// pixels; that takes fewer vectors for a row of taps, although they cross cache lines. Otherwise a block has
// whole vectors, as many as a tile can hold for all taps of a row.
PooledBlocks::PooledBlocks(int64_t channels, const int64_t (&taps)[2], const Conv2dGeometry& geometry,
                           int64_t width)
    : geometry_(geometry), channels_(std::max<int64_t>(channels, 1)), taps_{taps[0], taps[1]} {
  lanes_ = pooled_gradient_kernels().lanes;
  if (width > 0) {
    width_ = width;
    count_ = ceil_div(channels_, width);
    return;
  }
  const int64_t across = segments() == 1 ? taps_[1] : 1;
  const int64_t vectors = ceil_div(channels_, lanes_);
  const double dense = kUnaligned * ceil_div(across * channels_, lanes_);
  if (channels_ % lanes_ != 0 && dense < across * vectors) {  // few channels: pixels without gaps
    width_ = channels_;
    count_ = 1;
    return;
  }
  count_ = ceil_div(vectors, std::max<int64_t>(kPooledVectors / across, 1));
  width_ = ceil_div(vectors, count_) * lanes_;
  count_ = ceil_div(channels_, width_);
}

PooledBlock PooledBlocks::operator[](int64_t i) const {
  PooledBlock b;
  b.first = i * width_;
  b.channels = std::min(width_, channels_ - b.first);
  b.width = width_ < lanes_ || count_ == 1 ? width_ : ceil_div(b.channels, lanes_) * lanes_;
  b.segment = segments() == 1 ? taps_[1] * b.width : b.width;
  b.vectors = ceil_div(b.segment, lanes_);
  b.filter = taps_[0] * segments() * b.vectors * lanes_;
  return b;
}

// How many rows of taps a tile of this many vectors has: the rows are divided as evenly as possible.
int64_t PooledBlocks::rows_of(int64_t vectors) const {
  const int64_t most = std::min<int64_t>(kPooledRows, pooled_gradient_kernels().tile / vectors);
  return ceil_div(taps_[0], ceil_div(taps_[0], most));
}

// Fills lists.dy_at and where_at with the places of the pixels in dy and `where`, and lists.corner with the
// input pixels at which their windows begin.
PooledPixels list_pixels(const TensorView<const float>& dy, const PixelRows<uint8_t>& where,
                         const Conv2dGeometry& g, const int64_t (&window)[2], const PooledRegion& region,
                         int64_t corner, int64_t image_step, int64_t row_step, const PixelLists& lists) {
  int64_t p = 0;
  for (int64_t n = 0; n < region.images; ++n)
    for (int64_t i = 0; i < region.rows; ++i)
      for (int64_t j = 0; j < region.columns; ++j, ++p) {
        const int64_t at[3] = {region.image + n, region.row + i, region.column + j};
        lists.dy_at[p] = at[0] * dy.strides[0] + at[1] * dy.strides[2] + at[2] * dy.strides[3];
        lists.where_at[p] = where.pixel(at[0], at[1], at[2]) - where.data;
        lists.corner[p] = static_cast<int32_t>(
            corner + n * image_step + i * window[0] * g.stride[0] * row_step + j * window[1] * g.stride[1]);
      }
  PooledPixels pixels{};
  pixels.dy = dy.data;
  pixels.dy_at = lists.dy_at;
  pixels.dy_k = dy.strides[1];
  pixels.where = where.data;
  pixels.where_at = lists.where_at;
  pixels.corner = lists.corner;
  pixels.pixels = p;
  pixels.window_columns = static_cast<int>(window[1]);
  pixels.window_elements = static_cast<int>(window[0] * window[1]);
  pixels.row_step = static_cast<int>(g.stride[0] * row_step);
  pixels.column_step = static_cast<int>(g.stride[1]);
  return pixels;
}

}  // namespace ranvier
