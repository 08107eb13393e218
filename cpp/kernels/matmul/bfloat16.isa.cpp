// matmul's tiles and packing for pairs of bfloat16: see pairs.h. This file is compiled for level v4 alone.
//
// A pair is two numbers of bfloat16 that are neighbours along k; it has the place of one float32. A packed
// array consists of pairs. An array that is not packed consists of numbers of float32, two for each pair. The
// stride of such an array along k (rs_pair in packing, cs_a and rs_b in a tile) is the distance from one pair
// to the next; the second number of a pair is half of this distance after the first.
#if __AVX512BF16__
#include "kernels/matmul/pairs.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/pair_chains.h"
#include "kernels/matmul/pair_packing.h"
#include "kernels/matmul/stored_tiles.h"

namespace ranvier::RANVIER_ISA {

// Each lane of the result is a pair: the lane of `low` rounded to bfloat16, then that of `high`.
RANVIER_INLINE vec<float> pairs(vec<float> low, vec<float> high) {
  static constexpr uint16_t order[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low));
  return (vec<float>)_mm512_maskz_permutexvar_epi16(~__mmask32(0), _mm512_loadu_si512(order), both);
}

// The `count` <= 2 L contiguous numbers at p, as pairs of neighbours. A last pair may lack its second number,
// which is 0 then.
RANVIER_INLINE vec<float> pairs_at(const float* p, int count) {
  const int more = count > L ? count - L : 0;
  const vec<float> low = load_n(p, count - more);
  const vec<float> high = load_n(p + L, more);
  return (vec<float>)(__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low));
}

// See pairs.h.
extern void round_rows(int64_t rows, int64_t factors, const float* src, int64_t rs, float* dst, int64_t rd) {
  for (; rows > 0; --rows, src += rs, dst += rd)
    for (int64_t p = 0; 2 * p < factors; p += L) {
      const int64_t left = factors - 2 * p;
      const int n = left < 2 * L ? static_cast<int>(left) : 2 * L;
      store_n(dst + p, pairs_at(src + 2 * p, n), n / 2);
    }
}

// A vector of n elements, 0 <= n <= L, that are `stride` apart in memory.
static vec<float> line_of(const float* p, int64_t stride, int n) {
  if (stride == 1) return load_n(p, n);
  float x[L] = {};
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return load(x);
}

// Packs k pairs of each column, for b with contiguous rows or any strides: dst[p * width + j] is the pair of
// src[p * rs_pair + j * cs] and src[p * rs_pair + rs_pair / 2 + j * cs], 0 for columns <= j < width. It takes
// L columns at a time, from the first pair to the last. odd: the last pair lacks its second number, which is
// 0.
static void pack_lines(int64_t k, int columns, int width, const float* src, int64_t rs_pair, int64_t cs,
                       float* dst, bool odd) {
  constexpr int kAheadRows = 16;
  const int64_t second = rs_pair / 2;  // from the first number of a pair to the second: one row of src
  for (int j = 0; j < width; j += L, src += L * cs, dst += L) {
    const int n = columns - j < L ? columns - j : L;
    const int stored = width - j < L ? width - j : L;
    const float* from = src;
    float* to = dst;
    // line(p): L numbers of the row of src that p points to.
    const auto lines = [&](int64_t k, const auto& line) RANVIER_INLINED {
#pragma GCC unroll 1
      for (; k > 0; --k, from += rs_pair, to += width) {
        __builtin_prefetch(from + kAheadRows * second, 0, 2);
        __builtin_prefetch(from + (kAheadRows + 1) * second, 0, 2);
        store_n(to, pairs(line(from), line(from + second)), stored);
      }
    };
    if (n <= 0)
      lines(k, [](const float*) RANVIER_INLINED { return vec<float>{}; });
    else if (cs == 1)
      lines(k - odd, [n](const float* p) RANVIER_INLINED { return load_n(p, n); });
    else
      lines(k - odd, [n, cs](const float* p) RANVIER_INLINED { return line_of(p, cs, n); });
    if (n > 0 && odd && k > 0) store_n(to, pairs(line_of(from, cs, n), vec<float>{}), stored);
  }
}

// MatmulKernels::pack of pairs: as pack_lines(), and faster where columns are contiguous (rs_pair = 2).
static void pack_pairs(int64_t k, int columns, int width, const float* src, int64_t rs_pair, int64_t cs,
                       float* dst, int missing) {
  const bool odd = missing != 0;
  if (rs_pair == 2 && cs != 1)
    pack_columns(2 * k - odd, columns, width, src, cs, dst,
                 [](const float* p, int n) RANVIER_INLINED { return pairs_at(p, n); });
  else
    pack_lines(k, columns, width, src, rs_pair, cs, dst, odd);
}

