// Tiles of the direct sum at AVX-512 whose last columns (output channels) fit into half a vector: tiles of
// half a vector, and of a vector and a half. Included by direct.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/direct/products.h"
#include "kernels/conv2d/direct/store.h"
#include "kernels/conv2d/direct/tile.h"
#include "simd/half.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
constexpr bool kHasHalf = RANVIER_HAS_HALF && sizeof(T) == sizeof(float);
#if RANVIER_HAS_HALF
// The numbers of rows of tiles of half a vector, and of a vector and a half. With fewer than 6 rows, tiles of
// whole vectors take as little time.
constexpr int kHalfRows[2][3] = {{8, 12, 14}, {8, 12, kPairedRows}};

template <int kRows>
RANVIER_INLINE void prefetch_rows(const ConvTile<float>& t) {
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) __builtin_prefetch(t.c[i], 1);
}

// acc[i] += kSteps products: a[i][at + u] times half a vector of row u of b.
template <int kRows, int kSteps>
RANVIER_INLINE void multiply_half(const float* const (&a)[kRows], int64_t at, const float* b, int64_t step_b,
                                  half_vec (&acc)[kRows][1]) {
  half_vec row[kSteps];
  RANVIER_UNROLL
  for (int u = 0; u < kSteps; ++u) row[u] = load_half(b + u * step_b);
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int u = 0; u < kSteps; ++u) acc[i][0] = fma(a[i][at + u] - half_vec{}, row[u], acc[i][0]);
  }
}

// Computes a tile of half a vector.
template <int kRows>
static void half_tile(const ConvTile<float>& t) {
  constexpr int kWidth = lanes<float>, kSteps = 4;
  const float* a[kRows];
  half_vec acc[kRows][1] = {};
  prefetch_rows<kRows>(t);
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) a[i] = t.a[i];
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  add_chains(t, acc, [&](ConvChain& chain) RANVIER_INLINED {
    const char* fetch = chain.fetch;
    for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
      const float* b = t.b + s->b;
      int64_t at = s->a;
      int64_t n = s->n;
      for (; step_a == 1 && n > kSteps; n -= kSteps, at += kSteps, b += kSteps * step_b) {
        multiply_half<kRows, kSteps>(a, at, b, step_b, acc);
        RANVIER_UNROLL
        for (int u = 0; u < kSteps; ++u, fetch += t.fetch_step) __builtin_prefetch(fetch);
      }
      for (; n > 0; --n, at += step_a, b += step_b, fetch += t.fetch_step) {
        multiply_half<kRows, 1>(a, at, b, step_b, acc);
        __builtin_prefetch(fetch);
      }
    }
    chain.fetch = fetch;
  });
  alignas(64) float spilled[kRows * kWidth];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) __builtin_memcpy(spilled + i * kWidth, &acc[i][0], sizeof acc[i][0]);
  store_general<float>(t, spilled, kWidth);
}

// The products of a tile of a vector and a half: two rows are three whole vectors, of which the second has
// the end of the first row and the beginning of the second one. kEven: the second row of each pair is
// t.row_step after the first.
template <int kRows, bool kEven>
RANVIER_INLINE void multiply_row_pairs(const ConvTile<float>& t, ConvChain& chain,
                                       vec<float> (&acc)[kRows / 2][3]) {
  constexpr int H = lanes<float> / 2;
  constexpr int kStep = kEven ? 2 : 1;  // rows for each pointer
  constexpr int kPointers = kRows / kStep;
  const float* a[kPointers];
  RANVIER_UNROLL
  for (int i = 0; i < kPointers; ++i) a[i] = t.a[i * kStep];
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  const int64_t fetch_step = t.fetch_step;
  const char* fetch = chain.fetch;
  for (const ConvSegment* s = chain.begin; s != chain.end; ++s) {
    const float* b = t.b + s->b;
    int64_t first = s->a;
    int64_t second = first + t.row_step;
    int64_t n = s->n;
    do {
      asm("" : "+r"(second));  // or GCC keeps a pointer for each row
      // Of the three halves b0 b1 b2 of a row of b: (b0 b1), (b2 b0), (b1 b2).
      const vec<float> row[] = {load(b), join(load_half(b + 2 * H), load_half(b)), load(b + H)};
      __builtin_prefetch(fetch);
      fetch += fetch_step;
      RANVIER_UNROLL
      for (int i = 0; i < kRows / 2; ++i) {
        const vec<float> x = broadcast<float>(a[2 * i / kStep][first]);
        const float* of_second = kEven ? a[i] + second : a[(2 * i + 1) / kStep] + first;
        const vec<float> y = broadcast<float>(*of_second);
        acc[i][0] = fma(x, row[0], acc[i][0]);
        acc[i][1] = fma(halves(x, y), row[1], acc[i][1]);
        acc[i][2] = fma(y, row[2], acc[i][2]);
      }
      first += step_a;
      second += step_a;
      b += step_b;
    } while (--n);
  }
  chain.fetch = fetch;
}

// Computes a tile of a vector and a half, by pairs of rows; the results go through `spilled` to c.
template <int kRows>
static void row_pairs_tile(const ConvTile<float>& t) {
  constexpr int L = lanes<float>, kWidth = L + L / 2;
  vec<float> acc[kRows / 2][3] = {};
  prefetch_rows<kRows>(t);
  const auto even = [&](ConvChain& chain) RANVIER_INLINED { multiply_row_pairs<kRows, true>(t, chain, acc); };
  const auto any = [&](ConvChain& chain) RANVIER_INLINED { multiply_row_pairs<kRows, false>(t, chain, acc); };
  if (t.row_step && t.rows == kRows)
    add_chains(t, acc, even);
  else
    add_chains(t, acc, any);
  alignas(64) float spilled[kRows * kWidth + L];  // the last row is read as whole vectors, too
  RANVIER_UNROLL
  for (int i = 0; i < kRows / 2; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < 3; ++v) store(spilled + (3 * i + v) * L, acc[i][v]);
  }
  store_general<float>(t, spilled, kWidth);
}
#endif

}  // namespace ranvier::RANVIER_ISA
