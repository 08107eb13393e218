// The plan of conv2d's gradients to weight and bias: partial sums over fixed parts of the pixels.
#pragma once
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/layout.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

// The pixels for which a set of taps is used: output rows [p0, p1) x columns [q0, q1), taps [r0, r1) x
// [s0, s1). Every pixel of the one meets every tap of the other inside the input.
struct WeightJob {
  int64_t p0, p1, q0, q1, r0, r1, s0, s1;
};

// Per panel of output channels the sums lie as [tap][channel of the group][width]; a row is one (tap,
// channel).
template <class T>
class WeightGradient {
 public:
  WeightGradient(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Chunk;  // output rows of all images, numbered through
  void accumulate_part(const OpenTeam& team, int64_t part, Range units) const;
  void panel_in_chunk(const OpenTeam& team, const Chunk& chunk, int64_t panel, Range units) const;
  void run_job(const OpenTeam& team, const Chunk& chunk, const WeightJob& job, int64_t panel, int64_t first,
               int64_t last) const;
  int64_t list_segments(const Chunk& chunk, const WeightJob& job, ConvSegment* segments) const;
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
  PixelRows<T> x_, dy_;
  Axis rows_, columns_;
  bool by_tap_;            // tiles hold channels of one tap; else any taps and channels of a region
  int64_t tiles_per_tap_;  // where by_tap_
  int64_t parts_;          // of the pixels; decided by the shapes alone
  int64_t chunk_rows_;
  int64_t panel_size_;  // elements
  T *sums_, *bias_sums_;
  ConvSegment* segments_;  // chunk_rows_ for each thread
};

}  // namespace ranvier
