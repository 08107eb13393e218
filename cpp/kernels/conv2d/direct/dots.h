// ConvKernels::dots (tile.h), the micro-kernel for up to four output channels: lanes are input channels, and
// the lanes of a sum are added at the end. Included by direct.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The rows (pixels) of a tile with this many output channels: as many as the registers hold sums for, beside
// a vector of weights for each output channel and a few vectors of input (with a single one, GCC reads the
// input from memory for each product).
constexpr int dot_rows(int outs) {
  const int rows = (RANVIER_VECTOR_REGISTERS - 4 - outs) / outs;
  return rows < 12 ? rows : 12;
}

// Adds the lanes of the sums, sums[i * width + j] one vector each, adds the bias, applies norm and ReLU, and
// stores c[i][j].
template <class T>
static __attribute__((noinline)) void store_dots(const ConvTile<T>& t, const T* sums) {
  constexpr int L = lanes<T>;
  T totals[12 * kMaxDots + L];
  const int width = static_cast<int>(t.step_b);
  const int count = t.rows * width;
  for (int first = 0; first < count; first += L) {
    vec<T> square[L];
    RANVIER_UNROLL
    for (int i = 0; i < L; ++i) square[i] = load(sums + (first + i) * L);
    store(totals + first, sum_lanes<L / 2, T>(square));
  }
  int i = 0;
  int j = 0;
  // One loop over all elements: the compiler would vectorise loops over i and j, which takes longer.
  for (int k = 0; k < count; ++k) {
    if (j < t.columns) {
      T x = t.bias ? totals[k] + t.bias[j] : totals[k];
      if (t.norm) x = normalized(x, t.norm + j, t.norm_step);
      t.c[i][j] = t.relu && x <= 0 ? T(0) : x;  // -0 gives 0 too, like the maximum of vectors
    }
    if (++j == width) {
      j = 0;
      ++i;
    }
  }
}

// Computes a tile with kOuts output channels.
template <class T, int kOuts>
static void dot_tile(const ConvTile<T>& t) {
  constexpr int L = lanes<T>, kRows = dot_rows(kOuts);
  const T* a[kRows];
  vec<T> acc[kRows][kOuts] = {};
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    const int row = i < t.rows ? i : 0;  // rows that do not exist compute the first one again
    a[i] = t.a[row];
  }
  const int64_t ahead = t.ahead;
  const auto step = [&](const T* b, int64_t at, auto load_a) __attribute__((always_inline)) {
    vec<T> row[kOuts];
    RANVIER_UNROLL
    for (int j = 0; j < kOuts; ++j) row[j] = load(b + j * L);
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const vec<T> x = load_a(a[i]);
      if (ahead) __builtin_prefetch(a[i] + at + ahead);
      RANVIER_UNROLL
      for (int j = 0; j < kOuts; ++j) acc[i][j] = fma(x, row[j], acc[i][j]);
    }
  };
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const T* b = t.b + s->b;
    int64_t at = s->a;
    const int64_t end = at + s->n;
    for (; at + L <= end; at += L, b += kOuts * L) step(b, at, [&](const T* p) { return load(p + at); });
    const int rest = static_cast<int>(end - at);
    if (rest > 0) step(b, at, [&](const T* p) { return load_n(p + at, rest); });
  }
  alignas(64) T sums[(kRows * kOuts + L - 1) * L];  // with space, as store_dots() reads L sums at a time
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int j = 0; j < kOuts; ++j) store(sums + (i * kOuts + j) * L, acc[i][j]);
  }
  store_dots<T>(t, sums);
}

// More output channels than half a vector do not come here, as other tiles take less time for them.
template <class T, int kOuts>
static void dots_if_few([[maybe_unused]] const ConvTile<T>& t) {
  if constexpr (2 * kOuts <= lanes<T>) dot_tile<T, kOuts>(t);
}

template <class T>
static void run_dots(const ConvTile<T>& t) {
  switch (t.step_b) {
    case 1:
      return dots_if_few<T, 1>(t);
    case 2:
      return dots_if_few<T, 2>(t);
    case 3:
      return dots_if_few<T, 3>(t);
    default:
      return dots_if_few<T, kMaxDots>(t);
  }
}

}  // namespace ranvier::RANVIER_ISA
