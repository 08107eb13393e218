// Products of bfloat16: the tables of matmul whose elements are two factors that are neighbours along k, in
// the place of one float32. The loops, plans and tiles of float32 move such elements as they are, for half of
// k; only packing, which makes pairs of float32, and the sum in a tile differ.
//
// Factors are rounded to the nearest bfloat16, ties to even. NaN and infinities stay, subnormal numbers are
// 0. The processor adds the products of a pair to a sum of float32. Its chains are of kc pairs at most.
#pragma once
#include "kernels/matmul/matmul.h"

namespace ranvier {

#if defined(__x86_64__)
namespace v4 {
extern const MatmulKernels<float> matmul_pairs;
// Rows of an even number of factors, `rs` apart, as pairs of neighbours: to rows `rd` apart.
void round_rows(int64_t rows, int64_t factors, const float* src, int64_t rs, float* dst, int64_t rd);
}  // namespace v4
using v4::round_rows;
static inline const MatmulKernels<float>& medium_kernels() { return v4::matmul_pairs; }
#else  // not called
static inline void round_rows(int64_t, int64_t, const float*, int64_t, float*, int64_t) {}
static inline const MatmulKernels<float>& medium_kernels() { return matmul_kernels<float>(); }
#endif

// By n and k alone, so that a row has the same bits beside any number of others. Smaller products take as
// much time to round as to compute.
inline bool pays_in_pairs(int64_t n, int64_t k) { return n >= 16 && k >= 16 && n * k >= 1024; }

}  // namespace ranvier
