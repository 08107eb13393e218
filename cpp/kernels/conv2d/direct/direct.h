// The direct sum: a convolution, or its gradient to the input, computed by its formula.
//
//   y[n, k, p, q] = bias[k] + sum over taps (r, s) and channels c of x[n, c, h(p, r), w(q, s)] w[k, c, r, s]
//   h(p, r) = p stride - pad + r dilation, and w(q, s) the same along the other axis
//
// The gradient to the input is the same sum on dy, with the taps flipped and the input and output channels of
// the weights exchanged. A panel is the weights of one or more vectors of output channels. A tile, some
// output pixels by the channels of a panel, has its sums in registers; each pixel reads the inputs of its
// taps. No tap is multiplied by the padding.
//
// The forms (SumForm): usually lanes are output channels (`panels`). If a group has at most 4 outputs and its
// inputs fill more lanes, lanes are input channels, added at the end (`dots`). If groups have at most half a
// vector of outputs, a vector holds several groups (`spans`). For groups of up to a vector of outputs, with
// AVX-512, neighbouring pixels share the inputs that the taps of a row meet (`shared`).
//
// Chosen: for all that no other algorithm computes faster.
//
// Memory: the weights in panels; or, if L2 does not hold them, a group of panels for each thread. A copy of x
// if its channels are not contiguous.
//
// Gain: dots 1.8 to 4 times, spans 1.4 to 2.7 times the speed of `panels`.
#pragma once
#include "kernels/conv2d/axis.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/direct/shared_row.h"
#include "kernels/conv2d/operands.h"
#include "kernels/conv2d/share.h"

namespace ranvier {

// What the direct sum and several other algorithms compute: a forward convolution, or its gradient to the
// input.
template <class T>
struct Correlation {
  TensorView<const T> x;     // (n, ci, h, w): x, or dy where transposed
  TensorView<const T> w;     // (k, c / groups, r, s), the caller's
  TensorView<const T> bias;  // (co), or data null
  TensorView<T> y;           // (n, co, p, q), channels contiguous: y, or dx where transposed
  Conv2dGeometry geometry;
  bool transposed;
  bool relu;
  ConvAlgorithms algorithms;
  const T* packed_w = nullptr;  // the weights as pack_weights() of the algorithm writes them; or null
  const T* norm = nullptr;      // (3, co): see conv2d.h; or null
  bool pairs = false;           // elements are pairs of bfloat16, see medium/
  bool pooled = false;          // panels must be those of conv2d_pool, of at most two vectors
  const T* norm_of(int64_t channel) const { return norm ? norm + channel : nullptr; }
  double ns() const {  // on one thread, roughly
    const double taps = static_cast<double>(w.shape[2] * w.shape[3]);
    return kConvNsPerProduct * (sizeof(T) / 4) * numel(y) * (x.shape[1] / geometry.groups) * taps;
  }
  AxisGeometry axis(int d) const {  // 0: rows, 1: columns
    return axis_geometry(geometry, d, y.shape[2 + d], x.shape[2 + d], w.shape[2 + d], transposed);
  }
};

// The correlation of a forward call.
template <class T>
Correlation<T> correlation(const Conv2dForward<T>& c) {
  const bool relu = c.activation == Conv2dActivation::relu;
  return {c.x,  c.w,          c.bias,          c.y,         c.geometry, false,
          relu, c.algorithms, c.packed_w.data, c.norm.data, false,      c.pooled};
}

template <class T>
bool keeps_pixels(const Correlation<T>& p) {
  return p.geometry.keeps_pixels(p.w.shape[2], p.w.shape[3], p.x.shape, p.y.shape);
}

// True if x is channels-last without gaps.
template <class T>
bool is_dense(const TensorView<T>& x) {
  const int64_t* n = x.shape;
  const int64_t* st = x.strides;
  return (n[1] == 1 || st[1] == 1) && (n[3] == 1 || st[3] == n[1]) && (n[2] == 1 || st[2] == n[3] * n[1]) &&
         (n[0] == 1 || st[0] == n[2] * n[3] * n[1]);
}

// A 1x1 filter with a stride reads only some pixels of x: changes x to a view of these, and g to stride 1.
// out: the height and width of the output.
template <class X>
void skip_pixels(int64_t r, int64_t s, const int64_t* out, Conv2dGeometry& g, X& x) {
  if (r != 1 || s != 1 || g.pad[0] != 0 || g.pad[1] != 0) return;
  for (int d = 0; d < 2; ++d) {
    x.shape[2 + d] = std::min(ceil_div(x.shape[2 + d], g.stride[d]), out[d]);
    if (x.shape[2 + d] > 1) x.strides[2 + d] *= g.stride[d];
    g.stride[d] = 1;
  }
}

// True if SumForm::dots takes less time: for groups of `in` input and `out` output channels.
template <class T>
bool prefers_dots(int64_t in, int64_t out, int64_t taps);

// The meaning of the lanes of a vector.
enum class SumForm {
  panels,  // lanes are output channels; the rows of a tile are any pixels
  shared,  // the same, but the rows of a tile are neighbouring pixels, which share inputs
  dots,    // lanes are input channels, added at the end
  spans    // lanes are output channels of several groups
};

// Prepares the operands of a correlation for the micro-kernel, and computes any tiles of output pixels,
// stored where the caller says. The callers are Correlator (below) and conv2d_pool.
template <class T>
class DirectSum {
 public:
  // The output pixels of one class of rows and one of columns, in one block of images.
  struct Region {
    Axis::Class rows, columns;
    int64_t first_image, images;
    int64_t pixels() const { return images * rows.size * columns.size; }
  };
  struct Taps {
    const ConvSegment* segments;
    int64_t count;
    const T* weights;  // packed panels; panel i is at slot(i)
    int64_t chain;     // see ConvTile
  };
  struct Sink {  // where a panel's results go, and how they are finished
    T* y;        // the address of image 0's first pixel
    int64_t stride_n, stride_h, stride_w;
    int columns;
    const T* bias;  // or null
    const T* norm;  // or null
    bool relu, stream;
  };
  // What tiles prefetch: from `begin` elements after their first input on, `step` bytes for each product.
  struct Fetch {
    int64_t begin, step;
  };

