// The micro-kernel: a tile of c held in registers while k runs. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/matmul.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// acc[i][v] += sum over p of a[i, p] * b[p, v], the whole of k in one chain.
// kAlongK: a's rows are contiguous in k (cs_a = 1); else its columns are contiguous (rs_a = 1), as after
// packing.
template <class T, int kRows, int kVectors, bool kAlongK>
RANVIER_INLINE void multiply(const MatmulTile<T>& t, vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>;
  const int64_t step_a = kAlongK ? 1 : t.cs_a, row_a = kAlongK ? t.rs_a : 1;
  const T* a = t.a;
  const T* b = t.b;
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  for (int64_t p = 0; p < t.k; ++p, a += step_a, b += t.rs_b) {
    vec<T> row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * L);
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const vec<T> x = broadcast<T>(a[i * row_a]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
    }
  }
}

// Bias and activation, on the last block of k.
template <class T>
RANVIER_INLINE vec<T> finish(const MatmulTile<T>& t, vec<T> c, vec<T> bias) {
  if (t.bias_row || t.bias_column) c = c + bias;
  if (t.activation == MatmulActivation::relu) c = max(c, vec<T>{});
  return c;
}

// Stores one row of the tile where c's columns are contiguous.
template <class T, int kVectors>
RANVIER_INLINE void store_row(const MatmulTile<T>& t, int i, const vec<T> (&acc)[kVectors]) {
  constexpr int L = lanes<T>;
  T* c = t.c + i * t.rs_c;
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int n = t.columns - v * L;
    if (n <= 0) break;
    vec<T> x = acc[v];
    if (t.accumulate) x = (n >= L ? load(c + v * L) : load_n(c + v * L, n)) + x;
    if (t.last) {
      vec<T> bias{};
      if (t.bias_row) bias = n >= L ? load(t.bias_row + v * L) : load_n(t.bias_row + v * L, n);
      if (t.bias_column) bias = broadcast<T>(t.bias_column[i]);
      x = finish(t, x, bias);
    }
    if (n >= L)
      store(c + v * L, x);
    else
      store_n(c + v * L, x, n);
  }
}

template <class T, int kRows, int kVectors, bool kAlongK>
static void tile(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>;
  vec<T> acc[kRows][kVectors];
  multiply<T, kRows, kVectors, kAlongK>(t, acc);
  if (t.cs_c == 1) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) store_row<T, kVectors>(t, i, acc[i]);
    return;
  }
  // c lies across the vectors: the finished tile goes through a small array, then column by column.
  alignas(64) T block[kRows][kVectors * L] = {};
  MatmulTile<T> inner = t;
  inner.c = block[0];
  inner.rs_c = kVectors * L;
  if (t.accumulate)
    for (int j = 0; j < t.columns; ++j)
      for (int i = 0; i < kRows; ++i) block[i][j] = t.c[i * t.rs_c + j * t.cs_c];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) store_row<T, kVectors>(inner, i, acc[i]);
  for (int j = 0; j < t.columns; ++j)
    for (int i = 0; i < kRows; ++i) t.c[i * t.rs_c + j * t.cs_c] = block[i][j];
}

}  // namespace ranvier::RANVIER_ISA
