// The micro-kernel: rows x vectors sums held in registers while the products run. Included by conv2d.isa.cpp
// only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/tile.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// As in matmul: the accumulators, a row of b and one element of a fill the register file.
constexpr int kConvVectors = 2;
constexpr int kConvRows = RANVIER_VECTOR_REGISTERS >= 32 ? 14 : RANVIER_HAS_FMA ? 6 : 4;
static_assert(kConvRows <= kMaxConvRows);

// Each row has a pointer of its own, so that a tile may hold any pixels (of several image rows, several
// images); all of them move by the same index.
template <class T, int kRows, int kVectors, bool kLanewise>
RANVIER_INLINE void multiply(const ConvTile<T>& t, vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>;
  const T* a[kRows];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    a[i] = t.a[i];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  const int64_t step_a = t.step_a, step_b = t.step_b;
  const ConvSegment* const end = t.segments + t.count;
  for (const ConvSegment* s = t.segments; s != end; ++s) {
    const T* b = t.b + s->b;
    int64_t at = s->a, n = s->n;
    do {
      vec<T> row[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * L);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        if constexpr (kLanewise) {
          RANVIER_UNROLL
          for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(load(a[i] + at + v * L), row[v], acc[i][v]);
        } else {
          const vec<T> x = broadcast<T>(a[i][at]);
          RANVIER_UNROLL
          for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
        }
      }
      at += step_a;
      b += step_b;
    } while (--n);
  }
}

template <class T, int kVectors>
RANVIER_INLINE void store_row(const ConvTile<T>& t, T* c, const vec<T> (&acc)[kVectors]) {
  constexpr int L = lanes<T>;
  RANVIER_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int n = t.columns - v * L;
    if (n <= 0) break;
    vec<T> x = acc[v];
    if (t.accumulate) x = (n >= L ? load(c + v * L) : load_n(c + v * L, n)) + x;
    if (t.bias) x = x + (n >= L ? load(t.bias + v * L) : load_n(t.bias + v * L, n));
    if (t.relu) x = max(x, vec<T>{});
    if (n >= L)
      store(c + v * L, x);
    else
      store_n(c + v * L, x, n);
  }
}

template <class T, int kRows, int kVectors, bool kLanewise>
static void tile(const ConvTile<T>& t) {
  vec<T> acc[kRows][kVectors];
  multiply<T, kRows, kVectors, kLanewise>(t, acc);
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) store_row<T, kVectors>(t, t.c[i], acc[i]);
}

// Four pixels at a time, so that the additions do not wait for each other.
template <class T>
static void sum(const ConvSegment* segments, int64_t count, const T* b, int64_t step, int columns, T* out) {
  constexpr int L = lanes<T>;
  for (int j = 0; j < columns; j += L) {
    vec<T> acc[4] = {};
    for (const ConvSegment* s = segments; s != segments + count; ++s) {
      const T* p = b + s->b + j;
      int64_t n = s->n;
      for (; n >= 4; n -= 4, p += 4 * step) {
        RANVIER_UNROLL
        for (int i = 0; i < 4; ++i) acc[i] = acc[i] + load(p + i * step);
      }
      for (; n > 0; --n, p += step) acc[0] = acc[0] + load(p);
    }
    const vec<T> total = (acc[0] + acc[1]) + (acc[2] + acc[3]);
    const int n = columns - j < L ? columns - j : L;
    store_n(out + j, load_n(out + j, n) + total, n);
  }
}

}  // namespace ranvier::RANVIER_ISA
