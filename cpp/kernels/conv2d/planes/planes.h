// Convolutions with few channels: lanes are pixels, since vectors of channels would be mostly empty.
//
//   y[k][i] = bias[k] + sum over taps t and channels c of plane[c][i + offset(t)] w[k, c, t]
//
// where i numbers the pixels of a plane. Images are copied, channel by channel, into planes with zeros as
// padding. The rows of a plane follow one another, so that a vector may go on in the next row; the results
// between the rows are dropped. Groups are computed one after another. Infinite weights are left to the
// direct sum, since infinity times the zeros of the padding would be NaN.
//
// Chosen: float32, stride 1, from AVX2 on, at most 8 outputs of at most 32 inputs, or 12 of at most 4;
// without groups where a cost model that is fitted to measured shapes expects a gain: from some 6x6 outputs
// on (is_planar).
//
// Memory: for each thread the planes of a band of rows, which stay in L1.
//
// Gain: 1.4 to 5 times the speed of the direct sum, with the same bits.
#pragma once
#include "base/parallel.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/planes/loops.h"

namespace ranvier {

// One axis of the planes, of a convolution of stride 1: output o and tap t meet at input o + shift(t).
struct PlanarAxis {
  PlanarAxis(const AxisGeometry& geometry);
  int64_t shift(int64_t t) const { return t * dilation - pad; }
  int64_t spread() const { return (taps - 1) * dilation; }

  int64_t out, in, taps, dilation, pad;
};

// The layout of the planes of one band of rows, and the copy into them.
class Planes {
 public:
  Planes(const PlanarAxis& rows, const PlanarAxis& columns, int64_t channels, int64_t most_rows);

  int64_t size() const { return channels * plane + kSpace; }  // elements, with space for whole vectors
  // How many pixels a number of output rows has in this numbering, with those between the rows.
  int64_t flat(int64_t out_rows) const { return (out_rows - 1) * pitch + columns.out; }
  // For each tap and channel the distance of its input from the place of an output pixel: [tap][channel] if
  // channels_fastest, else [channel][tap].
  void list_offsets(bool channels_fastest, int64_t* offsets) const;
  // Copies the inputs of the output rows [first, first + count), with zeros above and below the image. The
  // padding beside the rows is not written and must be zero already.
  void fill(const TensorView<const float>& x, int64_t image, int64_t first, int64_t count, float* to) const;

  // Elements after the last plane. The last tile of a band reads beyond it: at most the pixels of a tile, 4
  // vectors of 16 lanes.
  static constexpr int64_t kSpace = 256;
  PlanarAxis rows, columns;
  int64_t channels, pitch;  // pitch: elements from a row to the next
  int64_t plane;            // elements of a plane
};

// Copies the pixels of some rows and columns to planes, one for each channel. After each row up to a vector
// is overwritten with zeros; only padding or later rows may follow.
void split_pixels(const TensorView<const float>& x, int64_t image, Range rows, Range columns, float* to,
                  int64_t pitch, int64_t plane);

// True if a correlation has so few channels that planes may pay. It does not read the sizes of the images.
template <class T>
bool has_few_channels(const Correlation<T>& problem);
// The same on any ISA level, also those without planes.
template <class T>
bool fits_planes(const Correlation<T>& problem);
// True if the call may use planes, and they pay for the sizes of the images, too.
template <class T>
bool is_planar(const Correlation<T>& problem);
bool all_finite(const TensorView<const float>& w);  // True if w has no infinity or NaN

// The operands of a correlation as planes, and the sums of its output rows, band by band. Used by Planar
// (below) and conv2d_pool.
class PlanarSum {
 public:
  struct Band {  // the output rows [first, first + count) of an image
    int64_t image, first, count;
  };
  PlanarSum(const Correlation<float>& problem, int64_t band_rows, Carver& carver, int threads);
  void prepare() const;  // by one thread; a barrier has to follow
  // Calls f(band, group, first_of_thread) for this thread's share of all bands and groups.
  template <class F>
  void for_my_bands(const OpenTeam& team, const F& f) const {
    const int64_t rows = row_axis.out;
    const int64_t bands = ceil_div(rows, band_rows);
    const int64_t groups = problem.geometry.groups;
    const Range share = even_share(team, problem.y.shape[0] * bands * groups);
    for (int64_t i = share.begin; i < share.end && !interrupted(team); ++i) {
      const int64_t first = i / groups % bands * band_rows;
      f(Band{i / groups / bands, first, std::min(band_rows, rows - first)}, i % groups, i == share.begin);
    }
  }
  // Copies the inputs of a band and group to planes in this thread's memory; returns their address.
  const float* fill(const OpenTeam& team, const Band& band, bool first_of_thread, int64_t group = 0) const;
  // Computes sums[k * step + i] for the pixels at + i of the band, i < step, a multiple of tile(), and all
  // output channels k < outs().
  void sums(const float* inputs, int64_t at, int64_t step, float* sums, int64_t group = 0) const {
    const float* weights = weights_ + group * group_size();
    const float* bias = bias_ + group * outs();
    for (int64_t k = 0; k < outs(); k += block_outs_)
      kernels.sums[block_outs_](
          {inputs + at, offsets_, in_ * taps_, weights + k * in_ * taps_, bias + k, sums + k * step, step});
  }
  // Computes the rows of a band completely by PlanarKernels::rows, from the first pixel of the band, y, on.
  // Returns false if that is not possible: it needs one output channel, dense rows of y, and taps for which
  // there is code.
  bool rows(const float* inputs, const Band& band, float* y) const;
  int64_t flat(int64_t out_rows) const { return planes.flat(out_rows); }
  int64_t tile() const { return tile_; }                  // the pixels of a tile
  int64_t outs() const { return blocks_ * block_outs_; }  // output channels of a group, in whole blocks
  int64_t out_group() const { return out_; }              // output channels of a group

  const PlanarKernels& kernels;
  const Correlation<float> problem;
  const PlanarAxis row_axis, column_axis;
  const int64_t band_rows;
  const Planes planes;

 private:
  void pack_group(int64_t group) const;
  int64_t group_size() const { return in_ * outs() * taps_; }  // packed weights of a group

  int64_t in_, out_;  // channels of a group
  int64_t taps_;
  int64_t blocks_;      // of output channels
  int64_t block_outs_;  // channels of a block
  int64_t tile_;
  float *weights_, *bias_;  // of all groups: see pack_group()
  int64_t* offsets_;        // see Planes::list_offsets()
  float* inputs_;           // planes, for each thread
};

// The number of rows of a band: as many as fit into L1 with their inputs and `out_bytes` bytes of results for
// each row; or fewer, if some threads would have no band. A multiple of `unit` rows, at least `least` units
// if possible.
int64_t planar_rows(const Correlation<float>& problem, int threads, int64_t unit, int64_t least,
                    int64_t out_bytes);
// Fills places[row * pitch + i] with the place in y of pixel i of a row. Between two rows it is the place of
// the first pixel of the next row, which is overwritten when that is stored.
void list_planar_places(const int64_t* strides, int64_t rows, int64_t columns, int64_t pitch,
                        int64_t* places);

// The algorithm: a forward, or a gradient to the input, by planes.
class Planar : public PacksNothing {
 public:
  Planar(const Correlation<float>& problem, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  int64_t sums_size() const;  // elements of the sums of a thread
  void run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread, int64_t group) const;

  PlanarSum sum_;
  float* sums_;               // for each thread: PlanarSum::sums()
  int64_t* places_;           // see list_planar_places()
  Correlator<float> direct_;  // for weights that are not finite
};

}  // namespace ranvier
