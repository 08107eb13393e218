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

// Adds to c, bias and activation, ragged columns, c across the vectors: all that a tile may ask for besides a
// plain store. One loop for all tile shapes, on the accumulators spilled to memory.
template <class T>
static __attribute__((noinline)) void store_general(const MatmulTile<T>& t, T* acc, int64_t width) {
  constexpr int L = lanes<T>;
  for (int i = 0; i < t.rows; ++i, acc += width) {
    for (int j = 0; j < t.columns; j += L) {
      const int n = t.columns - j < L ? t.columns - j : L;
      vec<T> x = load(acc + j);
      T* c = t.c + i * t.rs_c + j * t.cs_c;
      if (t.accumulate) {
        vec<T> sum{};
        if (t.cs_c == 1)
          sum = load_n(c, n);
        else
          for (int l = 0; l < n; ++l) sum[l] = c[l * t.cs_c];
        x = sum + x;
      }
      if (t.last) {
        if (t.bias_row) x = x + load_n(t.bias_row + j, n);
        if (t.bias_column) x = x + broadcast<T>(t.bias_column[i]);
      }
      if (t.cs_c == 1)
        store_n(c, x, n);
      else
        for (int l = 0; l < n; ++l) c[l * t.cs_c] = x[l];
    }
    if (t.last && t.activate) {
      T* row = t.c + i * t.rs_c;
      t.activate({t.columns, row, nullptr, row, t.cs_c, 0, t.cs_c, t.alpha, t.beta});
    }
  }
}

template <class T, int kRows, int kVectors, bool kAlongK>
static void tile(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>;
  vec<T> acc[kRows][kVectors];
  multiply<T, kRows, kVectors, kAlongK>(t, acc);
  const bool finishes = t.last && (t.bias_row || t.bias_column || t.activate);
  if (t.cs_c == 1 && t.columns == kVectors * L && !finishes) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      T* c = t.c + i * t.rs_c;
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v)
        store(c + v * L, t.accumulate ? load(c + v * L) + acc[i][v] : acc[i][v]);
    }
    return;
  }
  alignas(64) T spilled[kRows * kVectors * L];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(spilled + (i * kVectors + v) * L, acc[i][v]);
  }
  store_general<T>(t, spilled, kVectors * L);
}

}  // namespace ranvier::RANVIER_ISA
