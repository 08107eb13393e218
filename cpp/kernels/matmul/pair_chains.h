// The inner loop of products of bfloat16: sums of products of pairs (see pairs.h) in registers. Included by
// bfloat16.isa.cpp only, with pair_packing.h and stored_tiles.h.
#pragma once
#include <utility>

#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

constexpr int L = lanes<float>;

// sums [kRows, kVectors * L] = one chain over k pairs of a panel of a, where pair a[i, p] is at
// a[i * rs_a + p * cs_a], and a packed panel of b of kVectors vectors of columns.
template <int kRows, int kVectors>
static void chain(int64_t k, const float* a, int64_t rs_a, int64_t cs_a, const float* b, float* sums) {
  __m512 acc[kRows][kVectors] = {};
  for (; k > 0; --k, a += cs_a, b += kVectors * L) {
    __m512bh row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) row[v] = (__m512bh)__m512(load(b + v * L));
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const __m512bh x = (__m512bh)_mm512_set1_ps(a[i * rs_a]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], x, row[v]);
    }
  }
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + (i * kVectors + v) * L, vec<float>(acc[i][v]));
  }
}

typedef void (*Chain)(int64_t k, const float* a, int64_t rs_a, int64_t cs_a, const float* b, float* sums);
// chain() for this number of rows (the values R + 1) and one vector of columns, or with `wide` kTileVectors.
template <int... R>
static Chain chain_of(int rows, bool wide, std::integer_sequence<int, R...>) {
  static constexpr Chain chains[][2] = {{chain<R + 1, 1>, chain<R + 1, kTileVectors>}...};
  return chains[rows - 1][wide];
}

}  // namespace ranvier::RANVIER_ISA
