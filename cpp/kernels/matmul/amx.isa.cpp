// matmul's tiles for AMX, the matrix registers of the processor: see amx.h for the arithmetic and how
// operands are packed. Compiled for level v4 alone.
//
// Template parameters: Tiles is AmxTiles (simd/amx.h), or EmulatedTiles for tests. kParts: how many numbers
// of bfloat16 a factor has, 1 for precision "medium", 2 (hi and lo) for "high"; an element along k then has
// 3 - kParts factors. kTall, kWide: the tile has more than L = 16 rows, or columns, and needs two registers
// for them. Packed operands are pairs of bfloat16, each in the place of a float.
#if __AVX512BF16__
#include "kernels/matmul/amx.h"

#include "kernels/matmul/amx_packing.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "simd/amx.h"
#if RANVIER_EMULATED_TILES
#include "simd/amx_emulated.h"
#endif

namespace ranvier::RANVIER_ISA {

// --- There are eight tile registers of 16 x 16 floats: 0 and 1 are the sums of the first 16 rows, 2 and 3
// those of the others; 4 and 5 hold a, 6 and 7 hold b.

template <class Tiles, bool kTall, bool kWide>
RANVIER_INLINE void zero_sums() {
  Tiles::template zero<0>();
  if constexpr (kWide) Tiles::template zero<1>();
  if constexpr (kTall) Tiles::template zero<2>();
  if constexpr (kTall && kWide) Tiles::template zero<3>();
}

// Loads the sums from rows of `width` elements.
template <class Tiles, bool kTall, bool kWide>
RANVIER_INLINE void load_sums(const float* sums, int64_t width) {
  const int64_t line = width * static_cast<int64_t>(sizeof(float));
  Tiles::template load<0>(sums, line);
  if constexpr (kWide) Tiles::template load<1>(sums + L, line);
  if constexpr (kTall) Tiles::template load<2>(sums + L * width, line);
  if constexpr (kTall && kWide) Tiles::template load<3>(sums + L * width + L, line);
}

template <class Tiles, bool kTall, bool kWide>
RANVIER_INLINE void store_sums(float* sums, int64_t width) {
  const int64_t line = width * static_cast<int64_t>(sizeof(float));
  Tiles::template store<0>(sums, line);
  if constexpr (kWide) Tiles::template store<1>(sums + L, line);
  if constexpr (kTall) Tiles::template store<2>(sums + L * width, line);
  if constexpr (kTall && kWide) Tiles::template store<3>(sums + L * width + L, line);
}

// Adds the products of k elements of a packed panel of `rows` rows and a packed panel of b to the sums in the
// registers. kSwapped: c' = b' a' is computed, and the three products of halves are in the order that they
// would have for c, so that its bits are the same.
template <class Tiles, int kParts, bool kTall, bool kWide, bool kSwapped>
static void add_products(int64_t k, int rows, const float* a, const float* b) {
  constexpr int kWidth = kWide ? kSide : L;
  constexpr int64_t kLineA = L * sizeof(float), kLineB = kWidth * sizeof(float);
  const int64_t part_a = rows * L;
  const int64_t part_b = L * kWidth;
  const auto load_a = [](const float* a) RANVIER_INLINED {
    Tiles::template load<4>(a, kLineA);
    if constexpr (kTall) Tiles::template load<5>(a + L * L, kLineA);
  };
  const auto load_b = [](const float* b) RANVIER_INLINED {
    Tiles::template load<6>(b, kLineB);
    if constexpr (kWide) Tiles::template load<7>(b + L, kLineB);
  };
  const auto multiply = []() RANVIER_INLINED {
    Tiles::template multiply<0, 4, 6>();
    if constexpr (kWide) Tiles::template multiply<1, 4, 7>();
    if constexpr (kTall) Tiles::template multiply<2, 5, 6>();
    if constexpr (kTall && kWide) Tiles::template multiply<3, 5, 7>();
  };
  for (; k > 0; k -= kParts * L, a += kParts * part_a, b += kParts * part_b) {
    if constexpr (kParts == 1) {
      load_a(a);
      load_b(b);
      multiply();
    } else if constexpr (kSwapped) {
      load_a(a + part_a);
      load_b(b);
      multiply();
      load_a(a);
      multiply();
      load_b(b + part_b);
      multiply();
    } else {
      load_a(a);
      load_b(b + part_b);
      multiply();
      load_b(b);
      multiply();
      load_a(a + part_a);
      multiply();
    }
  }
}

// Stores one chain, the sum of k elements from 0 on, to `sums`, rows of 16 or 32 elements.
template <class Tiles, int kParts, bool kTall, bool kWide, bool kSwapped>
static void chain(int64_t k, int rows, const float* a, const float* b, float* sums) {
  zero_sums<Tiles, kTall, kWide>();
  add_products<Tiles, kParts, kTall, kWide, kSwapped>(k, rows, a, b);
  constexpr int kWidth = kWide ? kSide : L;
  store_sums<Tiles, kTall, kWide>(sums, kWidth);
}

// Precision "high": takes the scale of packed factors off the sums.
static void unscale(int rows, int width, float* sums) {
  for (int i = 0; i < rows * width; i += L) store(sums + i, load(sums + i) * kUnscale);
}

// The lanes that are NaN, one bit each.
static unsigned no_numbers(V zeros) { return _mm512_cmp_ps_mask(__m512(zeros), __m512(zeros), _CMP_UNORD_Q); }

// Sets t.unfit for the rows of c that have an infinite or NaN sum: such a sum times 0 is NaN. swapped: the
// tile is of c' = b' a', whose columns are rows of c.
static void mark_unfit(const MatmulResult<float>& t, bool swapped, const float* sums, int width) {
  if (swapped) {
    for (int j = 0; j < t.columns; j += L) {
      V zeros{};
      for (int i = 0; i < t.rows; ++i) zeros = fma(load(sums + i * width + j), V{}, zeros);
      const unsigned found = no_numbers(zeros);
      for (int l = j; found && l < j + L && l < t.columns; ++l) t.unfit[l] |= found >> (l - j) & 1;
    }
    return;
  }
  for (int i = 0; i < t.rows; ++i) {
    V zeros{};
    for (int j = 0; j < width; j += L, sums += L) zeros = fma(load(sums), V{}, zeros);
    if (no_numbers(zeros)) t.unfit[i] = 1;
  }
}

// MatmulKernels::tile: chooses the code of a chain by the size of the tile; run_tiles_of_pairs() adds the
// chains, applies the epilogue and stores.
template <class Tiles, int kParts>
static void run_tile(const MatmulTile<float>& tile) {
  typedef void (*Chain)(int64_t, int, const float*, const float*, float*);
  static constexpr bool kOrder = kParts == 2;  // one product alone has the same order if swapped
  // [swapped][tall][wide]
  static constexpr Chain chains[2][2][2] = {
      {{chain<Tiles, kParts, false, false, false>, chain<Tiles, kParts, false, true, false>},
       {chain<Tiles, kParts, true, false, false>, chain<Tiles, kParts, true, true, false>}},
      {{chain<Tiles, kParts, false, false, kOrder>, chain<Tiles, kParts, false, true, kOrder>},
       {chain<Tiles, kParts, true, false, kOrder>, chain<Tiles, kParts, true, true, kOrder>}}};
  const bool tall = tile.rows > L;
  const bool wide = tile.columns > L;
  const int width = wide ? kSide : L;
  const Chain chain = chains[tile.swapped][tall][wide];
  const int upper_rows = tall ? L : tile.rows;  // rows of the first register of sums, and of the second
  const int lower_rows = tall ? tile.rows - L : 0;
  Tiles::configure(upper_rows, lower_rows);
  alignas(64) float total[kSide * kSide], more[kSide * kSide];
  const auto sum = [&](const MatmulTile<float>& t, int64_t p, int64_t k, float* to) RANVIER_INLINED {
    chain(k, t.rows, t.a + p * t.rows, t.b + p * width, to);
    if constexpr (kParts == 2) unscale(t.rows, width, to);
  };
  run_tiles_of_pairs(tile, width, total, more, sum,
                     [&](MatmulTile<float>& t, const float* sums) RANVIER_INLINED {
                       if (kParts != 2 || !t.unfit) return;
                       mark_unfit(t, t.swapped, sums, width);
                       // The next tile of this call has other rows of c if it has other columns of c' (then
                       // step_a is 0), or, not swapped, other rows.
                       if (t.swapped == (t.step_a == 0)) t.unfit += t.swapped ? t.columns : t.rows;
                     });
}

// --- Few rows of a (MatmulKernels::gemv): b is not packed beforehand. One block of b after another is
// rounded to `rounded`, which stays in L1. Rounding one half of a block alternates with multiplying by one
// half of the block before. Where columns of b are contiguous, they are the rows of tiles (the left factor),
// and the sums are transposed at the end.

constexpr int kFactors = 2 * L;    // factors of b along k in a step
constexpr int kRounded = 128 * L;  // elements of a rounded block
constexpr int kSums = kGemvBytes / static_cast<int>(sizeof(float));

// The steps and columns of a block. kAlong: columns of b are contiguous; else rows of b are.
template <int kParts, bool kAlong>
constexpr int kSteps = (kAlong ? 4 : 2) / kParts;
template <bool kAlong>
constexpr int kColumns = kAlong ? kSide : 2 * kSide;
// The lines of a block that are rounded one after another: columns of b, or pairs of rows.
template <int kParts, bool kAlong>
constexpr int kLines = kAlong ? kSide : kSteps<kParts, kAlong> * L;

// Rounds the lines [begin, end) of a block of b, `columns` x `factors` numbers, where b[p, j] is at
// b[p * rs + j * cs]. They are stored as add_products() reads them: [step][part][column][pair], or, for each
// kSide columns, [step][part][pair][column]. kWhole: the block is whole. The same lines of the block at
// `next` are prefetched, into L2, since lines of both blocks may share sets of L1.
template <int kParts, bool kAlong, bool kWhole>
static void round_lines(const float* b, const float* next, int64_t rs, int64_t cs, int columns, int factors,
                        float* to, int begin, int end) {
  constexpr int kPart = L * kSide;
  const auto some = [](const float* p, int n) RANVIER_INLINED { return kWhole ? load(p) : load_some(p, n); };
#pragma GCC unroll 1
  for (int i = begin; i < end; ++i) {
    V parts[kParts][L];
    if constexpr (kAlong) {
      const int column = kWhole || i < columns ? i : columns - 1;  // the last one again beyond the end
      const float* line = b + column * cs;
      const float* ahead = next + i * cs;
      RANVIER_UNROLL
      for (int s = 0; s < kSteps<kParts, kAlong>; ++s) {
        const int p = s * kFactors;
        __builtin_prefetch(ahead + p, 0, 2);
        __builtin_prefetch(ahead + p + L, 0, 2);
        split<false>(some(line + p, factors - p), some(line + p + L, factors - p - L), parts, s);
        for (int q = 0; q < kParts; ++q) store(to + (s * kParts + q) * kPart + i * L, parts[q][s]);
      }
    } else {
      // A pair of rows, 2 i and 2 i + 1, and how many numbers of each exist.
      const int low = 2 * i < factors ? columns : 0;
      const int high = 2 * i + 1 < factors ? columns : 0;
      const float* line = b + 2 * i * rs;
      const float* ahead = next + 2 * i * rs;
      const int step = i / L;
      float* row = to + step * kParts * kPart + i % L * kSide;
      RANVIER_UNROLL
      for (int v = 0; v < kColumns<kAlong> / L; ++v) {
        __builtin_prefetch(ahead + v * L, 0, 2);
        __builtin_prefetch(ahead + rs + v * L, 0, 2);
        split<true>(some(line + v * L, low - v * L), some(line + rs + v * L, high - v * L), parts, v);
        // Two vectors are the kSide columns of a tile; the other columns follow in the second half.
        float* half = row + v / 2 * (kRounded / 2);
        for (int q = 0; q < kParts; ++q) store(half + q * kPart + v % 2 * L, parts[q][v]);
      }
    }
  }
}

// to[i * width + j] = from[j * wide + i] for i < rows, j < kSide.
static __attribute__((noinline)) void turn(int rows, const float* from, int wide, float* to, int width) {
  for (int i = 0; i < rows; i += L)
    for (int j = 0; j < kSide; j += L) {
      V square[L];
      RANVIER_UNROLL
      for (int l = 0; l < L; ++l) square[l] = load(from + (j + l) * wide + i);
      transpose(square);
      for (int l = 0; l < L && i + l < rows; ++l) store(to + (i + l) * width + j, square[l]);
    }
}

// The products of all blocks of b by few rows of a, which are packed in x (pack_few()). They are stored to
// `sums`, rows of `width` elements. kMany: there are more than L rows.
template <class Tiles, int kParts, bool kAlong, bool kMany>
struct FewProducts {
  static constexpr int kBlock = kSteps<kParts, kAlong> * kFactors;
  // The elements along k of x in a step, and in a block.
  static constexpr int kElements = kParts * L, kMost = kBlock / kFactors * kElements;
  static constexpr int kWide = kMany ? kSide : L;
  const MatmulRows<float>& t;
  const float* x;
  float* sums;
  int width;
  const int factors = static_cast<int>(t.k) * (3 - kParts) - t.missing;

