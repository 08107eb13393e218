// Products with few columns, float32, at AVX2 and AVX-512. With 2 to 4 columns a vector of b would be more
// than half empty: lanes are rows of c instead. Squares of four rows of a and four products along k are
// transposed in registers to vectors of rows. At AVX2, one_vector() computes other products of at most one
// vector of columns, with more rows at once than the tiles of microkernel.h. Included by matmul.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/tile.h"
#include "simd/half.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_HAS_HALF || (RANVIER_VECTOR_BYTES == 32 && defined(__AVX__))
#define RANVIER_HAS_NARROW 1
#else
#define RANVIER_HAS_NARROW 0
#endif
#if RANVIER_HAS_NARROW

#if RANVIER_HAS_HALF
typedef half_vec narrow_vec;  // eight elements at AVX-512, too
#else
typedef vec<float> narrow_vec;
#endif
constexpr int kNarrowest = 2, kWidestNarrow = 4;  // columns
constexpr int kHalf = 8;                          // elements of narrow_vec
constexpr int64_t kNarrowProducts = 20;           // for a smaller k, transposing takes longer than it saves
// The vectors of rows that are computed at once, and their rows.
constexpr int kNarrowVectors = kManyRegisters ? 3 : 2, kNarrowRows = kNarrowVectors * kHalf;

// Computes kNarrowRows rows of c. For each four products it prefetches kGroups lines of the next rows of a,
// each fetch_a elements further than the one before. Rows of a are found from a pointer for every fourth row
// and multiples of the stride.
template <int kColumns>
static void narrow_rows(const MatmulTile<float>& t, const float* a, float* c, int64_t fetch_a) {
  constexpr int kGroups = kNarrowRows / 4;
  alignas(64) float sums[kColumns][32] = {};  // kNarrowRows in whole vectors
  const int64_t rs_a = opaque(t.rs_a);
  const int64_t rs_b = opaque(t.rs_b);
  const float* b = t.b;
  const float* at[kGroups];
  const float* fetch = a + kNarrowRows * rs_a;
  RANVIER_UNROLL
  for (int g = 0; g < kGroups; ++g) {
    at[g] = a;
    a = opaque(a + 4 * rs_a);
  }
  for (int64_t left = t.k;; left -= t.chain_length) {
    narrow_vec acc[kNarrowVectors][kColumns] = {};
    const int64_t chain = left < t.chain_length ? left : t.chain_length;
    for (int64_t k = chain; k > 0; k -= 4) {
      const int64_t done = k < 4 ? 4 - k : 0;  // so many of the last four products are already added
      RANVIER_UNROLL
      for (int g = 0; g < kGroups; ++g) at[g] -= done;
      b -= done * rs_b;
      narrow_vec column[kNarrowVectors][4];
      RANVIER_UNROLL
      for (int g = 0; g < kGroups; ++g, fetch += fetch_a) __builtin_prefetch(fetch, 0, 2);
      RANVIER_UNROLL
      for (int v = 0; v < kNarrowVectors; ++v) {
        RANVIER_UNROLL
        for (int i = 0; i < 4; ++i) {
          const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(at[2 * v] + i * rs_a));
          column[v][i] = narrow_vec(_mm256_insertf128_ps(low, _mm_loadu_ps(at[2 * v + 1] + i * rs_a), 1));
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
            acc[v][j] = fma(column[v][p], b[j] - narrow_vec{}, acc[v][j]);
        }
      }
      RANVIER_UNROLL
      for (int g = 0; g < kGroups; ++g) at[g] += 4;
    }
    RANVIER_UNROLL
    for (int j = 0; j < kColumns; ++j) {
      RANVIER_UNROLL
      for (int v = 0; v < kNarrowVectors; ++v) {
        narrow_vec sum;
        __builtin_memcpy(&sum, &sums[j][v * kHalf], sizeof sum);
        sum = left == t.k ? acc[v][j] : sum + acc[v][j];
        __builtin_memcpy(&sums[j][v * kHalf], &sum, sizeof sum);
      }
    }
    if (left <= t.chain_length) break;
  }
  store_squares<float>(kColumns, kNarrowRows, sums[0], 32, c, t.rs_c);
}

