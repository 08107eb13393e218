// What conv2d fused with max-pooling asks of an ISA level, beside conv2d's and Winograd's own. float32 only.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

// y[i][k] = finish(max over r < window[0], s < window[1] of z[r * row + (i * window[1] + s) * pixel + k] +
// bias[k]) and where[i][k] = the offset r * window[1] + s of that maximum; i < windows, k < channels. Of z
// whole vectors are readable.
struct PooledRow {
  const float* z;
  int64_t row, pixel;
  int64_t window[2];
  int64_t windows, channels;
  const float* bias;  // or null
  bool relu;
  float* y;
  uint8_t* where;  // or null
  int64_t step;    // of both, from window to window
};

struct PooledKernels {
  void (*row)(const PooledRow&);
};

#define RANVIER_X(level)                     \
  namespace level {                          \
  extern const PooledKernels pooled_kernels; \
  }
RANVIER_FOR_EACH_LEVEL(RANVIER_X)
#undef RANVIER_X

}  // namespace ranvier
