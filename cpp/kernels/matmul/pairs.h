// Products of bfloat16: the tables of matmul whose elements are two factors that are neighbours along k, in
// the place of one float32. The loops, plans and tiles of float32 move such elements as they are, for half of
// k; only packing, which makes pairs of float32, and the sum in a tile differ.
//
// Factors are rounded to the nearest bfloat16, ties to even. NaN and infinities stay, subnormal numbers are
// 0. The processor adds the products of a pair to a sum of float32. Its chains are of kc pairs at most.
#pragma once
#include "base/half.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

// Packing of a matrix that is stored as bfloat16 (stored_pairs.h), src [k, columns] -> dst [ceil(k / 2),
// width]: dst[p * width + j] = the pair src[2 p * rs + j * cs], src[(2 p + 1) * rs + j * cs], zeros beyond
// the columns.
struct PackStored {
  int64_t k;
  int columns, width;
  const uint16_t* src;
  int64_t rs, cs;
  float* dst;
};

// A tile of such a product: a panel of a [rows, k], a[i, p] at a[i * rs_a + p * cs_a], by a packed strip of b
// [k, columns], one or two vectors of columns.
struct StoredTile {
  int64_t k, k_block;  // pairs
  const float *a, *b, *bias;
  int64_t rs_a, cs_a;
  int rows, columns;
  MatmulActivation activation;
  BFloat16* c;    // c[i * rs_c + j * cs_c], rounded
  float* floats;  // or, if not null, scale times the sums, which may be added to what is there
  float scale = 1;
  bool added = false;
  // Where k is in parts: the sums of those before, [rows, width_of_parts], whole vectors; else null.
  float* of_parts = nullptr;
  int64_t width_of_parts = 0;
  bool is_first_part = true, is_last_part = true;
  int64_t rs_c, cs_c;
};

struct StoredPairs {
  int rows, columns;  // the largest tile
  void (*pack)(const PackStored&);
  void (*run)(const StoredTile&);
};

#if RANVIER_HAS_V4
namespace v4 {
extern const MatmulKernels<float> matmul_pairs;
extern const StoredPairs stored_pairs;
// Rows of an even number of factors, `rs` apart, as pairs of neighbours: to rows `rd` apart.
void round_rows(int64_t rows, int64_t factors, const float* src, int64_t rs, float* dst, int64_t rd);
}  // namespace v4
using v4::round_rows;
static inline const MatmulKernels<float>& medium_kernels() { return v4::matmul_pairs; }
static inline const StoredPairs& stored_kernels() { return v4::stored_pairs; }
#else  // not called
static inline void round_rows(int64_t, int64_t, const float*, int64_t, float*, int64_t) {}
static inline const MatmulKernels<float>& medium_kernels() { return matmul_kernels<float>(); }
static inline const StoredPairs& stored_kernels() {
  static constexpr StoredPairs none{1, 1, nullptr, nullptr};
  return none;
}
#endif

// By n and k alone, so that a row has the same bits beside any number of others. Smaller products take as
// much time to round as to compute.
inline bool pays_in_pairs(int64_t n, int64_t k) { return n >= 16 && k >= 16 && n * k >= 1024; }

}  // namespace ranvier
