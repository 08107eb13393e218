// Packing for AMX (see amx.h): 16 lines (rows of a, or columns of b) of 32 factors along k are read at a
// time, and rounded to bfloat16 (kParts = 1, precision "medium"), or split into two numbers of bfloat16, hi
// and lo (kParts = 2, "high"). Such 32 factors are a step, as many as a tile register has in a row: 16 pairs.
// With
//
//   pair(i, l) = factors 2 l and 2 l + 1 of line i in this step, in the place of one float32
//
// a register's 16 x 16 pairs are stored
//
//   of a, line after line         of b, pair after pair, across all lines of the panel
//   (0,0) (0,1) ... (0,15)          (0,0) (1,0) ... (width-1,0)
//   (1,0) (1,1) ... (1,15)          (0,1) (1,1) ... (width-1,1)
//   ...                             ...
//
// and with kParts = 2 first all pairs of hi, then those of lo; then the next step follows. Lines and factors
// that do not exist are zeros. Included by amx.isa.cpp only.
#pragma once
#include "kernels/matmul/amx.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
constexpr int L = lanes<float>, kSide = 2 * L;  // kSide: rows and columns of a tile
// Factors are multiplied by kScale, sums by kUnscale, against subnormal numbers: see amx.h.
constexpr float kScale = 0x1p45f, kUnscale = 0x1p-90f;

// The lanes of both vectors rounded to bfloat16: first all of `low`, then all of `high`.
RANVIER_INLINE V rounded(V low, V high) { return (V)(__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low)); }

// The numbers of the lower (kHalf = 0) or upper half of x, which are bfloat16, as float32.
template <int kHalf>
RANVIER_INLINE V widened(V x) {
  static constexpr uint16_t order[2][2 * L] = {
      {0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15},
      {0, 16, 0, 17, 0, 18, 0, 19, 0, 20, 0, 21, 0, 22, 0, 23,
       0, 24, 0, 25, 0, 26, 0, 27, 0, 28, 0, 29, 0, 30, 0, 31}};
  return (V)_mm512_maskz_permutexvar_epi16(0xaaaaaaaa, _mm512_loadu_si512(order[kHalf]), (__m512i)x);
}

// The 32 numbers of x = rounded(low, high) in the order of pairs: number i of `low`, then number i of `high`.
RANVIER_INLINE V paired(V x) {
  static constexpr uint16_t order[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (V)_mm512_maskz_permutexvar_epi16(~__mmask32(0), _mm512_loadu_si512(order), (__m512i)x);
}

// Rounds or splits 32 numbers to 16 pairs: to[0][i] = the numbers rounded, and with kParts = 2 to[1][i] = the
// rests rounded (hi and lo of amx.h, scaled). kPairs: a pair is lane l of `low` and of `high`; else
// neighbours of `low`, then of `high`.
template <bool kPairs, int kParts>
RANVIER_INLINE void split(V low, V high, V (&to)[kParts][L], int i) {
  constexpr int kHigh = -65536;
  if constexpr (kParts == 2) {
    low = low * kScale;
    high = high * kScale;
  }
  const V both = rounded(low, high);
  const V hi = kPairs ? paired(both) : both;
  to[0][i] = hi;
  if constexpr (kParts == 2 && kPairs)
    to[1][i] = paired(rounded(low - (V)((ivec<float>)hi << 16), high - (V)((ivec<float>)hi & kHigh)));
  else if constexpr (kParts == 2)
    to[1][i] = rounded(low - widened<0>(hi), high - widened<1>(hi));
}

// n elements, 0 <= n <= L, that are `stride` apart; zeros in the other lanes.
static V line_of(const float* p, int64_t stride, int n) {
  float x[L] = {};
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return load(x);
}

// The first n elements at p, at most a vector, none for n <= 0; zeros in the other lanes.
RANVIER_INLINE V load_some(const float* p, int n) {
  if (n <= 0) return V{};
  return load_n(p, n < L ? n : L);
}

// Rounds or splits one block: n lines, cs apart, of `factors` numbers, rs apart. to[part][i] is line i, its
// 16 pairs, if the numbers of a line are contiguous (rs = 1); else pair i of all lines. The rest is zeros.
template <int kParts>
static void load_block(const float* src, int64_t rs, int64_t cs, int n, int factors, V (&to)[kParts][L]) {
  int done = 0;
  if (rs == 1) {
    n = factors > 0 ? n : 0;
    for (; done < n; ++done, src += cs)
      split<false>(load_some(src, factors), load_some(src + L, factors - L), to, done);
  } else {
    const auto lines = [&](const auto& line) RANVIER_INLINED {
      constexpr int kAhead = 2 * L;  // a line is often on a page of its own, where no hardware fetches ahead
      for (; 2 * done + 1 < factors; ++done, src += 2 * rs) {
        __builtin_prefetch(src + kAhead * rs);
        __builtin_prefetch(src + (kAhead + 1) * rs);
        split<true>(line(src), line(src + rs), to, done);
      }
      if (2 * done < factors) {  // the last pair has one factor
        split<true>(line(src), V{}, to, done);
        ++done;
      }
    };
    if (cs == 1)
      lines([n](const float* p) RANVIER_INLINED { return load_some(p, n); });
    else
      lines([n, cs](const float* p) RANVIER_INLINED { return line_of(p, cs, n); });
  }
  for (; done < L; ++done)
    for (int q = 0; q < kParts; ++q) to[q][done] = V{};
}

// MatmulKernels::pack and pack_rows: rows of a (kRows) are packed as [step][part][row][pair], columns of b as
// [step][part][pair][column]; part: hi, or lo. Element (p, j) of src is at src[p * rs + j * cs], where an
// element has 3 - kParts factors, the last one `missing` fewer. k: the elements, in whole steps of packed
// ones.
template <int kParts, bool kRows>
static void pack_blocks(int64_t k, int columns, int width, const float* src, int64_t rs, int64_t cs,
                        float* dst, int missing) {
  constexpr int kFactors = 3 - kParts;  // of an element
  constexpr int kStep = kParts * L;     // elements of a step, which has 2 L factors
  rs /= kFactors;                       // now from factor to factor
  int64_t factors = k * kFactors - missing;
  for (int64_t p = 0; p < k; p += kStep, factors -= 2 * L, src += 2 * L * rs, dst += kStep * width)
    for (int j = 0; j < width; j += L) {
      const int n = columns - j < L ? columns - j : L;
      const int stored = kRows && width - j < L ? width - j : L;
      const int factors_of_step = factors < 2 * L ? static_cast<int>(factors) : 2 * L;
      V block[kParts][L];
      load_block<kParts>(src + j * cs, rs, cs, n, factors_of_step, block);
      // A vector of `block` is a line if factors are contiguous in src, else a pair of all lines; rows of a
      // are stored line by line, columns of b pair by pair.
      const bool must_transpose = (rs == 1) != kRows;
      const int first = kRows ? j * L : j;
      const int next = kRows ? L : width;
#pragma GCC unroll 1
      for (int q = 0; q < kParts; ++q) {
        if (must_transpose) transpose(block[q]);
        float* to = dst + q * L * width + first;
        for (int i = 0; i < stored; ++i, to += next) store(to, block[q][i]);
      }
    }
}

}  // namespace ranvier::RANVIER_ISA
