// The outputs of one tile of Winograd's algorithm, in registers: the last transform, A^T m A
// (transforms.isa.cpp has the matrices). Included by files that are compiled for each ISA level, of conv2d
// and conv2d_pool.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/winograd/transforms.h"
#include "kernels/norm/channel_line.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The least value of an output, for a maximum: 0 with ReLU, else -infinity.
RANVIER_INLINE vec<float> floor_of(bool relu) {
  return relu ? vec<float>{} : vec<float>{} - __builtin_inff();
}

// y = norm(A^T m A + bias) for n channels from k on, 0 < n <= lanes; y[i][j] is output (i, j) of the tile.
RANVIER_INLINE void winograd_outputs(const WinogradSums& p, int64_t k, int n, vec<float> (&y)[2][2]) {
  const vec<float> bias = p.bias ? load_n(p.bias + k, n) : vec<float>{};
  vec<float> a[2][4];  // (A^T m)
  RANVIER_UNROLL
  for (int j = 0; j < 4; ++j) {
    const float* m = p.m + k + j * p.plane;
    const vec<float> m0 = load(m);
    const vec<float> m1 = load(m + 4 * p.plane);
    const vec<float> m2 = load(m + 8 * p.plane);
    const vec<float> m3 = load(m + 12 * p.plane);
    a[0][j] = (m0 + m1) + m2;
    a[1][j] = (m1 - m2) - m3;
  }
  RANVIER_UNROLL
  for (int i = 0; i < 2; ++i) {
    y[i][0] = (a[i][0] + a[i][1]) + a[i][2] + bias;
    y[i][1] = (a[i][1] - a[i][2]) - a[i][3] + bias;
  }
  if (!p.norm) return;
  const ChannelLine<float> line = channel_line(p.norm + k, p.norm_step, n);
  RANVIER_UNROLL
  for (int at = 0; at < 4; ++at) y[at / 2][at % 2] = normalized(y[at / 2][at % 2], line);
}

}  // namespace ranvier::RANVIER_ISA
