// Depthwise convolutions: each channel of y is computed from one channel of x. The forward and the gradient
// to the input are the same computation (Correlation in direct/direct.h).
//
//   y[n, k, p, q] = bias[k] + sum over taps (r, s) of x[n, k, h(p, r), w(q, s)] w[k, 0, r, s]
//   h(p, r) = p stride - pad + r dilation, and w(q, s) the same along the other axis
//
// A tile is 8 pixels of a row by a vector of channels. Where the taps of a row are neighbours, each vector of
// x is loaded once and multiplied by all taps that meet it (the taps slide over it).
//
// Chosen: as many groups as channels of x and of y. The gradient to the weight also for groups that have at
// most as many inputs as outputs, and at most half a vector of outputs.
//
// Memory: the weights, one vector of channels after another; at most 16 partial sums of dw.
//
// Gain: 2.4 to 10 times the speed of the direct sum.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/depthwise/rows.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

// True if a forward or a gradient to the input is depthwise.
template <class X, class Y>
bool is_depthwise(const Conv2dGeometry& geometry, const X& x, const Y& y) {
  return geometry.groups > 1 && geometry.groups == x.shape[1] && geometry.groups == y.shape[1];
}

// The passes over a row of outputs. A pass computes the outputs that use the same taps. The forward has one
// pass. A gradient to the input of stride s has s passes, one for each phase: the outputs that are s apart.
class DepthwiseColumns {
 public:
  // Takes its memory; build() fills it. both_phases: see DepthwiseKernels.
  DepthwiseColumns(const AxisGeometry& geometry, int64_t both_phases, Carver& carver);
  void build() const;
  int64_t count() const { return count_; }
  const DepthwisePass& operator[](int64_t i) const { return passes_[i]; }
  int64_t in_step() const { return g_.transposed ? 1 : g_.stride; }

 private:
  int64_t passes() const;

  AxisGeometry g_;
  bool both_;  // stride 2: one pass computes both phases
  int64_t count_;
  DepthwisePass* passes_;
  DepthwiseTap* taps_;
};

// The channels, divided into blocks of one vector, and the blocks into chunks, which threads share. If the
// channels are not whole vectors, the last block overlaps the one before.
template <class T>
struct DepthwiseBlocks {
  explicit DepthwiseBlocks(int64_t channels);
  int64_t first_channel(int64_t block) const;
  Range chunk(int64_t i, int64_t chunks) const;  // the blocks of chunk i; overlapping blocks are in one chunk
  int64_t channels, count, splits;               // splits: the most chunks there may be
};

// The argument whole_vectors of PixelRows (operands.h): fewer channels than a vector are read from a copy
// with space after them.
template <class T>
int64_t whole_vectors(int64_t channels) {
  return channels < conv_kernels<T>().lanes ? channels : 0;
}

template <class T>
class Depthwise : public PacksNothing {
 public:
  Depthwise(const Correlation<T>& problem, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void prepare(const OpenTeam& team) const;
  void pack_block(int64_t block) const;
  bool streams() const;
  void compute(const OpenTeam& team) const;

  Correlation<T> p_;
  int64_t taps_;
  DepthwiseBlocks<T> blocks_;
  PixelRows<T> x_;
  AxisGeometry rows_;
  DepthwiseColumns columns_;
  int64_t chunks_;
  T *weights_, *bias_;         // [block][tap][lanes], [block][lanes]
  DepthwiseRowTap* row_taps_;  // for each thread the taps along h of a row
};

// dw and db: sums over fixed parts of the output rows, which are then added in order. Where groups have
// several channels, a vector of outputs is multiplied by one input of each lane's group after another.
template <class T>
class DepthwiseWeight {
 public:
  DepthwiseWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void list_inputs() const;
  void accumulate_part(const OpenTeam& team, int64_t part, Range blocks) const;
  void combine(const OpenTeam& team) const;

  Conv2dBackwardWeight<T> c_;
  int64_t taps_, parts_, in_, out_;  // in_, out_: channels of a group
  DepthwiseBlocks<T> blocks_;        // the blocks of dy
  PixelRows<T> x_, dy_;
  AxisGeometry rows_;
  DepthwiseColumns columns_;
  T *sums_, *bias_sums_;  // [part][block][tap][in][lanes], [part][block][lanes]
  int64_t* x_first_;      // with pick_, for groups of several channels: see DepthwiseWeightRow
  void* pick_;            // or null
  DepthwiseRowTap* row_taps_;
};

// Lists the taps along h that meet the input for an output row; returns their number.
inline int64_t list_row_taps(const AxisGeometry& rows, int64_t row, int64_t x_stride, int64_t w_stride,
                             DepthwiseRowTap* taps) {
  int64_t count = 0;
  for (int64_t t = 0; t < rows.taps; ++t) {
    const int64_t input = rows.input(row, t);
    if (input >= 0) taps[count++] = {input * x_stride, t * w_stride};
  }
  return count;
}

// Sets what is prefetched for the next output row: y_next, or null, and the rows of x that the next row reads
// and this row does not.
template <class T>
void set_next_row(DepthwiseRow<T>& d, const AxisGeometry& rows, int64_t row, int64_t x_stride,
                  const T* y_next) {
  d.y_next = y_next;
  d.new_rows = 0;
  const auto last_input = [&](int64_t row) {
    int64_t last = -1;
    for (int64_t t = 0; t < rows.taps && row < rows.out; ++t) last = std::max(last, rows.input(row, t));
    return last;
  };
  const int64_t last = last_input(row + 1);
  const int64_t count = std::min(last - last_input(row), rows.taps);
  for (int64_t i = 0; i < count && i < 2; ++i) d.x_next[d.new_rows++] = d.x + (last - i) * x_stride;
}

// True if the images are so large that they may come from memory; only then prefetching saves more time than
// it takes. The last cache is shared with other cores and programs, so that what exceeds L2 eight times is
// often not in it. times: a factor of the least size.
template <class X, class Y>
bool is_far(const X& x, const Y& y, int64_t times = 1) {
  constexpr int64_t kFar = 16 << 20;  // bytes; the limit where the caches are larger
  const int64_t bytes = (numel(x) + 2 * numel(y)) * static_cast<int64_t>(sizeof *x.data);  // y is read first
  return bytes > times * std::min({caches.l3 / 2, 8 * caches.l2, kFar});
}

// True if DepthwiseWeight computes the gradient to the weight. For groups of several inputs it takes less
// time than other algorithms only where the taps of a row slide (`slides`).
template <class T>
bool is_depthwise(const Conv2dBackwardWeight<T>& c) {
  const int64_t groups = c.geometry.groups;
  const int64_t in = c.x.shape[1] / groups;
  const int64_t out = c.dy.shape[1] / groups;
  const int64_t lanes = conv_kernels<T>().lanes;
  if (groups == 1 || in == 0) return false;
  const bool picks = depthwise_kernels<T>().picks && in <= out && 2 * out <= lanes;
  const Conv2dGeometry& g = c.geometry;
  const bool slides = sizeof(T) == sizeof(float) && c.taps[1] == 3 && g.stride[1] <= 2 && g.dilation[1] == 1;
  return out == 1 ? in == 1 : picks && (in == 1 || (slides && lanes % out == 0));
}

}  // namespace ranvier
