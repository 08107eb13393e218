// Sums for the gradient of conv2d_pool to the weight where x has few channels (PooledQuads in gradient.h,
// lookup.h). Lanes are output channels. In a window only the maximum has a gradient, and each channel has
// another maximum. A quad, a table of four, holds the inputs that the (at most four) pixels of a window meet
// with a tap; each lane picks one of them by the offset of its channel. Included by backward.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d_pool/gradient.h"
#include "simd/bytes.h"
#include "simd/quad.h"

namespace ranvier::RANVIER_ISA {

// The sums that are held in registers: taps by vectors of output channels.
static constexpr int kQuadVectors = RANVIER_VECTOR_REGISTERS == 32 ? 2 : 1;
static constexpr int kFewQuadTaps = 9;
static constexpr int kQuadTaps = RANVIER_VECTOR_REGISTERS == 32 ? 12 : kFewQuadTaps;

// See PooledGradientKernels.
static void make_quads(const float* plane, const int64_t (&at)[4], int64_t n, float* quads) {
  constexpr int L = lanes<float>;
  for (int64_t i = 0; i < n; i += L, plane += L, quads += 4 * L)
    store_quads(quads, load(plane + at[0]), load(plane + at[1]), load(plane + at[2]), load(plane + at[3]));
}

// PooledGradientKernels::sum_quads for this many taps and vectors of output channels: see PooledQuads.
template <int taps, int vectors>
static void sum_quads(const PooledQuads& q) {
  constexpr int L = lanes<float>;
  vec<float> sum[taps][vectors], bias[vectors] = {};
  RANVIER_UNROLL
  for (int t = 0; t < taps; ++t) {
    RANVIER_UNROLL
    for (int v = 0; v < vectors; ++v) sum[t][v] = load(q.sum[t] + v * L);
  }
  for (int64_t i = 0; i < q.rows; ++i)
    for (int64_t j = 0; j < q.columns; ++j) {
      const float* dy = q.dy + i * q.dy_row + j * q.dy_column;
      const uint8_t* where = q.where + i * q.where_row + j * q.where_column;
      const float* table = q.quads + i * q.quads_row + j * q.quads_column;
      vec<float> g[vectors];
      QuadChoice choice[vectors];
      RANVIER_UNROLL
      for (int v = 0; v < vectors; ++v) {
        const bool whole = v < vectors - 1 || q.last == L;
        g[v] = whole ? load(dy + v * L) : load_n(dy + v * L, q.last);
        const ivec<float> offset =
            whole ? widen_bytes(where + v * L, 0.0f) : widen_first_bytes(where + v * L, q.last);
        choice[v] = choose(offset, q.elements, g[v]);
        bias[v] = bias[v] + g[v];
      }
      RANVIER_UNROLL
      for (int t = 0; t < taps; ++t) RANVIER_UNROLL
      for (int v = 0; v < vectors; ++v) sum[t][v] = fma(g[v], pick(table + q.tap[t], choice[v]), sum[t][v]);
    }
  RANVIER_UNROLL
  for (int t = 0; t < taps; ++t) RANVIER_UNROLL
  for (int v = 0; v < vectors; ++v) store(q.sum[t] + v * L, sum[t][v]);
  if (!q.bias) return;
  RANVIER_UNROLL
  for (int v = 0; v < vectors; ++v) store(q.bias + v * L, load(q.bias + v * L) + bias[v]);
}

template <int vectors>
static void sum_quads_of(const PooledQuads& q) {
  if (q.taps <= kFewQuadTaps) return sum_quads<kFewQuadTaps, vectors>(q);
  sum_quads<kQuadTaps, vectors>(q);
}

// PooledGradientKernels::sum_quads. Where there is no code for the number of taps, further taps repeat the
// last one, and are stored to `nowhere`.
static void sum_quads(PooledQuads& q) {
  alignas(64) float nowhere[kQuadVectors * lanes<float>] = {};
  for (int t = q.taps; t < kMostQuadTaps; ++t) {
    q.tap[t] = q.tap[t - 1];
    q.sum[t] = nowhere;
  }
  if (q.vectors == 1) return sum_quads_of<1>(q);
  sum_quads_of<kQuadVectors>(q);
}

}  // namespace ranvier::RANVIER_ISA
