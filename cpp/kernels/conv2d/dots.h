// The micro-kernel where output channels are few: their weights would leave most lanes of a vector empty, so
// here the lanes are input channels, added up at the end. Included by conv2d.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/tile.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// As many rows as registers hold, beside a vector of weights for each output channel and one of the input.
constexpr int dot_rows(int outs) {
  const int rows = (RANVIER_VECTOR_REGISTERS - 1 - outs) / outs;
  return rows < 12 ? rows : 12;
}

// c[i][j] from its sums, one vector each: squares of them are transposed, so that the lanes' sums are sums of
// vectors, in pairs.
template <class T>
static __attribute__((noinline)) void store_dots(const ConvTile<T>& t, const T* sums) {
  constexpr int L = lanes<T>;
  T totals[12 * kMaxDots + L];
  const int count = t.rows * t.columns;
  for (int first = 0; first < count; first += L) {
    vec<T> square[L];
    for (int i = 0; i < L; ++i) square[i] = first + i < count ? load(sums + (first + i) * L) : vec<T>{};
    transpose(square);
    RANVIER_UNROLL
    for (int half = L / 2; half > 0; half /= 2) {
      RANVIER_UNROLL
      for (int i = 0; i < half; ++i) square[i] = square[i] + square[i + half];
    }
    store(totals + first, square[0]);
  }
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < t.columns; ++j) {
      T x = totals[i * t.columns + j];
      if (t.bias) x += t.bias[j];
      t.c[i][j] = t.relu && x < 0 ? T(0) : x;
    }
}

template <class T, int kOuts>
static void dot_tile(const ConvTile<T>& t) {
  constexpr int L = lanes<T>, kRows = dot_rows(kOuts);
  const T* a[kRows];
  vec<T> acc[kRows][kOuts] = {};
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) a[i] = t.a[i < t.rows ? i : 0];
  const auto step = [&](const T* b, auto load_a) __attribute__((always_inline)) {
    vec<T> row[kOuts];
    RANVIER_UNROLL
    for (int j = 0; j < kOuts; ++j) row[j] = load(b + j * L);
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const vec<T> x = load_a(a[i]);
      RANVIER_UNROLL
      for (int j = 0; j < kOuts; ++j) acc[i][j] = fma(x, row[j], acc[i][j]);
    }
  };
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const T* b = t.b + s->b;
    int64_t at = s->a;
    const int64_t end = at + s->n;
    for (; at + L <= end; at += L, b += kOuts * L) step(b, [&](const T* p) { return load(p + at); });
    const int rest = static_cast<int>(end - at);
    if (rest > 0) step(b, [&](const T* p) { return load_n(p + at, rest); });
  }
  alignas(64) T sums[kRows * kOuts * L];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int j = 0; j < kOuts; ++j) store(sums + (i * kOuts + j) * L, acc[i][j]);
  }
  store_dots<T>(t, sums);
}

template <class T>
static void run_dots(const ConvTile<T>& t) {
  static_assert(kMaxDots == 4);
  switch (t.columns) {
    case 1: return dot_tile<T, 1>(t);
    case 2: return dot_tile<T, 2>(t);
    case 3: return dot_tile<T, 3>(t);
    default: return dot_tile<T, 4>(t);
  }
}

}  // namespace ranvier::RANVIER_ISA
