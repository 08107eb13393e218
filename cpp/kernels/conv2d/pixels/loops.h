// The inner loops of 1x1 convolutions with few channels, whose vectors hold several pixels.
#pragma once
#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// The outputs of each pixel, y[k] = activation(norm(bias[k] + sum over c < channels of x[c] * w[c][k])). A
// vector of outputs holds whole pixels: out_step elements from in_step of x. Its lane i reads x[pick[i] + c]
// and w[c * lanes + i], its bias lines[i], and m, a and b of the norm in the next three lines.
struct PixelOutputs {
  const float* x;
  float* y;
  int64_t inputs, outputs;  // elements
  int64_t channels, in_step, out_step;
  const int32_t* pick;
  const float *w, *lines;
  bool norm, relu;
};

// sums[j * lanes + i] += sum over p < pixels, p % together = i / width, of wide[p * wide_step + i % width] *
// narrow[p * narrow_step + first + j], for j < count and lanes i of `together` pixels; other sums up to the
// next of 1, 2 and 4 rows are changed, too. Pixels that are together have no channels besides. narrow_step
// may be 0: the vector at narrow serves all pixels.
struct PixelProducts {
  const float *wide, *narrow;
  int64_t wide_step, narrow_step, pixels;
  int width, together, first, count;  // count <= kMostNarrow
  float* sums;
};

constexpr int kMostNarrow = 4;

struct PixelKernels {
  int lanes;  // 0: the level has none of these
  void (*outputs)(const PixelOutputs&);
  void (*products)(const PixelProducts&);
};

RANVIER_TABLE(PixelKernels, pixel_kernels)

}  // namespace ranvier
