// What follows the sums of a tile: the sums so far, bias, activation or an activation's derivative, and the
// store, for c of any strides. One loop for all tile shapes, on the accumulators spilled to memory. Included
// by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packing.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// n elements, 0 < n <= lanes, that lie `stride` apart.
template <class T>
RANVIER_INLINE vec<T> load_strided(const T* p, int64_t stride, int n) {
  if (stride == 1) return n == lanes<T> ? load(p) : load_n(p, n);
  vec<T> x{};
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return x;
}
template <class T>
RANVIER_INLINE void store_strided(T* p, int64_t stride, vec<T> x, int n) {
  if (stride == 1) return store_first<T>(p, x, n);
  for (int l = 0; l < n; ++l) p[l * stride] = x[l];
}

// f(i, j, n) for each vector of the tile: its row, its first column, its elements.
template <class T, class F>
RANVIER_INLINE void for_each_part(const MatmulTile<T>& t, const F& f) {
  constexpr int L = lanes<T>;
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.columns; j += L) f(i, j, t.columns - j < L ? t.columns - j : L);
}

// acc = f(acc), or acc f'(saved): all rows as one line, with what lies between them.
template <class T>
static __attribute__((noinline)) void activate_tile(const MatmulTile<T>& t, T* acc, int width) {
  alignas(64) T dense[kStreamBytes / sizeof(T)];  // no tile is larger
  if (t.saved)
    for_each_part(t, [&](int i, int j, int n) {
      store(dense + i * width + j, load_strided(t.saved + i * t.rs_s + j * t.cs_s, t.cs_s, n));
    });
  t.activate({t.rows * int64_t(width), t.saved ? dense : acc, acc, acc, 1, 1, 1, t.alpha, t.beta});
}

// The tile is in acc, rows of `width` elements.
template <class T>
static void store_rows(const MatmulTile<T>& t, T* acc, int width) {
  const bool activates = t.last && t.activate;
  const auto c_at = [&](int i, int j) { return t.c + i * t.rs_c + j * t.cs_c; };
  for_each_part(t, [&](int i, int j, int n) {
    vec<T> x = load(acc + i * width + j);
    if (t.accumulate) x = load_strided(c_at(i, j), t.cs_c, n) + x;
    if (t.last && t.bias_row) x = x + load_strided(t.bias_row + j, 1, n);
    if (t.last && t.bias_column) x = x + broadcast<T>(t.bias_column[i]);
    if (activates)
      store(acc + i * width + j, x);
    else
      store_strided(c_at(i, j), t.cs_c, x, n);
  });
  if (!activates) return;
  activate_tile(t, acc, width);
  for_each_part(
      t, [&](int i, int j, int n) { store_strided(c_at(i, j), t.cs_c, load(acc + i * width + j), n); });
}

// Where c's columns are contiguous, as in c' = b' a', the tile is turned round first.
template <class T>
static __attribute__((noinline)) void store_general(const MatmulTile<T>& t, T* acc, int width) {
  constexpr int L = lanes<T>;
  static_assert(8 * L * L * sizeof(T) <= kStreamBytes);
  if (t.rs_c != 1 || t.cs_c == 1 || t.rows == 1) return store_rows(t, acc, width);
  alignas(64)
      T turned[8 * L * L];  // columns x (rows in whole vectors): the widest tile has fewer than L rows
  const int turned_width = (t.rows + L - 1) / L * L;
  for (int i = 0; i < t.rows; i += L) {
    const int rows = t.rows - i < L ? t.rows - i : L;
    for (int j = 0; j < t.columns; j += L) {
      vec<T> square[L];
      RANVIER_UNROLL
      for (int r = 0; r < L; ++r) square[r] = r < rows ? load(acc + (i + r) * width + j) : vec<T>{};
      transpose(square);
      RANVIER_UNROLL
      for (int l = 0; l < L; ++l) store(turned + (j + l) * turned_width + i, square[l]);
    }
  }
  MatmulTile<T> s = t;
  s.rows = t.columns, s.columns = t.rows;
  s.rs_c = t.cs_c, s.cs_c = 1;
  s.rs_s = t.cs_s, s.cs_s = t.rs_s;
  s.bias_row = t.bias_column, s.bias_column = t.bias_row;
  store_rows(s, turned, turned_width);
}

}  // namespace ranvier::RANVIER_ISA
