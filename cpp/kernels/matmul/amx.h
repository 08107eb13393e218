// Products of bfloat16 by AMX: the tables of matmul whose elements are pairs, as in pairs.h, and whose tiles
// are 32 x 32, four of the processor's. Along k, 16 pairs are a step: a is packed as [step][row][pair], b as
// [step][pair][column].
//
// "medium": one number for each factor. The processor adds up the products of the first numbers of the 16
// pairs of a step, those of the second ones, and both to the sum.
//
// "high", halves: a factor x is the sum of two numbers of bfloat16, hi = x to nearest, lo = x - hi to
// nearest, and each step has three products in this order: hi lo, hi hi, lo hi. A step of b is [hi,
// lo][pair][column].
//   |x - hi| <= 2^-8 |x|, |x - hi - lo| <= 2^-17 |x|: what is left out, lo lo and the rests, is at most
//   2^-16 + 2 * 2^-17 = 2^-15 of |a| |b|, where all factors are the worst ones. For others these errors have
//   random signs: docs/accuracy.md has what is measured.
// Factors are multiplied by 2^45 while they are packed, and sums by 2^-90: so nothing that float32 has is
// flushed as subnormal (lo is at least 2^-149 + 45, products that are lost are below 2^-216). Factors of 2^82
// or more, sums of 2^38 or more, infinities and NaN give a sum that is no number: such rows of c are computed
// again in float32 (unfit.h). A row depends on itself and b alone, so it has the same bits beside others.
#pragma once
#include "kernels/matmul/tile.h"

namespace ranvier {

#if RANVIER_HAS_V4
namespace v4 {
extern const MatmulKernels<float> matmul_amx[2][2];  // [medium][emulated]
}
static inline const MatmulKernels<float>& amx_kernels(bool medium, bool emulated) {
  return v4::matmul_amx[medium][emulated];
}
#else  // not called
static inline const MatmulKernels<float>& amx_kernels(bool, bool) { return matmul_kernels<float>(); }
#endif

// Up to this many rows are multiplied by a b that is rounded where it is used: each of its numbers is needed
// once. Its rows or columns are contiguous.
constexpr int kAmxFewRows = 32;

// By n and k alone, as pays_in_pairs.
inline bool pays_in_tiles(bool medium, int64_t n, int64_t k) {
  return medium ? n >= 32 && k >= 32 && n * k >= 4096 : n >= 256 && k >= 256;
}

}  // namespace ranvier
