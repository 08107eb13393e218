// The micro-kernel: a tile of c held in registers while k runs. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/matmul.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// Rows of b that are fetched ahead of their use: from L2 into L1, and from memory into L2, since rows a power
// of two apart share the few lines of a set of L1.
constexpr int kAhead = 16, kFarAhead = 24;

// Where a tile's operands are read next, and where b is copied to.
template <class T>
struct Cursor {
  const T *a, *b;
  T* pack_to;
};

// acc[i][v] = sum over k products of a[i, p] * b[p, v], in one chain.
// Rows of a are found from few registers: a pointer for every fifth, and multiples of the stride.
// kPack: b's rows are stored one after another, for the tiles that follow.
template <class T, int kRows, int kVectors, bool kPack>
RANVIER_INLINE void multiply(const MatmulTile<T>& t, int64_t k, Cursor<T>& at,
                             vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>, kGroup = 5, kGroups = (kRows + kGroup - 1) / kGroup;
  const int64_t row_bytes = opaque(t.rs_a * static_cast<int64_t>(sizeof(T)));
  const int64_t step_a = opaque(t.cs_a * static_cast<int64_t>(sizeof(T)));
  const char* a[kGroups];
  RANVIER_UNROLL
  for (int g = 0; g < kGroups; ++g) a[g] = reinterpret_cast<const char*>(at.a) + g * kGroup * row_bytes;
  // The last element of a cache line's vectors: where b is not aligned, its line is the one that no strip
  // before has fetched.
  constexpr int kLine = 64 / int(sizeof(T));
  const T *b = at.b, *ahead = at.b + (kPack ? kFarAhead : kAhead) * t.rs_b + kLine - 1;
  T* pack_to = at.pack_to;
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[i][v] = vec<T>{};
  }
  for (; k > 0; --k) {
    vec<T> row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      row[v] = load(b + v * L);
      if (v * sizeof(vec<T>) % 64 != 0) continue;
      if (kPack)
        __builtin_prefetch(ahead + v * L, 0, 2);
      else if (kManyRegisters && kVectors <= 2)
        __builtin_prefetch(ahead + v * L);
    }
    if constexpr (kPack) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(pack_to + v * L, row[v]);
      pack_to += kVectors * L;
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      T x;
      __builtin_memcpy(&x, a[i / kGroup] + (i % kGroup) * row_bytes, sizeof x);
      const vec<T> xs = broadcast<T>(x);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(xs, row[v], acc[i][v]);
    }
    RANVIER_UNROLL
    for (int g = 0; g < kGroups; ++g) a[g] += step_a;
    b += t.rs_b, ahead += t.rs_b;
  }
  at = {reinterpret_cast<const T*>(a[0]), b, pack_to};
}

// The chains of one tile, added up in `spilled` from the second on, then stored.
template <class T, int kRows, int kVectors, bool kPack = false>
static void tile(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>, kWidth = kVectors * L;
  const bool finishes =
      t.bias_row || t.bias_column || t.norm_row || t.norm_column || t.activation.kind != Activation::none;
  const bool whole = t.cs_c == 1 && t.columns == kWidth, plain = whole && !finishes;
  vec<T> acc[kRows][kVectors];
  alignas(64) T spilled[kRows * kWidth];
  const T* b = t.b;
  T* c = t.c;
  for (int64_t more = t.more;; --more, b += t.step_b, c += kWidth) {
    if (whole && t.accumulate) {  // c is fetched into L2 while k runs
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        RANVIER_UNROLL
        for (int j = 0; j < kWidth; j += 64 / int(sizeof(T))) __builtin_prefetch(c + i * t.rs_c + j, 0, 2);
        __builtin_prefetch(c + i * t.rs_c + kWidth - 1, 0, 2);
      }
    }
    Cursor<T> at{t.a, b, t.pack_to};
    const T* sums = c;  // so far
    int64_t sums_step = t.rs_c;
    bool add = t.accumulate && whole;
    for (int64_t left = t.k;;) {
      multiply<T, kRows, kVectors, kPack>(t, left < t.k_block ? left : t.k_block, at, acc);
      left -= t.k_block;
      const bool done = left <= 0 && plain;
      T* to = done ? c : spilled;
      const int64_t step = done ? t.rs_c : kWidth;
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i, to = opaque(to + step), sums = opaque(sums + sums_step)) {
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v)
          store(to + v * L, add ? load(sums + v * L) + acc[i][v] : acc[i][v]);
      }
      if (t.accumulate && !add) add_rows<T>(t, spilled, kWidth);
      if (left <= 0) break;
      add = true, sums = spilled, sums_step = kWidth;
    }
    if (more <= 0) break;
  }
  if (!plain) store_general<T>(t, spilled, kWidth);
}

}  // namespace ranvier::RANVIER_ISA
