// The gradients to weight and bias as direct sums, for all calls that no other algorithm computes.
//
//   dw[k, c, r, s] = sum over images n and pixels (p, q) of dy[n, k, p, q] x[n, c, h(p, r), w(q, s)]
//   db[k]          = sum over images and pixels of dy[n, k, p, q]
//
// That is a product of matrices, (taps x channels) by pixels and pixels by output channels. x is read in
// place. Where many tiles read the same channels of dy, these are copied, some rows at a time, because pixels
// that are far apart share few sets of L1.
//
// Memory: at most 16 partial sums of dw, one for each fixed part of the pixels; the copy of dy for each
// thread.
#pragma once
#include <utility>

#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/operands.h"

namespace ranvier {

// Output pixels, rows [p0, p1) x columns [q0, q1), and taps [r0, r1) x [s0, s1): for each of these pixels,
// each of these taps meets the input.
struct WeightJob {
  int64_t p0, p1, q0, q1, r0, r1, s0, s1;
};

// The sums of a panel of output channels are [tap][channel of the group][width]; a row of the sums is one tap
// and channel.
template <class T>
class WeightGradient {
 public:
  WeightGradient(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Chunk {  // output rows, numbered through all images, and the columns of them
    int64_t part, first_row, last_row, first_column, last_column;
    int64_t columns() const { return last_column - first_column; }
  };
  void accumulate_part(const OpenTeam& team, int64_t part, Range units) const;
  void panel_in_chunk(const OpenTeam& team, const Chunk& chunk, int64_t panel, Range units) const;
  void run_job(const OpenTeam& team, const Chunk& chunk, const WeightJob& job, int64_t panel, int64_t first,
               int64_t last) const;
  void copy_dy(const OpenTeam& team, const Chunk& chunk, int64_t panel) const;
  T* copied_by(const OpenTeam& team) const {
    return dy_copy_ + team.index() * chunk_rows_ * c_.dy.shape[3] * panels_.width;
  }
  int64_t list_segments(const Chunk& chunk, const WeightJob& job, ConvSegment* segments,
                        bool copied = false) const;
  void sum_bias(const OpenTeam& team, const Chunk& chunk, int64_t panel) const;
  void combine(const OpenTeam& team) const;

  int64_t units_per_panel() const { return by_tap_ ? taps_ * tiles_per_tap_ : 1; }
  WeightJob job_of_tap(int64_t tap) const;
  WeightJob job_of_region(const Axis::Class& rows, const Axis::Class& columns) const;
  T* sums(int64_t part, int64_t panel) const {
    return sums_ + (part * panels_.count() + panel) * panel_size_;
  }
  T* bias_sums(int64_t part) const { return bias_sums_ + part * panels_.count() * panels_.width; }

  Conv2dBackwardWeight<T> c_;
  int64_t in_group_, out_group_, taps_;
  Panels<T> panels_;
  bool by_tap_;  // the rows of a tile are channels of one tap; else of any taps of a region
  int mr_;       // the most rows of a tile
  bool copies_dy_;
  PixelRows<T> x_, dy_;
  Axis rows_, columns_;
  int64_t tiles_per_tap_;  // where by_tap_
  int64_t parts_;          // the number of parts of the pixels; decided by the shapes alone
  int64_t chunk_rows_;     // output rows of a chunk
  int64_t panel_size_;     // elements of the sums of a panel
  T *sums_, *bias_sums_;   // [part][panel][tap][channel][width], [part][panel][width]
  T* dy_copy_;             // for each thread: the rows of a chunk, `width` channels of each pixel
  int64_t segments_of_thread_;
  ConvSegment* segments_;  // for each thread segments_of_thread_ segments
};

// Computes dw and db, either of which may be null, from the sums of the parts: for dw
// [part][panel][tap][channel][width], for db [part][panel][width].
template <class T>
void combine_parts(const OpenTeam& team, const Panels<T>& panels, int64_t parts, int64_t in, int64_t taps,
                   const T* sums, const T* bias, const TensorView<T>& dw, const TensorView<T>& db);

// The same call for db alone.
template <class T>
Conv2dBackwardWeight<T> bias_only(Conv2dBackwardWeight<T> call) {
  call.dw.data = nullptr;
  call.x.shape[0] = 0;  // x is not read
  return call;
}

// The call with x and dy exchanged, at stride 1. The sum over outputs of dy[p] x[p + tap - pad] is also the
// sum over inputs of x[h] dy[h + tap' - pad'], where tap' = taps - 1 - tap and pad' = (taps - 1) dilation -
// pad. So it is a gradient to weights with flipped taps: flipped[g, c, k, taps - 1 - t] = dw[g, k, c, t].
template <class T>
Conv2dBackwardWeight<T> exchanged(Conv2dBackwardWeight<T> call, T* flipped) {
  const int64_t groups = call.geometry.groups;
  const int64_t out = call.dy.shape[1] / groups;
  const int64_t r = call.taps[0];
  const int64_t s = call.taps[1];
  if (call.dw.data) {
    T* dw = flipped ? flipped : call.dw.data;  // flipped is null while the workspace is sized
    call.dw = {dw, 4, {call.x.shape[1], out, r, s}, {out * r * s, r * s, s, 1}};
  }
  call.db.data = nullptr;
  std::swap(call.x, call.dy);
  for (int d = 0; d < 2; ++d)
    call.geometry.pad[d] = (call.taps[d] - 1) * call.geometry.dilation[d] - call.geometry.pad[d];
  return call;
}

// Sets dw of the output channels [begin, end) from `flipped`, which the exchanged call has computed.
template <class T>
void flip_back(const Conv2dBackwardWeight<T>& call, const T* flipped, int64_t begin, int64_t end) {
  const int64_t groups = call.geometry.groups;
  const int64_t out = call.dy.shape[1] / groups;
  const int64_t in = call.x.shape[1] / groups;
  const int64_t taps = call.taps[0] * call.taps[1];
  for (int64_t k = begin; k < end; ++k)
    for (int64_t c = 0; c < in; ++c) {
      const T* from = flipped + ((k / out * in + c) * out + k % out) * taps;
      T* to = call.dw.data + (k * in + c) * taps;
      for (int64_t t = 0; t < taps; ++t) to[t] = from[taps - 1 - t];
    }
}

// dw by a WeightGradient with x and dy exchanged, so that lanes are input channels.
//
// Chosen: at stride 1, where a group has at most half a vector of outputs, which would leave vectors of
// outputs mostly empty, and at least a whole vector of inputs. Memory: a second dw.
template <class T>
class ExchangedWeight {
 public:
  static bool pays(const Conv2dBackwardWeight<T>& call);
  ExchangedWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  Conv2dBackwardWeight<T> call_;
  T* flipped_;
  WeightGradient<T> exchanged_, bias_;
};

}  // namespace ranvier
