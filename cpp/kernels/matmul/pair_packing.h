// Packing for products of bfloat16 (pairs.h): two numbers of a column that are neighbours along k become one
// element of 32 bits, a pair.
//
//   src [k, columns] of 16 bits          dst [ceil(k / 2), width] of 32 bits
//     b[0,0]  b[0,1]  b[0,2] ...           (b[0,0] b[1,0])  (b[0,1] b[1,1])  (b[0,2] b[1,2]) ... 0 0
//     b[1,0]  b[1,1]  b[1,2] ...           (b[2,0]    0  )  (b[2,1]    0  )  (b[2,2]    0  ) ... 0 0
//     b[2,0]  b[2,1]  b[2,2] ...           the second number of a pair is 0 after the last row of an odd k
//
// pack_stored() packs a matrix that is stored as bfloat16 (StoredPairs::pack); bfloat16.isa.cpp, which alone
// includes this file, packs float32, with pack_columns() from here. L is the number of pairs in a vector.
#pragma once
#include "kernels/matmul/pair_chains.h"
#include "kernels/matmul/pairs.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// n contiguous numbers of a column, 0 <= n <= 2 L, as pairs, then zeros.
RANVIER_INLINE vec<float> column_pairs(const uint16_t* p, int n) {
  if (n == 2 * L) return (vec<float>)_mm512_loadu_si512(p);
  return (vec<float>)_mm512_maskz_loadu_epi16(_bzhi_u32(~0u, unsigned(n)), p);
}

// n pairs, 0 <= n <= L, each of a number of row `low` and one of row `high`. high is null after the last row
// of an odd k; the second numbers are then 0.
RANVIER_INLINE vec<float> row_pairs(const uint16_t* low, const uint16_t* high, int n) {
  const __mmask16 some = __mmask16(_bzhi_u32(0xffff, unsigned(n)));
  const auto row = [=](const uint16_t* p) RANVIER_INLINED {
    if (n == L) return _mm512_maskz_cvtepu16_epi32(~__mmask16(0), _mm256_loadu_si256((const __m256i*)p));
    return _mm512_maskz_cvtepu16_epi32(~__mmask16(0), _mm256_maskz_loadu_epi16(some, p));
  };
  __m512i x = row(low);
  if (high) x |= _mm512_maskz_slli_epi32(~__mmask16(0), row(high), 16);
  return (vec<float>)x;
}

// Packs columns that are contiguous in memory and `cs` elements apart: squares of L pairs of L columns are
// transposed in registers. pairs_of(p, n) gives n numbers of a column from p on, 0 <= n <= 2 L, as pairs.
template <class T, class PairsOf>
static void pack_columns(int64_t k, int columns, int width, const T* src, int64_t cs, float* dst,
                         const PairsOf& pairs_of) {
  for (int64_t p = 0; 2 * p < k; p += L) {
    const int64_t left = k - 2 * p;
    const int numbers = left < 2 * L ? static_cast<int>(left) : 2 * L;
    const int pairs = (numbers + 1) / 2;
    for (int j0 = 0; j0 < width; j0 += L) {
      const int nj = columns - j0 < L ? columns - j0 : L;  // columns of this square; <= 0: padding alone
      const int stored = width - j0 < L ? width - j0 : L;
      const T* from = src + j0 * cs + 2 * p;
      vec<float> square[L];  // [columns, pairs], then [pairs, columns]
      RANVIER_UNROLL
      for (int j = 0; j < L; ++j) {
        square[j] = vec<float>{};
        if (j < nj) square[j] = pairs_of(from, numbers);
        if (j + 1 < nj) from = opaque(from + cs);
      }
      transpose(square);
      float* to = dst + p * width + j0;
      RANVIER_UNROLL
      for (int i = 0; i < L; ++i) {
        if (i < pairs) store_n(to, square[i], stored);
        to = opaque(to + width);
      }
    }
  }
}

// StoredPairs::pack: any strides.
static void pack_stored(const PackStored& x) {
  if (x.rs == 1 && x.cs != 1)
    return pack_columns(x.k, x.columns, x.width, x.src, x.cs, x.dst,
                        [](const uint16_t* p, int n) RANVIER_INLINED { return column_pairs(p, n); });
  constexpr int kAhead = 32;    // rows
  const uint16_t* low = x.src;  // rows 2 p and 2 p + 1 are `low` and `high`
  float* to = x.dst;
  for (int64_t left = x.k; left > 0; left -= 2, low += 2 * x.rs, to += x.width) {
    const uint16_t* high = left > 1 ? low + x.rs : nullptr;
    for (int j = 0; j < x.width; j += L) {
      const int n = x.columns - j < L ? x.columns - j : L;
      const int stored = x.width - j < L ? x.width - j : L;
      if (x.cs == 1) {
        __builtin_prefetch(low + kAhead * x.rs + j, 0, 2);
        __builtin_prefetch(low + (kAhead + 1) * x.rs + j, 0, 2);
        const uint16_t* second = high ? high + j : nullptr;
        const vec<float> pairs = n > 0 ? row_pairs(low + j, second, n) : vec<float>{};  // n <= 0: padding
        store_n(to + j, pairs, stored);
        continue;
      }
      uint16_t pairs[2 * L] = {};
#pragma GCC unroll 1
      for (int l = 0; l < n; ++l) {
        pairs[2 * l] = low[(j + l) * x.cs];
        if (high) pairs[2 * l + 1] = high[(j + l) * x.cs];
      }
      store_n(to + j, column_pairs(pairs, 2 * L), stored);
    }
  }
}

}  // namespace ranvier::RANVIER_ISA
