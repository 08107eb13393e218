// Sums for the gradient of conv2d_pool to the input (PooledPatches in gradient.h), for small windows and
// filters at levels with 32 vector registers. For each pooled pixel and output channel there is one gradient,
// at one offset of the window. It adds a patch to dx: the gradient times the filter of the channel, placed at
// the offset. The registers hold all pixels of dx that the patches of a window may reach, as
// sum[row][column]; the offset is a template argument, so that the registers are known at compile time. Lanes
// are input channels. Included by backward.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d_pool/gradient.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Adds the filters of the channels in a mask, times their gradients, for the offset (row, column).
template <int row, int column, int taps_r, int taps_s, class Sums>
RANVIER_INLINE void add_filters(const PooledPatches& p, uint32_t mask, const float* g, Sums& sum) {
  constexpr int L = lanes<float>;
  for (; mask; mask &= mask - 1) {
    const int k = __builtin_ctz(mask);
    const vec<float> value = broadcast(g[k]);
    const float* filter = p.filters + k * p.filter;
    RANVIER_UNROLL
    for (int r = 0; r < taps_r; ++r) {
      RANVIER_UNROLL
      for (int s = 0; s < taps_s; ++s)
        sum[row + r][column + s] = fma(value, load(filter + (r * taps_s + s) * L), sum[row + r][column + s]);
    }
  }
}

// A row of pooled pixels. From one pixel to the next, the sums move by the columns of a window: finished
// columns are stored, and new columns are loaded.
template <int taps_r, int taps_s, int window_r, int window_s, int... offset>
RANVIER_INLINE void add_row(const PooledPatches& p, const uint32_t* mask, const float* g, float* dx,
                            std::integer_sequence<int, offset...>) {
  constexpr int L = lanes<float>, height = taps_r + window_r - 1, width = taps_s + window_s - 1;
  vec<float> sum[height][width];
  RANVIER_UNROLL
  for (int y = 0; y < height; ++y) {
    RANVIER_UNROLL
    for (int x = 0; x < width; ++x) sum[y][x] = load(dx + y * p.dx_row + x * L);
  }
  for (int64_t j = 0; j < p.columns; ++j, mask += sizeof...(offset), g += p.dy_column, dx += window_s * L) {
    (add_filters<offset / window_s, offset % window_s, taps_r, taps_s>(p, mask[offset], g, sum), ...);
    const bool last = j == p.columns - 1;
    RANVIER_UNROLL
    for (int y = 0; y < height; ++y) {
      float* row = dx + y * p.dx_row;
      RANVIER_UNROLL
      for (int x = 0; x < width; ++x) {
        if (x < window_s || last) store(row + x * L, sum[y][x]);
        if (last) continue;
        sum[y][x] = x + window_s < width ? sum[y][(x + window_s) % width] : load(row + (x + window_s) * L);
      }
    }
  }
}

// AddPatches for filters and windows of these sizes.
template <int taps_r, int taps_s, int window_r, int window_s>
static void add_patches(const PooledPatches& p) {
  using Offsets = std::make_integer_sequence<int, window_r * window_s>;
  for (int64_t i = 0; i < p.rows; ++i)
    add_row<taps_r, taps_s, window_r, window_s>(p, p.masks + i * p.columns * window_r * window_s,
                                                p.dy + i * p.dy_row, p.dx + i * window_r * p.dx_row,
                                                Offsets{});
}

// The function for filters and windows of these sizes, or null. taps_r: as patch_rows() in
// input.cpp divides the rows of a filter.
static AddPatches find_patches(int64_t taps_r, int64_t taps_s, int64_t window_r, int64_t window_s) {
#if RANVIER_VECTOR_REGISTERS == 32
  if (window_r == 2 && window_s == 2) {
    if (taps_s == 3 && taps_r <= 3) return taps_r == 3 ? add_patches<3, 3, 2, 2> : nullptr;
    if (taps_s == 5 && taps_r == 3) return add_patches<3, 5, 2, 2>;
    if (taps_s == 5) return taps_r == 2 ? add_patches<2, 5, 2, 2> : nullptr;
  }
  if (window_r == 3 && window_s == 3 && taps_r == 3 && taps_s == 3) return add_patches<3, 3, 3, 3>;
#endif
  (void)taps_r;
  (void)taps_s;
  (void)window_r;
  (void)window_s;
  return nullptr;
}

}  // namespace ranvier::RANVIER_ISA
