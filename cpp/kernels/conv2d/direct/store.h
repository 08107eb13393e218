// Finishes and stores the sums of a tile of the direct sum (ConvTile in tile.h). Included by files that are
// compiled for each ISA level.
#pragma once
#include "kernels/conv2d/direct/tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/stream.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The general way, with all settings of a tile, for the columns from `first` on: their sums are in `acc`,
// rows of `width` elements, so that one loop serves tiles of all sizes.
template <class T>
static __attribute__((noinline)) void store_general(const ConvTile<T>& t, const T* acc, int width,
                                                    int first = 0) {
  constexpr int L = lanes<T>;
  for (int j = first; j < t.columns; j += L) {
    const int n = t.columns - j < L ? t.columns - j : L;
    const bool whole = n == L;  // masked loads and stores take several times as long at some levels
    vec<T> bias{};
    if (t.bias) bias = whole ? load(t.bias + j) : load_n(t.bias + j, n);
    const T* from = acc + j - first;
    for (int i = 0; i < t.rows; ++i, from += width) {
      T* const to = t.c[i] + j;
      vec<T> x = load(from);
      if (t.accumulate) {
        const vec<T> before = whole ? load(to) : load_n(to, n);
        x = before + x;
      }
      if (t.bias) x = x + bias;
      if (t.norm) x = normalized(x, channel_line(t.norm + j, t.norm_step, n));
      if (t.relu) x = max(x, vec<T>{});
      if (!whole)
        store_n(to, x, n);
      else if (t.stream)
        stream(to, x);
      else
        store(to, x);
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
