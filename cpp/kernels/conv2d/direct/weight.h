// The gradients to weight and bias as direct sums, which compute what no other algorithm does.
//
//   dw[k, c, r, s] = sum over images n and pixels (p, q) of dy[n, k, p, q] x[n, c, h(p, r), w(q, s)]
//   db[k]          = sum over images and pixels of dy[n, k, p, q]
//
// That is a matrix product over pixels, (taps x channels) by output channels. x is read where it is. Where
// many tiles read a part of dy's channels, those are copied for them, some rows at a time: pixels far apart
// share few sets of L1.
//
// Memory: at most 16 partial sums of dw, one for each fixed part of the pixels; for each thread the copy.
#pragma once
#include <utility>

#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/operands.h"

namespace ranvier {

// The pixels for which a set of taps is used: output rows [p0, p1) x columns [q0, q1), taps [r0, r1) x
// [s0, s1). Every pixel of the one meets every tap of the other inside the input.
struct WeightJob {
  int64_t p0, p1, q0, q1, r0, r1, s0, s1;
};

// The sums of a panel of output channels are [tap][channel of the group][width]; a row is one (tap, channel).
template <class T>
class WeightGradient {
 public:
  WeightGradient(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Chunk {  // output rows of all images, numbered through
    int64_t part, first_row, last_row;
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
  bool by_tap_;  // tiles hold channels of one tap; else any taps and channels of a region
  int mr_;       // rows of a tile
  bool copies_dy_;
  PixelRows<T> x_, dy_;
  Axis rows_, columns_;
  int64_t tiles_per_tap_;  // where by_tap_
  int64_t parts_;          // the number of parts of the pixels; decided by the shapes alone
  int64_t chunk_rows_;
  int64_t panel_size_;  // elements
  T *sums_, *bias_sums_;
  T* dy_copy_;             // for each thread: rows of a chunk, width channels of each pixel
  ConvSegment* segments_;  // chunk_rows_ for each thread
};

// dw and db, either of which may be null, from the sums of parts, [part][panel][tap][channel][width], and of
// their biases, [part][panel][width].
template <class T>
void combine_parts(const OpenTeam& team, const Panels<T>& panels, int64_t parts, int64_t in, int64_t taps,
                   const T* sums, const T* bias, const TensorView<T>& dw, const TensorView<T>& db);

template <class T>
Conv2dBackwardWeight<T> bias_only(Conv2dBackwardWeight<T> call) {
  call.dw.data = nullptr, call.x.shape[0] = 0;  // x is not read
  return call;
}

// x and dy with their roles exchanged, at stride 1: the sum over outputs of dy[p] x[p + tap - pad] is the sum
// over inputs of x[h] dy[h + tap' - pad'] with tap' = taps - 1 - tap and pad' = (taps - 1) dilation - pad: a
// gradient to weights whose taps are flipped, flipped[g, c, k, taps - 1 - t] = dw[g, k, c, t].
template <class T>
Conv2dBackwardWeight<T> exchanged(Conv2dBackwardWeight<T> call, T* flipped) {
  const int64_t groups = call.geometry.groups, out = call.dy.shape[1] / groups;
  const int64_t r = call.taps[0], s = call.taps[1];
  if (call.dw.data)  // flipped is null while the workspace is sized
    call.dw = {flipped ? flipped : call.dw.data, 4, {call.x.shape[1], out, r, s}, {out * r * s, r * s, s, 1}};
  call.db.data = nullptr;
  std::swap(call.x, call.dy);
  for (int d = 0; d < 2; ++d)
    call.geometry.pad[d] = (call.taps[d] - 1) * call.geometry.dilation[d] - call.geometry.pad[d];
  return call;
}

// dw of the output channels [begin, end) from what exchanged() computed.
template <class T>
void flip_back(const Conv2dBackwardWeight<T>& call, const T* flipped, int64_t begin, int64_t end) {
  const int64_t groups = call.geometry.groups, out = call.dy.shape[1] / groups, in = call.x.shape[1] / groups;
  const int64_t taps = call.taps[0] * call.taps[1];
  for (int64_t k = begin; k < end; ++k)
    for (int64_t c = 0; c < in; ++c) {
      const T* from = flipped + ((k / out * in + c) * out + k % out) * taps;
      T* to = call.dw.data + (k * in + c) * taps;
      for (int64_t t = 0; t < taps; ++t) to[t] = from[taps - 1 - t];
    }
}

// dw with x and dy exchanged, so that the vectors are of input channels.
// Chosen: at stride 1, where the outputs of a group are at most half a vector and its inputs at least a whole
// one: vectors of outputs would be mostly empty. Memory: a second dw.
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
