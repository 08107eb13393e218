// Depthwise convolutions: each channel of y is computed from one channel of x. Forward and the gradient to
// the input are one computation.
//
//   y[n, k, p, q] = bias[k] + sum over taps (r, s) of x[n, k, h(p, r), w(q, s)] w[k, 0, r, s]
//   h(p, r) = p stride - pad + r dilation, w likewise
//
// Chosen: as many groups as channels of x and of y; for the gradient to the weight also where each channel
// has some outputs. A tile is 8 pixels times a vector of channels: the taps slide over values that are
// loaded once.
//
// Memory: the weights, one vector of channels after another; of dw at most 16 partial sums.
//
// Earns: 2.4 to 10 times the speed of the direct sum.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/depthwise/rows.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

template <class X, class Y>
bool is_depthwise(const Conv2dGeometry& geometry, const X& x, const Y& y) {
  return geometry.groups > 1 && geometry.groups == x.shape[1] && geometry.groups == y.shape[1];
}

// The passes over a row of outputs.
class DepthwiseColumns {
 public:
  // Takes its memory; build() fills it. both_phases: see DepthwiseKernels.
  DepthwiseColumns(const AxisGeometry& geometry, int64_t both_phases, Carver& carver);
  void build() const;
  int64_t count() const { return count_; }
  const DepthwisePass& operator[](int64_t i) const { return passes_[i]; }
  int64_t in_step() const { return g_.transposed ? 1 : g_.stride; }

 private:
  AxisGeometry g_;
  bool both_;  // phases in one pass
  int64_t count_;
  DepthwisePass* passes_;
  DepthwiseTap* taps_;
};

// Channels in vectors, and ranges of them that threads share.
template <class T>
struct DepthwiseBlocks {
  explicit DepthwiseBlocks(int64_t channels);
  int64_t first_channel(int64_t block) const;
  Range chunk(int64_t i, int64_t chunks) const;  // overlapping blocks stay together
  int64_t channels, count, splits;               // splits: the most chunks there may be
};

// Fewer channels than a vector are read from a copy with space after them.
template <class T>
int64_t whole_vectors(int64_t channels) {
  return channels < conv_kernels<T>().lanes ? channels : 0;
}

template <class T>
class Depthwise {
 public:
  Depthwise(const Correlation<T>& problem, Carver& carver, int threads);
  int64_t packed_size() const { return 0; }
  void pack_weights(const OpenTeam&) const {}
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
  T *weights_, *bias_;         // of whole blocks
  DepthwiseRowTap* row_taps_;  // taps along h for each thread
};

// dw and db of one output of each channel: sums over fixed parts of the output rows, combined in order.
template <class T>
class DepthwiseWeight {
 public:
  DepthwiseWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void accumulate_part(const OpenTeam& team, int64_t part, Range blocks) const;
  void combine(const OpenTeam& team) const;

  Conv2dBackwardWeight<T> c_;
  int64_t taps_, parts_;
  DepthwiseBlocks<T> blocks_;
  PixelRows<T> x_, dy_;
  AxisGeometry rows_;
  DepthwiseColumns columns_;
  T *sums_, *bias_sums_;  // [part][block][tap][lanes], [part][block][lanes]
  DepthwiseRowTap* row_taps_;
};

// The taps along h that meet the input in an output row; returns their number.
inline int64_t list_row_taps(const AxisGeometry& rows, int64_t row, int64_t x_stride, int64_t w_stride,
                             DepthwiseRowTap* taps) {
  int64_t count = 0;
  for (int64_t t = 0; t < rows.taps; ++t) {
    const int64_t input = rows.input(row, t);
    if (input >= 0) taps[count++] = {input * x_stride, t * w_stride};
  }
  return count;
}

// Sets what the next output row will be the first to read or write: y_next, or null, and its last rows of x
// beyond those of this row.
template <class T>
void set_next_row(DepthwiseRow<T>& d, const AxisGeometry& rows, int64_t row, int64_t x_stride,
                  const T* y_next) {
  d.y_next = y_next, d.new_rows = 0;
  const auto last_input = [&](int64_t row) {
    int64_t last = -1;
    for (int64_t t = 0; t < rows.taps && row < rows.out; ++t) last = std::max(last, rows.input(row, t));
    return last;
  };
  const int64_t last = last_input(row + 1), count = std::min(last - last_input(row), rows.taps);
  for (int64_t i = 0; i < count && i < 2; ++i) d.x_next[d.new_rows++] = d.x + (last - i) * x_stride;
}

// Whether images come from memory, or from a last cache that many cores share, and are prefetched; smaller
// ones are in a core's own cache.
template <class X, class Y>
bool is_far(const X& x, const Y& y) {
  constexpr int64_t kFar = 4 << 20;
  return (numel(x) + numel(y)) * static_cast<int64_t>(sizeof *x.data) > std::min(caches.l3 / 8, kFar);
}

// Where each channel is a group: its number of outputs, each of which is a depthwise convolution. 0 where
// those do not pay.
template <class T>
int64_t depthwise_outputs(const Conv2dBackwardWeight<T>& c) {
  const int64_t groups = c.geometry.groups, outputs = c.dy.shape[1] / groups;
  if (groups == 1 || groups != c.x.shape[1]) return 0;
  return outputs == 1 || (c.dw.data && 2 * outputs <= conv_kernels<T>().lanes) ? outputs : 0;
}

// dw and db, one output of each channel after another, each with the same workspace.
template <class T>
class DepthwiseWeights {
 public:
  DepthwiseWeights(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads)
      : c_(call), workspace_(carver), threads_(threads) {
    DepthwiseWeight<T>(output(0), carver, threads);
  }
  void run(const Team& team) const {
    for (int64_t j = 0; j < depthwise_outputs(c_); ++j) {
      Carver workspace = workspace_;
      DepthwiseWeight<T>(output(j), workspace, threads_).run(team);
    }
  }

 private:
  // The call of output j of each channel.
  Conv2dBackwardWeight<T> output(int64_t j) const {
    Conv2dBackwardWeight<T> c = c_;
    const auto every = [&, outputs = depthwise_outputs(c_)](auto& v, int d) {
      if (!v.data) return;
      v.data += j * v.strides[d];
      v.shape[d] /= outputs, v.strides[d] *= outputs;
    };
    every(c.dy, 1), every(c.dw, 0), every(c.db, 0);
    return c;
  }

  Conv2dBackwardWeight<T> c_;
  Carver workspace_;
  int threads_;
};

}  // namespace ranvier
