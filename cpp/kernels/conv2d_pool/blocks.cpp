#include "kernels/conv2d_pool/blocks.h"

namespace ranvier {
namespace {

// A vector that lies across two cache lines takes as long as nearly two.
constexpr double kUnaligned = 1.6;

}  // namespace

PooledBlocks::PooledBlocks(int64_t channels, const int64_t (&taps)[2], const Conv2dGeometry& geometry,
                           int64_t width)
    : geometry_(geometry), channels_(std::max<int64_t>(channels, 1)), taps_{taps[0], taps[1]} {
  lanes_ = RANVIER_SELECT(pooled_gradient_kernels).lanes;
  if (width > 0) {
    width_ = width, count_ = ceil_division(channels_, width);
    return;
  }
  const int64_t across = segments() == 1 ? taps_[1] : 1, vectors = ceil_division(channels_, lanes_);
  const double dense = kUnaligned * ceil_division(across * channels_, lanes_);
  if (channels_ % lanes_ != 0 && dense < across * vectors) {  // few channels: pixels without gaps
    width_ = channels_, count_ = 1;
    return;
  }
  count_ = ceil_division(vectors, std::max<int64_t>(kPooledVectors / across, 1));
  width_ = ceil_division(vectors, count_) * lanes_;
  count_ = ceil_division(channels_, width_);
}

PooledBlock PooledBlocks::operator[](int64_t i) const {
  PooledBlock b;
  b.first = i * width_;
  b.channels = std::min(width_, channels_ - b.first);
  b.width = width_ < lanes_ || count_ == 1 ? width_ : ceil_division(b.channels, lanes_) * lanes_;
  b.segment = segments() == 1 ? taps_[1] * b.width : b.width;
  b.vectors = ceil_division(b.segment, lanes_);
  b.filter = taps_[0] * segments() * b.vectors * lanes_;
  return b;
}

// Of so many vectors, rows of taps that a tile holds: as even as they go.
int64_t PooledBlocks::rows_of(int64_t vectors) const {
  const int64_t most = std::min<int64_t>(kPooledRows, RANVIER_SELECT(pooled_gradient_kernels).tile / vectors);
  return ceil_division(taps_[0], ceil_division(taps_[0], most));
}

}  // namespace ranvier
