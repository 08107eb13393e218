// The inner loops of a tile of the direct sum: acc[row][vector] += a[row] * b, over all segments of a
// ConvTile (tile.h), for rows whose pointers are kept in several ways. Included by direct.isa.cpp only.
#pragma once
#include <type_traits>

#include "base/unroll.h"
#include "kernels/conv2d/direct/tile.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The segments [begin, end) of a tile, which are one chain, and what is prefetched during their products.
struct ConvChain {
  const ConvSegment *begin, *end;
  const char* fetch;
};

// The chain that begins at a segment.
template <class T>
RANVIER_INLINE ConvChain chain_from(const ConvTile<T>& t, const ConvSegment* begin, const char* fetch) {
  const ConvSegment* const all = t.segments + t.count;
  const ConvSegment* end = begin;
  int64_t products = 0;
  while (end != all && products < t.chain) {
    products += end->n;
    ++end;
  }
  return {begin, end, fetch};
}

// Calls multiply(chain) for each chain of a tile, which adds its products to `sums`; at the end these are the
// totals of all chains.
template <class T, class Vec, int kRows, int kVectors, class F>
RANVIER_INLINE void add_chains(const ConvTile<T>& t, Vec (&sums)[kRows][kVectors], const F& multiply) {
  Vec totals[kRows][kVectors];
  ConvChain chain = chain_from(t, t.segments, t.fetch);
  for (bool first = true;; first = false) {
    multiply(chain);
    if (!first) {
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) sums[i][v] = totals[i][v] + sums[i][v];
      }
    }
    if (chain.end == t.segments + t.count) return;
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        totals[i][v] = sums[i][v];
        sums[i][v] = Vec{};
      }
    }
    chain = chain_from(t, chain.end, chain.fetch);
  }
}

// Adds kSteps products to each row, one after another: element at + u of a[i] by the vectors of b at
// u * step_b.
template <class T, int kRows, int kVectors, int kSteps>
RANVIER_INLINE void multiply_steps(const T* const (&a)[kRows], int64_t at, const T* b, int64_t step_b,
                                   vec<T> (&acc)[kRows][kVectors]) {
  constexpr int L = lanes<T>;
  vec<T> row[kSteps][kVectors];
  RANVIER_UNROLL
  for (int u = 0; u < kSteps; ++u) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) row[u][v] = load(b + u * step_b + v * L);
  }
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int u = 0; u < kSteps; ++u) {
      const vec<T> x = factor<T>(a[i][at + u]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[u][v], acc[i][v]);
    }
  }
}

// Prefetches what belongs to kSteps products, `step` bytes each, every cache line once, as more prefetches
// would delay the loads. Returns the address after it.
template <int kSteps>
RANVIER_INLINE const char* prefetch_steps(const char* fetch, int64_t step) {
  constexpr int kLine = 64;
  __builtin_prefetch(fetch);
  if (step > kLine / kSteps) {
    RANVIER_UNROLL
    for (int u = 1; u < kSteps; ++u) __builtin_prefetch(fetch + u * step);
  }
  return fetch + kSteps * step;
}

// The general loop. Each row has its own pointer, so that a tile may hold any pixels (of several image rows
// or images); all rows move by the same index. The pointers do not all fit into registers, and loading them
// takes time: in tiles one vector wide, four products share one load of a pointer.
template <class T, int kRows, int kVectors>
RANVIER_INLINE void multiply(const ConvTile<T>& t, ConvChain& chain, vec<T> (&acc)[kRows][kVectors]) {
  constexpr int kSteps = kVectors == 1 ? 4 : 1;
  const T* a[kRows];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) a[i] = t.a[i];
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  const char* fetch = chain.fetch;
  const int64_t fetch_step = t.fetch_step;
  for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
    const T* b = t.b + s->b;
    int64_t at = s->a;
    int64_t n = s->n;
    if constexpr (kSteps > 1) {
      for (; step_a == 1 && n > kSteps; n -= kSteps) {
        multiply_steps<T, kRows, kVectors, kSteps>(a, at, b, step_b, acc);
        fetch = prefetch_steps<kSteps>(fetch, fetch_step);
        at += kSteps;
        b += kSteps * step_b;
      }
    }
    do {
      multiply_steps<T, kRows, kVectors, 1>(a, at, b, step_b, acc);
      __builtin_prefetch(fetch);
      fetch += fetch_step;
      at += step_a;
      b += step_b;
    } while (--n);
  }
  chain.fetch = fetch;
}

