// The inner loops of convolutions with few channels (planes.h): their arguments, and PlanarKernels, the
// functions of an ISA level. Lanes are pixels of a row, and each channel is in a separate plane. The pixels
// of a plane are numbered row by row, with the padding, `pitch` to a row.
#pragma once
#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// Computes sums[k * step + i] = bias[k] + the sum over j < count of x[offsets[j] + i] * w[j * outs + k], for
// k < outs and pixels i < step, which is a multiple of the pixels of a tile. j is a tap and an input channel;
// outs is the index of the function in PlanarKernels::sums. Whole vectors of x are readable.
struct PlanarSums {
  const float* x;
  const int64_t* offsets;
  int64_t count;
  const float *w, *bias;
  float* sums;
  int64_t step;
};

// Stores y[places[i] + k] = activation(norm(sums[k * step + i])) for i < pixels, k < channels, in the order
// of i. sums has whole vectors, of a multiple of 8 channels. The store of a pixel may also write over the
// next pixels, which are stored later, but only within the first `dense` pixels.
struct PlanarStore {
  float* sums;  // is changed
  int64_t step;
  int pixels, channels;
  const int64_t* places;
  float* y;
  const float* norm;  // or null
  int64_t norm_step;
  bool relu;
  int64_t dense;
};

// Adds to sums[k * step + j] the sum over n < images and i < pixels of dy[n * dy_step + k * dy_plane + i] *
// x[n * x_step + offsets[j] + i], for k < outs and j < weight_rows. Whole vectors are read; dy has zeros
// after the last pixel.
struct PlanarProducts {
  const float *x, *dy;
  const int64_t* offsets;
  int64_t images, x_step, dy_step, dy_plane, pixels;
  int outs;
  float* sums;
  int64_t step;
};

// Copies pixels to planes: dst[c * plane + r * pitch + p] = src[r * row_step + p * step + c] for c <
// channels, r < rows, p < pixels; then zeros up to a whole vector. It reads up to 8 elements of each pixel,
// also where there are fewer channels. last: in the last row this would go beyond the memory, and is avoided.
struct PlanarSplit {
  const float* src;
  int64_t row_step, step;
  int channels;
  int64_t rows, pixels;
  bool last;
  float* dst;
  int64_t pitch, plane;
};

// Computes one output channel for several rows: y[i * y_step + j] = activation(norm(bias + the sum over rows
// of taps r and over c < count of x[offsets[c] + (i + r) * pitch + j] * w[r * count + c])) for i <
// shared_rows, j < pixels. c is an input channel and a tap of a row. Whole vectors of x are readable.
struct PlanarRows {
  const float* x;
  int64_t pitch;
  const int64_t* offsets;  // of the first row of taps
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
  int lanes;                       // 0: the level has none of these functions
  int outs;                        // the most output channels of `sums`
  int pixels[kMaxPlanarOuts + 1];  // the pixels of a tile of `sums`, by the number of output channels
  void (*sums[kMaxPlanarOuts + 1])(const PlanarSums&);  // by the number of output channels
  int weight_outs;                                      // the most outputs of `products`
  int weight_rows;                                      // the rows j of `products`
  void (*store)(const PlanarStore&);
  void (*products)(const PlanarProducts&);
  void (*split)(const PlanarSplit&);
  float (*total)(const float* x, int64_t n);            // the sum of n elements, which are whole vectors
  int shared_rows, shared_pixels;                       // the rows and pixels of a tile of `rows`
  void (*rows[kMaxSharedTaps + 1])(const PlanarRows&);  // by the number of rows of taps; or null
};

RANVIER_TABLE(PlanarKernels, planar_kernels)

}  // namespace ranvier
