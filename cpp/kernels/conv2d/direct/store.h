// How the sums of a tile of the direct sum are finished and stored. Included by the levels' files only.
#pragma once
#include "kernels/conv2d/direct/tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/stream.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Ragged columns and norms, with all settings of a tile. One loop for all tile shapes, on accumulators
// spilled to memory.
template <class T>
static __attribute__((noinline)) void store_general(const ConvTile<T>& t, const T* acc, int width) {
  constexpr int L = lanes<T>;
  for (int i = 0; i < t.rows; ++i, acc += width) {
    for (int j = 0; j < t.columns; j += L) {
      const int n = t.columns - j < L ? t.columns - j : L;
      const bool whole = n == L;  // masked loads and stores take several times as long at some levels
      vec<T> x = load(acc + j);
      if (t.accumulate) x = (whole ? load(t.c[i] + j) : load_n(t.c[i] + j, n)) + x;
      if (t.bias) x = x + (whole ? load(t.bias + j) : load_n(t.bias + j, n));
      if (t.norm) x = normalized(x, channel_line(t.norm + j, t.norm_step, n));
      if (t.relu) x = max(x, vec<T>{});
      if (!whole)
        store_n(t.c[i] + j, x, n);
      else if (t.stream)
        stream(t.c[i] + j, x);
      else
        store(t.c[i] + j, x);
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