  // The elements of x from factor p on, at most `most`.
  int64_t elements(int p, int most) const {
    const int64_t left = t.k - p / kFactors * kElements;
    return left < most ? left : most;
  }

  // kAlong: multiplies half of the steps of a block, from factor p on. The columns of b are rows of the sums,
  // which stay in registers until the last step and are then transposed.
  void multiply_steps(int j, int p, const float* b) const {
    if (p >= factors) return;
    if (p == 0) zero_sums<Tiles, true, kMany>();
    const float* from = x + p / kFactors * kElements * kWide;
    add_products<Tiles, kParts, true, kMany, kParts == 2>(elements(p, kMost / 2), kSide, b, from);
    if (p + kBlock / 2 < factors) return;
    alignas(64) float turned[kSide * kWide];
    store_sums<Tiles, true, kMany>(turned, kWide);
    turn(t.rows, turned, kWide, sums + j, width);
  }

  // Not kAlong: multiplies all steps of a block for half of its columns, from column j on.
  void multiply_columns(int j, int p, const float* b) const {
    if (j >= t.columns) return;
    const float* from = x + p / kFactors * kElements * t.rows;
    if (p == 0)
      zero_sums<Tiles, kMany, true>();
    else
      load_sums<Tiles, kMany, true>(sums + j, width);
    add_products<Tiles, kParts, kMany, true, false>(elements(p, kMost), t.rows, from, b);
    store_sums<Tiles, kMany, true>(sums + j, width);
  }

