// The inner loops of convolutions with few channels: the lanes of vectors are pixels of a row, and each
// channel has its own plane.
#pragma once
#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// sums[k * step + i] = bias[k] + sum over j < count of x[offsets[j] + i] * w[j * outs + k], for k < outs and
// i < step, which is a whole number of tiles. All vectors of x are readable.
struct PlanarSums {
  const float* x;
  const int64_t* offsets;
  int64_t count;
  const float *w, *bias;
  float* sums;
  int64_t step;
};

// y[places[i] + k] = activation(norm(sums[k * step + i])) for i < pixels, k < channels, in the order of i.
// sums has whole vectors, of a multiple of 8 channels. A pixel's stores may reach into the next pixels, but
// not past the first `dense` ones.
struct PlanarStore {
  float* sums;  // changed
  int64_t step;
  int pixels, channels;
  const int64_t* places;
  float* y;
  const float* norm;  // or null
  int64_t norm_step;
  bool relu;
  int64_t dense;
};

// sums[k * step + j] += sum over images n < images and i < pixels of dy[n * dy_step + k * dy_plane + i] *
// x[n * x_step + offsets[j] + i], for k < outs and j < weight_rows. Whole vectors are read, of dy with zeros
// after the last pixel.
struct PlanarProducts {
  const float *x, *dy;
  const int64_t* offsets;
  int64_t images, x_step, dy_step, dy_plane, pixels;
  int outs;
  float* sums;
  int64_t step;
};

// dst[c * plane + r * pitch + p] = src[r * row_step + p * step + c] for c < channels, r < rows, p < pixels;
// then zeros up to a whole vector. Unless `last`, 8 elements after the first of a pixel may be read in the
// last row, too.
struct PlanarSplit {
  const float* src;
  int64_t row_step, step;
  int channels;
  int64_t rows, pixels;
  bool last;
  float* dst;
  int64_t pitch, plane;
};

// y[i * y_step + j] = activation(norm(bias + sum over rows of taps r and c < count of x[offsets[c] + (i + r)
// * pitch + j] * w[r * count + c])) for i < shared_rows, j < pixels. All vectors of x are readable.
struct PlanarRows {
  const float* x;
  int64_t pitch;
  const int64_t* offsets;  // offsets of the first row of taps
  int64_t count;
  const float* w;
  float bias;
  const float* norm;  // or null
  int64_t norm_step;
  bool relu;
  float* y;
  int64_t y_step, pixels;
};

constexpr int kMaxPlanarOuts = 8, kMaxSharedTaps = 5;

struct PlanarKernels {
  int lanes;                       // 0: the level has none of these
  int outs;                        // the most outputs of `sums`
  int pixels[kMaxPlanarOuts + 1];  // pixels of a tile of `sums`, by the number of outputs
  void (*sums[kMaxPlanarOuts + 1])(const PlanarSums&);
  int weight_outs, weight_rows;  // the most outputs of `products`; its rows
  void (*store)(const PlanarStore&);
  void (*products)(const PlanarProducts&);
  void (*split)(const PlanarSplit&);
  float (*total)(const float* x, int64_t n);            // the sum of n elements, whole vectors
  int shared_rows, shared_pixels;                       // the tile of `rows`
  void (*rows[kMaxSharedTaps + 1])(const PlanarRows&);  // by rows of taps, or null
};

RANVIER_TABLE(PlanarKernels, planar_kernels)

}  // namespace ranvier
