// Products of bfloat16 by the instruction vdpbf16ps, which multiplies two pairs of numbers and adds both
// products to a float32. This file declares medium_kernels(), the MatmulKernels whose elements are such
// pairs: two factors that are neighbours along k, in the place of one float32. The plans and loops of matmul
// move these elements as if they were float32, with half of k; only packing, which makes pairs of float32,
// and the sums of a tile differ. The functions are in bfloat16.isa.cpp.
//
// Factors are rounded to the nearest bfloat16, ties to even. NaN and infinities stay; subnormal numbers
// become 0. A chain has at most kMaxChain pairs.
#pragma once
#include "base/half.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

// Arguments of StoredPairs::pack, which packs a matrix that is stored as bfloat16: src [k, columns] -> dst
// [ceil(k / 2), width]. dst[p * width + j] is the pair src[2 p * rs + j * cs] and src[(2 p + 1) * rs + j *
// cs], 0 where j >= columns or 2 p + 1 = k.
struct PackStored {
  int64_t k;
  int columns, width;
  const uint16_t* src;
  int64_t rs, cs;
  float* dst;
};

// Arguments of StoredPairs::run, which computes a tile of c from pairs: a panel of a [rows, k], where pair
// a[i, p] is at a[i * rs_a + p * cs_a], by a packed panel of b [k, columns], one or two vectors of columns.
struct StoredTile {
  int64_t k, chain_length;    // in pairs: all, and the most in one chain
  const float *a, *b, *bias;  // bias: float32, padded to whole vectors; or null
  int64_t rs_a, cs_a;
  int rows, columns;
  MatmulActivation activation;
  BFloat16* c;    // c[i * rs_c + j * cs_c], rounded
  float* floats;  // if not null, c is stored here as float32, times scale
  float scale = 1;
  bool added = false;  // true: added to what is in `floats`
  // If k has several blocks: the sums of the blocks before, in rows of rs_sums elements, which are
  // whole vectors; else null.
  float* sums = nullptr;
  int64_t rs_sums = 0;
  bool is_first_block = true, is_last_block = true;
  int64_t rs_c, cs_c;
};

// The functions for matrices that are stored as bfloat16; stored_pairs.h and attention/stored_products.h call
// them.
struct StoredPairs {
  int rows, columns;  // of the largest tile
  void (*pack)(const PackStored&);
  void (*run)(const StoredTile&);
};

#if RANVIER_HAS_v4
namespace v4 {
extern const MatmulKernels<float> matmul_pairs;
extern const StoredPairs stored_pairs;
// Rounds rows of float32, an even number of factors in each, to pairs of neighbours. Rows of src are rs
// elements apart, rows of dst rd pairs.
void round_rows(int64_t rows, int64_t factors, const float* src, int64_t rs, float* dst, int64_t rd);
}  // namespace v4
using v4::round_rows;
static inline const MatmulKernels<float>& medium_kernels() { return v4::matmul_pairs; }
static inline const StoredPairs& stored_kernels() { return v4::stored_pairs; }
#else  // without level v4 these are not called
static inline void round_rows(int64_t, int64_t, const float*, int64_t, float*, int64_t) {}
static inline const MatmulKernels<float>& medium_kernels() { return matmul_kernels<float>(); }
static inline const StoredPairs& stored_kernels() {
  static constexpr StoredPairs none{1, 1, nullptr, nullptr};
  return none;
}
#endif

// True if a product (m, k) x (k, n) takes less time in pairs: rounding a smaller one takes as long as
// computing it. It does not depend on m, so that a row of c has the same bits beside any number of other
// rows.
inline bool pays_in_pairs(int64_t n, int64_t k) { return n >= 16 && k >= 16 && n * k >= 1024; }

}  // namespace ranvier