  // The blocks of b, number u, in the order of memory: columns of b are walked along k first (kAlong), rows
  // of b along their columns. While block u is multiplied, block u + 1 is rounded to the other half of
  // `rounded`, and block u + 2 prefetched.
  static void run(const MatmulRows<float>& t, const float* x, float* sums, int width) {
    constexpr int kHalf = kLines<kParts, kAlong> / 2;
    const FewProducts f{t, x, sums, width};
    const int64_t rs = t.rs_b / (3 - kParts);
    const int64_t cs = t.cs_b;
    const int ks = (f.factors + kBlock - 1) / kBlock;                      // blocks along k
    const int js = (t.columns + kColumns<kAlong> - 1) / kColumns<kAlong>;  // blocks along the columns
    const int all = ks * js;
    struct Block {
      int j, p;  // the first column and factor
      const float* b;
    };
    const auto block = [=](int u) RANVIER_INLINED {
      const int block_j = kAlong ? u / ks : u % js;
      const int block_p = kAlong ? u % ks : u / js;
      const int j = block_j * kColumns<kAlong>;
      const int p = block_p * kBlock;
      return Block{j, p, t.b + p * rs + j * cs};
    };
    alignas(64) float rounded[2][kRounded];
    for (int u = -1; u < all; ++u) {
      const Block at = block(u);
      const Block next = block(u + 1);
      const Block after = block(u + 2);
      const int columns = t.columns - next.j;
      const int factors = f.factors - next.p;
      const bool whole = columns >= kColumns<kAlong> && factors >= kBlock;
      const auto& round = whole ? round_lines<kParts, kAlong, true> : round_lines<kParts, kAlong, false>;
      for (int i = 0; i < 2; ++i) {
        if (u + 1 < all)
          round(next.b, after.b, rs, cs, columns, factors, rounded[~u & 1], i * kHalf, (i + 1) * kHalf);
        if (u < 0) continue;
        const float* b = rounded[u & 1] + i * (kRounded / 2);
        if (kAlong) {
          f.multiply_steps(at.j, at.p + i * (kBlock / 2), b);
        } else {
          f.multiply_columns(at.j + i * kSide, at.p, b);
        }
      }
    }
  }
};

// The most columns for which kSums has room.
static int columns_of_sums(int rows) { return kSums / rows / (2 * kSide) * 2 * kSide; }

// Packs the rows of a to x, as left factors (rows of a tile), or as right factors (columns of a tile). Of one
// or two right factors only their own columns are written; the sums of the other columns are not used.
template <int kParts>
static void pack_few(const MatmulRows<float>& t, bool left, float* x) {
  constexpr int kFewRightRows = 2;
  const auto rows = [&](float* to) {
    pack_blocks<kParts, true>(t.k, t.rows, t.rows, t.a, t.cs_a, t.rs_a, to, t.missing);
  };
  if (left) return rows(x);
  const int width = t.rows > L ? kSide : L;
  if (t.rows > kFewRightRows)
    return pack_blocks<kParts, false>(t.k, t.rows, width, t.a, t.cs_a, t.rs_a, x, t.missing);
  alignas(64) float packed[kFewRightRows * kAmxMaxChain];
  rows(packed);
  for (int64_t p = 0; p < t.k; p += L)
    for (int i = 0; i < t.rows; ++i) {
      const float* from = packed + p * t.rows + i * L;
      RANVIER_UNROLL
      for (int l = 0; l < L; ++l) x[(p + l) * L + i] = from[l];
    }
}

// MatmulKernels::gemv: up to kAmxFewRows rows by a b that is rounded where it is used.
template <class Tiles, int kParts>
static void run_few(const MatmulRows<float>& all) {
  typedef void (*Products)(const MatmulRows<float>&, const float*, float*, int);
  static constexpr Products products[2][2] = {
      {FewProducts<Tiles, kParts, false, false>::run, FewProducts<Tiles, kParts, false, true>::run},
      {FewProducts<Tiles, kParts, true, false>::run, FewProducts<Tiles, kParts, true, true>::run}};
  alignas(64) float sums[kSums], x[kAmxFewRows * kAmxMaxChain];
  MatmulRows<float> t = all;
  const bool along = t.cs_b != 1;
  const bool many = t.rows > L;
  pack_few<kParts>(t, !along, x);
  // The rows of the left factor: kSide columns of b where those are contiguous, else the rows of a.
  const int left_rows = along ? kSide : t.rows;
  const int upper_rows = left_rows > L ? L : left_rows;
  Tiles::configure(upper_rows, left_rows - upper_rows);
  const int most = columns_of_sums(t.rows);
  for (int j = 0; j < all.columns; j += most) {
    t.columns = all.columns - j < most ? all.columns - j : most;
    const int width = static_cast<int>(round_up(t.columns, kSide));
    products[along][many](t, x, sums, width);
    if constexpr (kParts == 2) unscale(t.rows, width, sums);
    if (t.accumulate) add_rows<float>(t, sums, width);
    if constexpr (kParts == 2)
      if (t.unfit) mark_unfit(t, /*swapped=*/false, sums, width);
    store_rows<float>(t, sums, width);
    t.b += most * t.cs_b;
    t.move(0, most);
  }
}

static int few_columns(int) { return 1 << 16; }  // any number: run_few() itself takes some at a time

static int widest_tile(int) { return kSide; }

template <class Tiles, int kParts>
static constexpr MatmulKernels<float> table() {
  MatmulKernels<float> t{};
  t.pairs = true;
  t.tiles = true;
  t.factors = 3 - kParts;
  t.step = kParts * L;
  t.mr = kSide;
  t.packing_rows = kSide;
  t.lanes = L;
  t.nr = widest_tile;
  t.max_chain = kAmxMaxChain;
  t.micro_kernel = run_tile<Tiles, kParts>;
  t.gemv = run_few<Tiles, kParts>;
  t.gemv_columns = few_columns;
  t.pack = pack_blocks<kParts, /*kRows=*/false>;
  t.pack_rows = pack_blocks<kParts, /*kRows=*/true>;
  return t;
}

#if RANVIER_EMULATED_TILES
using OtherTiles = EmulatedTiles;
#else
using OtherTiles = AmxTiles;  // the tables are there, but not called
#endif
extern const MatmulKernels<float> matmul_amx[2][2] = {{table<AmxTiles, 2>(), table<OtherTiles, 2>()},
                                                      {table<AmxTiles, 1>(), table<OtherTiles, 1>()}};

}  // namespace ranvier::RANVIER_ISA
#endif
