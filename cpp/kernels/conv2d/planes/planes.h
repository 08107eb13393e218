// Convolutions with few channels: the lanes of vectors are pixels, where vectors of channels would be
// mostly empty.
//
//   y[k][i] = bias[k] + sum over taps t and channels c of plane[c][i + offset(t)] w[k, c, t]
//
// Images are copied, channel by channel, into planes with zeros as padding. The rows of a plane follow one
// another, so that a vector continues in the next row; what it computes between the rows is dropped. Groups
// are computed one after another. Infinite weights are left to the direct sum, since they must not meet the
// zeros.
//
// Chosen: float32, stride 1, from AVX2 on, at most 8 outputs of at most 32 inputs, or 12 of at most 4;
// without groups where a cost model that is fitted to measured shapes expects a gain: from some 6x6 outputs
// on (is_planar).
//
// Memory: for each thread the planes of a band of rows, which stay in L1.
//
// Earns: 1.4 to 5 times the speed of the direct sum, whose bits it has.
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

class Planes {
 public:
  Planes(const PlanarAxis& rows, const PlanarAxis& columns, int64_t channels, int64_t most_rows);

  int64_t size() const { return channels * plane + kSpace; }  // elements, with space for vectors
  int64_t flat(int64_t out_rows) const { return (out_rows - 1) * pitch + columns.out; }  // pixels of outputs
  // For each tap and channel: its place, from the place of a pixel. Channels run fastest, or taps.
  void list_offsets(bool channels_fastest, int64_t* offsets) const;
  // The inputs of output rows [first, first + count), and zeros above and below the image. The padding beside
  // the rows is not written: it has to be zero before.
  void fill(const TensorView<const float>& x, int64_t image, int64_t first, int64_t count, float* to) const;

  static constexpr int64_t kSpace = 256;
  PlanarAxis rows, columns;
  int64_t channels, pitch;
  int64_t plane;  // elements
};

// The pixels of some rows and columns, to one plane for each channel. What follows a row is overwritten, up
// to a vector: it has to be zero, or a later row.
void split_pixels(const TensorView<const float>& x, int64_t image, Range rows, Range columns, float* to,
                  int64_t pitch, int64_t plane);

// True if the lanes of a correlation are pixels, and not channels: from all but the sizes of the images.
template <class T>
bool has_few_channels(const Correlation<T>& problem);
template <class T>
bool is_planar(const Correlation<T>& problem);  // and planes may be used, and pay by the sizes of the images
bool all_finite(const TensorView<const float>& w);

// The operands of a correlation as planes, and the sums of bands of its output rows.
class PlanarSum {
 public:
  struct Band {
    int64_t image, first, count;  // output rows
  };
  PlanarSum(const Correlation<float>& problem, int64_t band_rows, Carver& carver, int threads);
  void prepare() const;  // by one thread; a barrier has to follow
  // f(band, group, first_of_thread) for this thread's share of all bands and groups.
  template <class F>
  void for_my_bands(const OpenTeam& team, const F& f) const {
    const int64_t rows = row_axis.out, bands = ceil_div(rows, band_rows), groups = problem.geometry.groups;
    const Range share = even_share(team, problem.y.shape[0] * bands * groups);
    for (int64_t i = share.begin; i < share.end && !interrupted(team); ++i) {
      const int64_t first = i / groups % bands * band_rows;
      f(Band{i / groups / bands, first, std::min(band_rows, rows - first)}, i % groups, i == share.begin);
    }
  }
  // Copies a group's inputs of a band, for the thread's sums; their place.
  const float* fill(const OpenTeam& team, const Band& band, bool first_of_thread, int64_t group = 0) const;
  // sums[k * step + i] of pixel at + i of the band for i < step, a multiple of tile(). All blocks of outputs.
  void sums(const float* inputs, int64_t at, int64_t step, float* sums, int64_t group = 0) const {
    const float *weights = weights_ + group * group_size(), *bias = bias_ + group * outs();
    for (int64_t k = 0; k < outs(); k += block_outs_)
      kernels.sums[block_outs_](
          {inputs + at, offsets_, in_ * taps_, weights + k * in_ * taps_, bias + k, sums + k * step, step});
  }
  // Computes one output channel from the band's first pixel on; false where its rows are not dense.
  bool rows(const float* inputs, const Band& band, float* y) const;
  int64_t flat(int64_t out_rows) const { return planes.flat(out_rows); }
  int64_t tile() const { return tile_; }                  // pixels
  int64_t outs() const { return blocks_ * block_outs_; }  // a group's, with those that make up a whole block
  int64_t out_group() const { return out_; }

  const PlanarKernels& kernels;
  const Correlation<float> problem;
  const PlanarAxis row_axis, column_axis;
  const int64_t band_rows;
  const Planes planes;

 private:
  void pack_group(int64_t group) const;
  int64_t group_size() const { return in_ * outs() * taps_; }  // weights

  int64_t in_, out_, taps_;      // channels of a group
  int64_t blocks_, block_outs_;  // blocks of output channels; channels of a block
  int64_t tile_;
  float *weights_, *bias_;
  int64_t* offsets_;
  float* inputs_;  // for each thread
};

// Rows of a band: as many as fit into L1 with their inputs and, where they stay there, `out_bytes` of results
// for each; or fewer, where threads would have none. Whole units of rows, `least` of them if possible.
int64_t planar_rows(const Correlation<float>& problem, int threads, int64_t unit, int64_t least,
                    int64_t out_bytes);
// places[row * pitch + i]: the place of pixel i of a row in y, or, between two rows, that of the next row's
// first pixel, which is stored later.
void list_planar_places(const int64_t* strides, int64_t rows, int64_t columns, int64_t pitch,
                        int64_t* places);

class Planar : public PacksNothing {
 public:
  Planar(const Correlation<float>& problem, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  int64_t sums_size() const;  // elements, of a thread
  void run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread, int64_t group) const;

  PlanarSum sum_;
  float* sums_;  // for each thread
  int64_t* places_;
  Correlator<float> direct_;  // for infinite weights, which must not meet the zeros of the padding
};

}  // namespace ranvier