  // tiles_alone: the caller computes everything by run_tiles(), and calls pack_group() before if packs_late.
  DirectSum(const Correlation<T>& problem, Carver& carver, int threads, bool tiles_alone = false);
  void prepare(const OpenTeam& team) const;                  // each thread its share; a barrier has to follow
  void pack_weights(const OpenTeam& team) const;             // this thread's share of all panels
  void pack_group(const OpenTeam& team, Range group) const;  // the panels of a group, for this thread alone
  int64_t packed_size() const { return panels.count() * panel_size_; }

  int64_t tiles(const Region& region) const;                    // the number of tiles of a panel
  Taps taps(const OpenTeam& team, const Region& region) const;  // valid until the thread's next call
  void run_tiles(const Region& region, int64_t panel, Range tiles, const Taps& taps, Fetch fetch,
                 const Sink& sink) const;
  const T* weights(const Taps& taps, int64_t panel) const { return taps.weights + slot(panel) * panel_size_; }
  const T* bias(int64_t panel) const { return bias_ ? bias_ + panels.first(panel) : nullptr; }
  const T* norm(int64_t panel) const { return problem.norm_of(panels.first(panel)); }

  const Correlation<T> problem;
  const int64_t in_group, out_group;  // channels of a group
  const SumForm form;
  const int64_t steps;  // products of a tap: one for each channel; with dots, one for each vector of channels
  const Panels<T> panels;
  const int tile_rows;  // the most pixels of a tile
  const PixelRows<T> x;
  const Axis rows, columns;
  int64_t images_at_once, panels_at_once;  // how many are used at a time, to stay in L2
  bool packs_late;                         // each group of panels is packed just before its tiles, into L2

 private:
  // The place of a panel among the packed ones.
  int64_t slot(int64_t panel) const { return packs_late ? panel % panels_at_once : panel; }
  T* packed_by(const OpenTeam& team) const;
  void pack_panel(int64_t panel, T* to) const;
  void pack_panel_by_element(const ConvPanel<T>& p, int64_t panel) const;
  void pick_inputs() const;
  int64_t step_size() const;  // how many packed weights a step has
  int64_t chain() const;
  int64_t segments_of_thread() const;
  int64_t all_taps(const Region& region, ConvSegment* segments) const;
  int64_t row_taps(const Region& region, ConvSegment* segments) const;
  ConvTile<T> tile_of_panel(const Region& region, int64_t panel, const Taps& taps, const Sink& sink) const;
  SharedRow shared_row() const;
  void run_shared(const Region& region, Range tiles, const SharedRow& shared, ConvTile<T>& t, Fetch fetch,
                  const Sink& sink) const;
  int64_t first_input(int64_t panel) const;
  T weight(int64_t out, int64_t channel, int64_t tap) const;

  int64_t taps_[2];
  int64_t panel_size_;     // elements
  T* weights_;             // packed panels
  T* bias_copy_;           // of a bias that is strided
  const T* bias_;          // or null
  void* pick_;             // spans: for each lane of a panel its group's first channel
  ConvSegment* segments_;  // for each thread memory for Taps::segments
};

// Computes the whole output of a correlation, in an order that keeps weights and inputs in the caches.
template <class T>
class Correlator {
 public:
  Correlator(const Correlation<T>& problem, Carver& carver, int threads);
  int64_t packed_size() const { return sum_.packed_size(); }
  void pack_weights(const OpenTeam& team) const { sum_.pack_weights(team); }
  void run(const Team& team) const;

 private:
  using Region = typename DirectSum<T>::Region;
  using Taps = typename DirectSum<T>::Taps;

  bool streams() const;
  void compute(const OpenTeam& team) const;
  void run_share(const OpenTeam& team, Share share, int64_t& packed) const;
  int64_t block_weight(int64_t images) const;
  int64_t tile_weight(const Region& region) const;
  void run_region(const OpenTeam& team, const Region& region, Range panels, Range items) const;
  typename DirectSum<T>::Fetch next_inputs(const Region& region, Range panels, int64_t panel,
                                           const Taps& taps) const;

  DirectSum<T> sum_;
  int64_t chunk_;  // tiles that all panels of a group compute before the next tiles
  bool stream_;    // results are stored past the caches
};

}  // namespace ranvier
