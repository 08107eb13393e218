// Tile: a copy of up to `lanes` lines of elements, transposed so that each line is a lane (a column):
//
//   x [lines, n]                 ->   tile [n, lanes]: row k is one vector, element k of each line
//
// Then sums over a line need no sum over lanes, and what is done once for each line (a logarithm, a root) is
// done for a vector of lines. Kernels that work along short lines use it: softmax, norms, losses, reductions.
#pragma once

#include "simd/permute.h"
#include "simd/strided.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

constexpr int kTileRows = 128;  // the most elements of a line in a tile, which then takes at most 8 KB of L1

// Contiguous lines of up to this many elements are worth transposing even where little is done with them,
// since they fill vectors badly.
template <class T>
constexpr int kShortRow = 2 * lanes<T>;

template <class T>
struct alignas(64) Tile {
  T data[kTileRows * lanes<T>];

  RANVIER_INLINE vec<T> row(const Tile& tile, int64_t k) { return load(tile.data + k * lanes<T>); }
  RANVIER_INLINE void set_row(Tile& tile, int64_t k, vec<T> v) { store(tile.data + k * lanes<T>, v); }
};

// The same as load_n; at levels where that goes lane by lane, whole vectors take a plain load.
template <class T>
RANVIER_INLINE vec<T> load_part(const T* p, int n) {
  return RANVIER_VECTOR_BYTES == 16 && n == lanes<T> ? load(p) : load_n(p, n);
}

// Lines of up to this many elements are copied one by one: transposing squares of lanes x lanes would take
// longer.
template <class T>
constexpr int64_t kFewElements = lanes<T> / 4;

// Copies `count` lines of n elements to a tile, 0 < count <= lanes, n <= kTileRows: row k of the tile gets
// element k of each line. Element k of line i is at x[i * line + k * step]. Lanes from count on hold unused
// values.
template <class T>
__attribute__((noinline)) static void load_tile(Tile<T>& tile, const T* x, int64_t line, int64_t step,
                                                int count, int64_t n) {
  constexpr int L = lanes<T>;
  if constexpr (has_permute<T>)
    if (n <= 4 && n == line && step == 1 && count == L) {  // the lines are n vectors
      for (int64_t k = 0; k < n; ++k) {
        // Element k of line i is number i * n + k of the L * n numbers; it is taken from the vector that
        // has it.
        const ivec<T> at = to_int(iota<T>() * static_cast<T>(n) + static_cast<T>(k));
        vec<T> v = permute(load(x), at);
        for (int64_t j = L; j < n * L; j += L)
          v = select(at >= ibroadcast<T>(static_cast<int_of<T>>(j)), permute(load(x + j), at), v);
        Tile<T>::set_row(tile, k, v);
      }
      return;
    }
  if (n <= kFewElements<T> && step == 1 && line != 1) {
    for (int i = 0; i < L; ++i) {
      const int64_t from = i < count ? i * line : 0;  // a lane without a line repeats the first line
      for (int64_t k = 0; k < n; ++k) tile.data[k * L + i] = x[from + k];
    }
    return;
  }
  if (step != 1 || line == 1) {
    for (int64_t k = 0; k < n; ++k) Tile<T>::set_row(tile, k, load_lanes(x + k * step, line, count));
    return;
  }
  for (int64_t k = 0; k < n; k += L) {  // L lines x L elements
    const int left = lanes_used<T>(n - k);
    vec<T> rows[L];
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) {
      const int64_t from = i < count ? i * line : 0;
      rows[i] = load_part(x + from + k, left);
    }
    transpose(rows);
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) Tile<T>::set_row(tile, k + i, rows[i]);
  }
}

// The reverse: copies the lines from a tile to y.
template <class T>
__attribute__((noinline)) static void store_tile(const Tile<T>& tile, T* y, int64_t line, int64_t step,
                                                 int count, int64_t n) {
  constexpr int L = lanes<T>;
  if (n <= kFewElements<T> && step == 1 && line != 1) {
    for (int i = 0; i < count; ++i)
      for (int64_t k = 0; k < n; ++k) y[i * line + k] = tile.data[k * L + i];
    return;
  }
  if (step != 1 || line == 1) {
    for (int64_t k = 0; k < n; ++k) store_lanes(y + k * step, line, Tile<T>::row(tile, k), count);
    return;
  }
  for (int64_t k = 0; k < n; k += L) {
    vec<T> rows[L];
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) rows[i] = Tile<T>::row(tile, k + i);
    transpose(rows);
    const int left = lanes_used<T>(n - k);
    for (int i = 0; i < count; ++i) {
      if (left == L) {
        store(y + i * line + k, rows[i]);
      } else {
        store_n(y + i * line + k, rows[i], left);
      }
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
