// The loops of forward and of the gradient to the input, which are one computation: each output pixel gathers
// taps of input pixels times panels of weights.
#pragma once
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/layout.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

template <class T>
struct Correlation {
  TensorView<const T> x;     // (n, ci, h, w): x, or dy where transposed
  TensorView<const T> w;     // (k, c / groups, r, s), the caller's
  TensorView<const T> bias;  // (co), or data null
  TensorView<T> y;           // (n, co, p, q), channels contiguous: y, or dx where transposed
  Conv2dGeometry geometry;
  bool transposed;
  bool relu;
  const T* packed = nullptr;  // where the weights lie as pack_weights(team) leaves them; or null
  const T* norm = nullptr;    // (3, co): see conv2d.h; or null
  const T* norm_of(int64_t channel) const { return norm ? norm + channel : nullptr; }
};

template <class T>
class Correlator {
 public:
  Correlator(const Correlation<T>& problem, void* workspace, int team);
  size_t workspace_bytes() const { return bytes_; }
  int64_t packed_size() const { return panels_.count() * panel_size_; }
  void pack_weights(const OpenTeam& team) const;  // of each thread of the team: its share
  void run(const Team& team) const;

 protected:
  // The output pixels of one class of rows and one of columns, in one block of images.
  struct Region {
    Axis::Class rows, columns;
    int64_t first_image, images;
    int64_t pixels() const { return images * rows.size * columns.size; }
    int64_t tiles(int mr) const { return ceil_division(pixels(), mr); }
  };
  struct Target {  // where a panel's results go: what image 0's first pixel would have
    T* y;
    int64_t stride_n, stride_h, stride_w;
    int columns;
    const T* bias;  // or null
    const T* norm;  // or null
  };
  struct Fetch {
    int64_t begin, step;  // elements after a tile's first input, bytes
  };
  bool streams(const TensorView<T>& y) const;
  void prepare(const OpenTeam& team) const;
  void pack_panel_by_element(const ConvPanel<T>& p, int64_t panel) const;
  int64_t first_input(int64_t panel) const;
  void pick_inputs() const;
  T weight(int64_t out, int64_t channel, int64_t tap) const;
  void compute(const OpenTeam& team) const;
  int64_t block_weight(int64_t images) const;
  int64_t tile_weight(const Axis::Class& rows, const Axis::Class& columns) const;
  int64_t list_segments(const Region& region, ConvSegment* segments) const;
  void run_region(const OpenTeam& team, const Region& region, Range panels, Range items) const;
  Target target(int64_t panel) const;
  void run_tiles(const Region& region, int64_t panel, Range tiles, const ConvSegment* segments,
                 int64_t segment_count, Fetch fetch, const Target& target) const;
  Fetch next_inputs(const Region& region, Range panels, int64_t panel, const ConvSegment* segments,
                    int64_t count) const;

  Correlation<T> p_;
  bool stream_;
  int64_t images_, taps_[2];
  int64_t in_group_, out_group_;  // channels of a group
  bool dots_;                     // the lanes of vectors are input channels, not output channels
  bool spans_;                    // a vector of output channels spans groups
  int64_t steps_;                 // vectors of a tap, where dots; else its channels
  size_t bytes_;
  Carver carver_;
  Panels<T> panels_;
  int mr_;  // rows of a tile
  PixelRows<T> x_;
  Axis rows_, columns_;
  int64_t block_;          // images worked on together
  int64_t group_, chunk_;  // panels and tiles of which each meets each before the next
  int64_t panel_size_;     // elements
  T *weights_, *bias_;     // panels; bias_ where the caller's is strided
  void* pick_;             // where spans_: for each lane of a panel its group's first channel
  ConvSegment* segments_;  // taps for each thread
};

}  // namespace ranvier
