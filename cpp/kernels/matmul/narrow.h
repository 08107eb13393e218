// Products with 2 to 4 columns: vectors along the rows of a, four products of which are transposed in
// registers. A vector of b would be more than half empty. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/packing.h"
#include "simd/half.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_HALF

constexpr int kNarrowest = 2, kWidestNarrow = 4;  // columns
constexpr int kHalf = 8;                          // elements of half a vector, which takes half the time
constexpr int64_t kNarrowProducts = 20;           // for fewer, the start takes longer than is gained
constexpr int kNarrowVectors = 3, kNarrowRows = kNarrowVectors * kHalf;  // at once

// kNarrowRows rows of c. Rows of a are found from a pointer for every fourth, and multiples of the stride.
template <int kColumns>
static void narrow_rows(const MatmulTile<float>& t, const float* a, float* c) {
  constexpr int kGroups = kNarrowRows / 4;
  alignas(64) float sums[kColumns][2 * lanes<float>] = {};
  const int64_t rs_a = opaque(t.rs_a), rs_b = opaque(t.rs_b);
  const float *b = t.b, *at[kGroups];
  RANVIER_UNROLL
  for (int g = 0; g < kGroups; ++g) at[g] = a, a = opaque(a + 4 * rs_a);
  for (int64_t left = t.k;; left -= t.k_block) {
    half_vec acc[kNarrowVectors][kColumns] = {};
    for (int64_t k = left < t.k_block ? left : t.k_block; k > 0; k -= 4) {
      const int64_t done = k < 4 ? 4 - k : 0;  // of the last four products, of which some are done
      RANVIER_UNROLL
      for (int g = 0; g < kGroups; ++g) at[g] -= done;
      b -= done * rs_b;
      half_vec column[kNarrowVectors][4];
      RANVIER_UNROLL
      for (int v = 0; v < kNarrowVectors; ++v) {
        RANVIER_UNROLL
        for (int i = 0; i < 4; ++i) {
          const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(at[2 * v] + i * rs_a));
          column[v][i] = half_vec(_mm256_insertf128_ps(low, _mm_loadu_ps(at[2 * v + 1] + i * rs_a), 1));
        }
        transpose_fours(column[v], std::make_integer_sequence<int, kHalf>());
      }
      RANVIER_UNROLL
      for (int p = 0; p < 4; ++p, b += rs_b) {
        if (p < done) continue;
        RANVIER_UNROLL
        for (int j = 0; j < kColumns; ++j) {
          RANVIER_UNROLL
          for (int v = 0; v < kNarrowVectors; ++v)
            acc[v][j] = fma(column[v][p], b[j] - half_vec{}, acc[v][j]);
        }
      }
      RANVIER_UNROLL
      for (int g = 0; g < kGroups; ++g) at[g] += 4;
    }
    RANVIER_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      RANVIER_UNROLL
      for (int v = 0; v < kNarrowVectors; ++v) {
        half_vec sum;
        __builtin_memcpy(&sum, &sums[j][v * kHalf], sizeof sum);
        sum = left == t.k ? acc[v][j] : sum + acc[v][j];
        __builtin_memcpy(&sums[j][v * kHalf], &sum, sizeof sum);
      }
    }
    if (left <= t.k_block) break;
  }
  store_squares<float>(kColumns, kNarrowRows, sums[0], 2 * lanes<float>, c, t.rs_c);
}

// All rows of a tile and of those after it; the last ones overlap those before.
template <int kColumns>
static void narrow(const MatmulTile<float>& t) {
  const int64_t rows = t.rows * (t.more + 1);
  for (int64_t i = 0; i < rows; i += kNarrowRows) {
    if (rows - i < kNarrowRows) i = rows - kNarrowRows;
    narrow_rows<kColumns>(t, t.a + i * t.rs_a, t.c + i * t.rs_c);
  }
}

RANVIER_INLINE bool is_narrow(const MatmulTile<float>& t) {
  return t.columns >= kNarrowest && t.columns <= kWidestNarrow && t.cs_a == 1 && t.cs_c == 1 &&
         t.k >= kNarrowProducts && !t.accumulate && t.rows * (t.more + 1) >= kNarrowRows &&
         t.step_a == t.rows * t.rs_a && !is_finished(t);
}

template <int... N>
static void run_narrow(const MatmulTile<float>& t, std::integer_sequence<int, N...>) {
  static constexpr void (*of_columns[])(const MatmulTile<float>&) = {narrow<kNarrowest + N>...};
  of_columns[t.columns - kNarrowest](t);
}

#endif

}  // namespace ranvier::RANVIER_ISA