// MatmulKernels::tile: t.k counts pairs, and a and b are packed.
static void run_pair_tile(const MatmulTile<float>& tile) {
  const int width = tile.columns > L ? kTileVectors * L : L;
  const Chain chain = chain_of(tile.rows, tile.columns > L, std::make_integer_sequence<int, kTileRows>());
  alignas(64) float total[kTileRows * kTileVectors * L], more[kTileRows * kTileVectors * L];
  const auto sum = [&](const MatmulTile<float>& t, int64_t p, int64_t k, float* to)
                       RANVIER_INLINED { chain(k, t.a + p * t.rows, 1, t.rows, t.b + p * width, to); };
  run_tiles_of_pairs(tile, width, total, more, sum, [](const MatmulTile<float>&, float*) RANVIER_INLINED {});
}

// --- Few rows of a. b is not packed beforehand: a pass over b rounds its numbers to bfloat16 and multiplies
// up to kFewRows rows of a by them; for more rows of a, there are several passes.

// The most rows of a in a pass. The loops exist for the numbers of rows in kHeights; others are padded with
// rows of zeros to the next height. A height is at most twice the number of rows, for which `sums` has room.
constexpr int kFewRows = 12;
constexpr int kHeights[] = {1, 2, 4, 6, 8, kFewRows};
// A b with contiguous columns is packed after all, a square of this many columns and pairs at a time, which
// L1 holds.
constexpr int kSquareColumns = 4 * L, kSquarePairs = 2 * L;
// Where rs_b, two rows of b, is more than kLongRow floats (a page of memory), kPairsOfLong pairs are
// multiplied in all columns before the next pairs are, so that few pages are in use at a time.
constexpr int64_t kLongRow = 1024, kPairsOfLong = 4;
// Columns whose distance is a multiple of this many floats fall into the same few sets of L1, which hold few
// lines: then a square has half as many columns.
constexpr int64_t kInFewSets = 512;

// A product of a panel of a and a part of b, whose results are added to `sums`.
struct FewRows {
  int64_t k;       // pairs
  const float* a;  // a packed panel: pair p of row i is a[p * height + i]
  const float* b;  // rows of float32 that are rs_b / 2 apart, or packed rows of pairs that are rs_b apart
  int64_t rs_b;
  int columns;
  bool odd;    // the last pair lacks its second number
  bool first;  // the sums begin with this product; else it is added to them
  float* sums;
  int64_t width;  // elements of a row of sums
};

// Adds the product to the sums of kRows rows and kVectors vectors of columns, from `column` on. kPacked: b is
// packed; else its numbers are made pairs here.
template <int kRows, int kVectors, bool kPacked>
static void few_columns(const FewRows& t, int column) {
  constexpr int kAheadPairs = 4;
  static constexpr float zeros[kVectors * L] = {};  // for the second numbers of a last pair that lacks them
  const int64_t ahead = t.rs_b > kLongRow ? kVectors * L : kAheadPairs * t.rs_b;
  const int left = t.columns - column - (kVectors - 1) * L;
  const int last = left < L ? left : L;
  const int64_t second = t.rs_b / 2;
  const float* a = t.a;
  const float* b = t.b + column;
  float* sums = t.sums + column;
  vec<float> acc[kRows][kVectors] = {};
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v)
      if (!t.first) acc[i][v] = load(sums + i * t.width + v * L);
  }
  const auto row_at = [&](const float* p, int v) RANVIER_INLINED {
    return v == kVectors - 1 ? load_n(p + v * L, last) : load(p + v * L);
  };
  for (int64_t p = 1; p <= t.k; ++p, a += kRows, b += t.rs_b) {
    const float* low = b;
    const float* high = p == t.k && t.odd ? zeros : b + second;
    __m512bh row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      vec<float> x = row_at(low, v);
      if constexpr (!kPacked) {
        __builtin_prefetch(low + ahead + v * L);
        __builtin_prefetch(low + ahead + second + v * L);
        x = pairs(x, row_at(high, v));
      }
      row[v] = (__m512bh)__m512(x);
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const __m512bh x = (__m512bh)_mm512_set1_ps(a[i]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v)
        acc[i][v] = vec<float>(_mm512_dpbf16_ps(__m512(acc[i][v]), x, row[v]));
    }
  }
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + i * t.width + v * L, acc[i][v]);
  }
}

// All columns of a b that is not packed, kVectors vectors at a time; the last ones by half as many.
template <int kRows, int kVectors>
static void few_rows(const FewRows& t, int column = 0) {
  for (; t.columns - column > (kVectors - 1) * L; column += kVectors * L)
    few_columns<kRows, kVectors, false>(t, column);
  if constexpr (kVectors > 1)
    if (column < t.columns) few_rows<kRows, kVectors / 2>(t, column);
}