// Computes all rows of a tile and of the tiles after it; the last group of rows may overlap the one before.
template <int kColumns>
static void narrow(const MatmulTile<float>& t) {
  const int64_t rows = int64_t{t.rows} * (t.more + 1);
  const int64_t fetch_a = t.fetch.gap_a ? 0 : 16 * t.fetch.a / t.rows;
  for (int64_t i = 0; i < rows; i += kNarrowRows) {
    if (rows - i < kNarrowRows) i = rows - kNarrowRows;
    narrow_rows<kColumns>(t, t.a + i * t.rs_a, t.c + i * t.rs_c, fetch_a);
  }
}

#if RANVIER_VECTOR_BYTES == 32
constexpr int kOneRows = 12;  // rows at once: this many chains hide the latency of FMAs

// Computes all rows of a tile of at most one vector of columns and of the tiles after it, kOneRows at once;
// the last group of rows may overlap the one before. Where rows of c follow each other in memory without a
// gap, a row of less than a vector is stored as a whole vector, since the next row then overwrites the
// excess.
static void one_vector(const MatmulTile<float>& t) {
  constexpr int L = lanes<float>;
  const int64_t rows = int64_t{t.rows} * (t.more + 1);
  const int64_t rs_b = t.rs_b;
  const int64_t rs_c = t.rs_c;
  const int64_t fetch_a = t.fetch.gap_a ? 0 : kOneRows * t.fetch.a / t.rows;
  const int columns = t.columns;
  const int dense = rs_c == columns ? kOneRows - (L - 1) / columns : 0;
  const int whole = columns == L ? kOneRows : dense;  // rows that are stored as whole vectors
  alignas(32) float sums[kOneRows][L];
  for (int64_t i = 0; i < rows; i += kOneRows) {
    if (rows - i < kOneRows) i = rows - kOneRows;
    const float* b = t.b;
    ColumnOfA<float, kOneRows> a(t, t.a + i * t.rs_a);
    const float* fetch = t.a + (i + kOneRows) * t.rs_a;
    float* c = t.c + i * rs_c;
    for (int64_t left = t.k;; left -= t.chain_length) {
      vec<float> acc[kOneRows] = {};
      const int64_t chain = left < t.chain_length ? left : t.chain_length;
      for (int64_t k = chain; k > 0; --k, b += rs_b) {
        const vec<float> row = load(b);
        __builtin_prefetch(fetch, 0, 2);
        fetch += fetch_a;
        RANVIER_UNROLL
        for (int r = 0; r < kOneRows; ++r) acc[r] = fma(factor<float>(a.row(r)), row, acc[r]);
        a.next();
      }
      if (left < t.k) {
        RANVIER_UNROLL
        for (int r = 0; r < kOneRows; ++r) acc[r] = load(sums[r]) + acc[r];
      }
      const int direct = left <= t.chain_length ? whole : 0;
      float* to = c;
      RANVIER_UNROLL
      for (int r = 0; r < kOneRows; ++r, to = opaque(to + rs_c)) {
        float* row = r < direct ? to : sums[r];
        store(row, acc[r]);
      }
      if (left <= t.chain_length) break;
    }
    for (int r = whole; r < kOneRows; ++r) store_n(c + r * rs_c, load(sums[r]), columns);
  }
}
#endif

// True if a tile and the tiles after it are at least `least` consecutive rows of a and c, and nothing follows
// the sums.
RANVIER_INLINE bool is_run_of_rows(const MatmulTile<float>& t, int least) {
  return t.cs_c == 1 && !t.accumulate && t.rows * (t.more + 1) >= least && t.step_a == t.rows * t.rs_a &&
         t.after.is_empty();
}

RANVIER_INLINE bool is_narrow(const MatmulTile<float>& t) {
  return t.columns >= kNarrowest && t.columns <= kWidestNarrow && t.cs_a == 1 && t.k >= kNarrowProducts &&
         is_run_of_rows(t, kNarrowRows);
}

template <int... N>
static void run_narrow(const MatmulTile<float>& t, std::integer_sequence<int, N...>) {
  static constexpr void (*of_columns[])(const MatmulTile<float>&) = {narrow<kNarrowest + N>...};
  of_columns[t.columns - kNarrowest](t);
}

#endif

}  // namespace ranvier::RANVIER_ISA
