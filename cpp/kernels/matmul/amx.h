// Products of bfloat16 by AMX, the matrix registers of the processor. This file declares amx_kernels(), the
// MatmulKernels whose tiles are 32 x 32 sums, four registers. A pair is two numbers of bfloat16 that are
// neighbours along k, in the place of one float32. 16 pairs along k are a step, as many as one register has
// in a row: a is packed as [step][row][pair], b as [step][pair][column]. amx.isa.cpp has the functions.
//
// Precision "medium": a factor is one number of bfloat16, an element a pair of factors. For each step the
// processor adds up the products of the first numbers of the 16 pairs, and separately those of the second
// numbers, and adds both to the sum.
//
// Precision "high": a factor x is the sum of two numbers of bfloat16, its halves: hi is x rounded to nearest,
// lo is x - hi rounded to nearest. An element is one factor. Each step has three products, in this order:
// hi lo, hi hi, lo hi (a before b). A step is packed as [hi, lo][row][pair] of a and [hi, lo][pair][column]
// of b.
//
//   Errors: |x - hi| <= 2^-8 |x| and |x - hi - lo| <= 2^-17 |x|. What the three products leave out, lo lo and
//   the products of the rests, is at most 2^-16 + 2 * 2^-17 = 2^-15 of |a| |b| for the worst factors. Usual
//   errors have random signs and are much smaller: docs/accuracy.md has measurements.
//   Range: packing multiplies factors by 2^45, and sums are multiplied by 2^-90. So no factor of float32
//   becomes subnormal, which the processor takes as 0: lo is at least 2^(-149 + 45). Products that are lost
//   are below 2^-216. Factors of 2^82 or more, sums of 2^38 or more, infinities and NaN give an infinite or
//   NaN sum; unfit.h computes such rows of c again in float32. A row of c depends on its row of a and on b
//   alone, so it has the same bits beside any other rows.
#pragma once
#include "kernels/matmul/tile.h"

namespace ranvier {

#if RANVIER_HAS_v4
namespace v4 {
extern const MatmulKernels<float> matmul_amx[2][2];  // [medium][emulated]
}
static inline const MatmulKernels<float>& amx_kernels(bool medium, bool emulated) {
  return v4::matmul_amx[medium][emulated];
}
#else  // without level v4 it is not called
static inline const MatmulKernels<float>& amx_kernels(bool, bool) { return matmul_kernels<float>(); }
#endif

// Up to this many rows of a, one tile, are multiplied by a b that is not packed beforehand
// (MatmulKernels::gemv), since each number of b is then used once. Rows or columns of b must be contiguous.
constexpr int kAmxFewRows = 32;

// True if a product (m, k) x (k, n) takes less time by AMX. It does not depend on m, as pays_in_pairs().
inline bool pays_in_tiles(bool medium, int64_t n, int64_t k) {
  return medium ? n >= 32 && k >= 32 && n * k >= 4096 : n >= 256 && k >= 256;
}

}  // namespace ranvier
