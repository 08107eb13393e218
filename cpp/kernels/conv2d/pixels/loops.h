// The inner loops of 1x1 convolutions with few channels (pixels.h), whose vectors hold several pixels: their
// arguments, and PixelKernels, the functions of an ISA level. To pick is to permute the lanes of a vector.
#pragma once
#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// Computes for each pixel y[k] = activation(norm(bias[k] + sum over c < channels of x[c] * w[c][k])). A
// vector of outputs holds whole pixels: out_step elements of y, computed from in_step elements of x. Lane i
// reads x[pick[i] + c] and w[c * lanes + i]. `lines` has four vectors: the bias, and m, a and b of the norm.
struct PixelOutputs {
  const float* x;
  float* y;
  int64_t inputs, outputs;  // elements
  int64_t channels, in_step, out_step;
  const int32_t* pick;
  const float *w, *lines;
  bool norm, relu;
};

// Adds to sums[j * lanes + i] the sum over pixels p of wide[p * wide_step + i % width] *
// narrow[p * narrow_step + first + j], for j < count and the lanes i < together * width; lane i takes the
// pixels with p % together = i / width. The rows of sums from `count` up to the next of 1, 2 and 4 are
// changed, too. If together > 1, a pixel of `wide` has `width` channels and no others. narrow_step may be 0:
// then the vector at `narrow` serves all pixels.
struct PixelProducts {
  const float *wide, *narrow;
  int64_t wide_step, narrow_step, pixels;
  int width, together, first, count;  // count <= kMostNarrow
  float* sums;
};

constexpr int kMostNarrow = 4;

struct PixelKernels {
  int lanes;  // 0: the level has none of these functions
  void (*outputs)(const PixelOutputs&);
  void (*products)(const PixelProducts&);
};

RANVIER_TABLE(PixelKernels, pixel_kernels)

}  // namespace ranvier