// sums [height, width] = the products of the tile, which has up to kFewRows rows of a and, where cs_b is
// not 1, up to kDotRows: see run_pair_gemv() for cs_b, plan.cpp for the bound. in_place has an entry for
// each of kHeights, with as many vectors of columns as the registers hold sums for. `packed` has entries for
// the heights 2 and 4, for squares of half and of all kSquareColumns.
static void add_few_rows(const MatmulRows<float>& t, float* sums, int64_t width) {
  typedef void (*Few)(const FewRows&, int);
  static constexpr Few in_place[] = {few_rows<1, 8>, few_rows<2, 8>, few_rows<4, 4>,
                                     few_rows<6, 4>, few_rows<8, 3>, few_rows<kFewRows, 2>};
  static constexpr Few packed[][2] = {{few_columns<2, 2, true>, few_columns<2, 4, true>},
                                      {few_columns<4, 2, true>, few_columns<4, 4, true>}};
  const bool odd = t.missing != 0;
  alignas(64) float panel[kFewRows * kMaxChain], squares[kSquareColumns * kSquarePairs];
  int height = t.cs_b == 1 ? 0 : 1;
  while (kHeights[height] < t.rows) ++height;
  const int rows = kHeights[height];
  pack_pairs(t.k, t.rows, rows, t.a, t.cs_a, t.rs_a, panel, odd);
  FewRows f;
  f.k = t.k;
  f.a = panel;
  f.b = t.b;
  f.rs_b = t.rs_b;
  f.columns = t.columns;
  f.odd = odd;
  f.first = true;
  f.sums = sums;
  f.width = width;
  if (t.cs_b == 1) {  // rows of b are contiguous
    // `some` pairs at a time in all columns: see kPairsOfLong.
    const int64_t some = t.rs_b > kLongRow ? kPairsOfLong : t.k;
    for (int64_t p = 0; p < t.k; p += some, f.b += some * t.rs_b, f.a += some * rows) {
      f.k = t.k - p < some ? t.k - p : some;
      f.odd = odd && p + f.k == t.k;
      f.first = p == 0;
      in_place[height](f, 0);
    }
    return;
  }
  // Columns of b are contiguous: one square of them at a time is packed and multiplied.
  const bool in_few_sets = t.cs_b % kInFewSets == 0;
  f.b = squares;
  for (int j = 0; j < t.columns; j += f.columns, f.sums += f.columns) {
    const bool whole_square = t.columns - j > kSquareColumns / 2 && !in_few_sets;
    f.columns = whole_square ? kSquareColumns : kSquareColumns / 2;
    f.rs_b = f.columns;
    const int columns = t.columns - j < f.columns ? t.columns - j : f.columns;
    for (int64_t p = 0; p < t.k; p += kSquarePairs) {
      f.k = t.k - p < kSquarePairs ? t.k - p : kSquarePairs;
      pack_pairs(f.k, columns, f.columns, t.b + p * t.rs_b + j * t.cs_b, t.rs_b, t.cs_b, squares,
                 odd && p + f.k == t.k);
      f.a = panel + p * rows;
      f.first = p == 0;
      packed[height - 1][f.columns == kSquareColumns](f, 0);
    }
  }
}

// MatmulKernels::gemv, as run_gemv() of gemv.h, for numbers of float32. The first number of pair p of column
// j is at b[p * rs_b + j * cs_b], the second rs_b / 2 further. Either cs_b is 1: rows are contiguous. Or rs_b
// is 2: columns are, and the numbers of a pair are neighbours.
static void run_pair_gemv(const MatmulRows<float>& all) {
  alignas(64) float sums[2 * kGemvBytes / sizeof(float)];
  const int64_t width = round_up(all.columns, kSquareColumns);
  MatmulRows<float> t = all;
  for (int i = 0; i < all.rows; i += kFewRows) {
    t.rows = all.rows - i < kFewRows ? all.rows - i : kFewRows;
    add_few_rows(t, sums, width);
    if (t.accumulate) add_rows<float>(t, sums, static_cast<int>(width));
    store_rows<float>(t, sums, static_cast<int>(width));
    t.a += kFewRows * t.rs_a;
    t.move(kFewRows, 0);
  }
}

// The most columns that run_pair_gemv() takes: so many that a sum for each fits in kGemvBytes.
static int gemv_columns(int rows) {
  const int most = rows < kFewRows ? rows : kFewRows;
  return kGemvBytes / static_cast<int>(sizeof(float)) / most / kSquareColumns * kSquareColumns;
}

static int widest_tile(int) { return kTileVectors * L; }

extern const StoredPairs stored_pairs = {kTileRows, kTileVectors* L, pack_stored, run_stored};

static constexpr MatmulKernels<float> table() {
  MatmulKernels<float> t{};
  t.pairs = true;
  t.factors = 2;
  t.mr = kTileRows;
  t.packing_rows = kTileRows;
  t.lanes = L;
  t.nr = widest_tile;
  t.max_chain = kMaxChain;
  t.micro_kernel = run_pair_tile;
  t.gemv = run_pair_gemv;
  t.gemv_columns = gemv_columns;
  t.pack = t.pack_rows = pack_pairs;
  return t;
}
extern constexpr MatmulKernels<float> matmul_pairs = table();

}  // namespace ranvier::RANVIER_ISA
#endif