// The same as multiply() where rows are in pairs, and the second row of each pair is row_step after the
// first. A pair has one pointer, and second rows a separate index, so all pointers fit into registers.
// kFetch: prefetches at t.fetch.
template <class T, int kRows, int kVectors, bool kFetch = true>
RANVIER_INLINE void multiply_wide_pairs(const ConvTile<T>& t, ConvChain& chain,
                                        vec<T> (&acc)[kRows][kVectors]) {
  const T* a[(kRows + 1) / 2];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; i += 2) a[i / 2] = t.a[i];
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  const int64_t fetch_step = t.fetch_step;
  const char* fetch = chain.fetch;
  for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
    const T* b = t.b + s->b;
    int64_t first = s->a;
    int64_t second = first + t.row_step;
    int64_t n = s->n;
    do {
      asm("" : "+r"(second));  // or GCC keeps a pointer for each row
      vec<T> row[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) row[v] = load(b + v * lanes<T>);
      if (kFetch) {
        __builtin_prefetch(fetch);
        fetch += fetch_step;
      }
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const int64_t at = i % 2 ? second : first;
        const vec<T> x = factor<T>(a[i / 2][at]);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[i][v] = fma(x, row[v], acc[i][v]);
      }
      first += step_a;
      second += step_a;
      b += step_b;
    } while (--n);
  }
  chain.fetch = fetch;
}

// The same as multiply_wide_pairs() for tiles of one vector with step_a = 1 and step_b = L: four products at
// a time.
template <class T, int kRows>
RANVIER_INLINE void multiply_pairs(const ConvTile<T>& t, ConvChain& chain, vec<T> (&acc)[kRows][1]) {
  constexpr int kSteps = 4, L = lanes<T>;
  const T* a[kRows / 2];
  RANVIER_UNROLL
  for (int i = 0; i < kRows / 2; ++i) a[i] = t.a[2 * i];
  const int64_t fetch_step = t.fetch_step;
  const char* fetch = chain.fetch;
  for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
    const T* b = t.b + s->b;
    int64_t first = s->a;
    int64_t second = first + t.row_step;
    int64_t n = s->n;
    const auto multiply = [&](auto steps) RANVIER_INLINED {
      constexpr int count = decltype(steps)::value;
      asm("" : "+r"(second));  // or GCC keeps a pointer for each row
      vec<T> row[count];
      RANVIER_UNROLL
      for (int u = 0; u < count; ++u) row[u] = load(b + u * L);
      fetch = prefetch_steps<count>(fetch, fetch_step);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const int64_t at = i % 2 ? second : first;
        RANVIER_UNROLL
        for (int u = 0; u < count; ++u) acc[i][0] = fma(factor<T>(a[i / 2][at + u]), row[u], acc[i][0]);
      }
      first += count;
      second += count;
      b += count * L;
      n -= count;
    };
    while (n >= kSteps) multiply(std::integral_constant<int, kSteps>());
    while (n > 0) multiply(std::integral_constant<int, 1>());
  }
  chain.fetch = fetch;
}

// The same as multiply() for rows that are consecutive elements, a[i] = a[0] + i: they share a pointer.
template <class T, int kRows>
RANVIER_INLINE void multiply_consecutive(const ConvTile<T>& t, const ConvChain& chain,
                                         vec<T> (&acc)[kRows][1]) {
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
    const T* a = t.a[0] + s->a;
    const T* b = t.b + s->b;
    for (int64_t n = s->n; n > 0; --n, a += step_a, b += step_b) {
      const vec<T> row = load(b);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][0] = fma(broadcast<T>(a[i]), row, acc[i][0]);
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
