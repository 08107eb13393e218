// matmul's tiles and packing for AMX: see amx.h. Of level v4 alone.
#if RANVIER_PAIRS
#include "kernels/matmul/amx.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"
#include "simd/amx.h"
#if RANVIER_EMULATED_TILES
#include "simd/amx_emulated.h"
#endif

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
constexpr int L = lanes<float>, kSide = 2 * L;  // of a tile
constexpr float kScale = 0x1p45f, kUnscale = 0x1p-90f;

// --- Packing: blocks of 16 rows or columns and 32 factors.

RANVIER_INLINE V rounded(V low, V high) { return (V)(__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low)); }

template <int kHalf>
RANVIER_INLINE V widened(V x) {
  const __m256i half = _mm512_maskz_extracti64x4_epi64(~__mmask8(0), (__m512i)x, kHalf);
  return (V)((ivec<float>)_mm512_maskz_cvtepu16_epi32(~__mmask16(0), half) << 16);
}

// Numbers side by side become pairs of a number of `low` and one of `high`.
RANVIER_INLINE V paired(V x) {
  static constexpr uint16_t order[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (V)_mm512_maskz_permutexvar_epi16(~__mmask32(0), _mm512_loadu_si512(order), (__m512i)x);
}

// 32 numbers as 16 pairs, of neighbours or of a number of `low` and one of `high`, and the rests of 16 pairs.
template <bool kPairs, int kParts>
RANVIER_INLINE void split(V low, V high, V (&to)[kParts][L], int i) {
  constexpr int kHigh = -65536;
  if constexpr (kParts == 2) low = low * kScale, high = high * kScale;
  const V hi = kPairs ? paired(rounded(low, high)) : rounded(low, high);
  to[0][i] = hi;
  if constexpr (kParts == 2 && kPairs)
    to[1][i] = paired(rounded(low - (V)((ivec<float>)hi << 16), high - (V)((ivec<float>)hi & kHigh)));
  else if constexpr (kParts == 2)
    to[1][i] = rounded(low - widened<0>(hi), high - widened<1>(hi));
}

// Up to n elements, 0 or more, that are `stride` apart.
static V line_of(const float* p, int64_t stride, int n) {
  float x[L] = {};
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return load(x);
}

RANVIER_INLINE V load_some(const float* p, int n) { return n > 0 ? load_n(p, n < L ? n : L) : V{}; }

// One block: `n` lines of rows or columns, `cs` apart, and `factors`, `rs` apart.
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
        __builtin_prefetch(src + kAhead * rs), __builtin_prefetch(src + (kAhead + 1) * rs);
        split<true>(line(src), line(src + rs), to, done);
      }
      if (2 * done < factors) split<true>(line(src), V{}, to, done++);
    };
    if (cs == 1)
      lines([n](const float* p) RANVIER_INLINED { return load_some(p, n); });
    else
      lines([n, cs](const float* p) RANVIER_INLINED { return line_of(p, cs, n); });
  }
  for (; done < L; ++done)
    for (int q = 0; q < kParts; ++q) to[q][done] = V{};
}

// As MatmulKernels::pack. Rows of a: [step][part][row][pair]; columns of b: [step][part][pair][column].
template <int kParts, bool kRows>
static void pack_blocks(int64_t k, int columns, int width, const float* src, int64_t rs, int64_t cs,
                        float* dst, int missing) {
  constexpr int kFactors = 3 - kParts, kStep = kParts * L;  // of an element; elements of a step
  rs /= kFactors;
  int64_t factors = k * kFactors - missing;
  for (int64_t p = 0; p < k; p += kStep, factors -= 2 * L, src += 2 * L * rs, dst += kStep * width)
    for (int j = 0; j < width; j += L) {
      const int n = columns - j < L ? columns - j : L;
      const int stored = kRows && width - j < L ? width - j : L;
      V block[kParts][L];
      load_block<kParts>(src + j * cs, rs, cs, n, static_cast<int>(factors < 2 * L ? factors : 2 * L), block);
      const bool turned = (rs == 1) != kRows;
#pragma GCC unroll 1
      for (int q = 0; q < kParts; ++q) {
        if (turned) transpose(block[q]);
        float* to = dst + q * L * width + (kRows ? j * L : j);
        for (int i = 0; i < stored; ++i, to += kRows ? L : width) store(to, block[q][i]);
      }
    }
}

// --- Tiles 0 to 3 are the sums, 4 and 5 of a, 6 and 7 of b.

template <class Tiles, bool kTall, bool kWide>
RANVIER_INLINE void zero_sums() {
  Tiles::template zero<0>();
  if constexpr (kWide) Tiles::template zero<1>();
  if constexpr (kTall) Tiles::template zero<2>();
  if constexpr (kTall && kWide) Tiles::template zero<3>();
}

// Rows of `width` elements.
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

// Where c' = b' a' is computed, halves come in the order that they have in c.
template <class Tiles, int kParts, bool kTall, bool kWide, bool kSwapped>
static void add_products(int64_t k, int rows, const float* a, const float* b) {
  constexpr int kWidth = kWide ? kSide : L;
  constexpr int64_t kLineA = L * sizeof(float), kLineB = kWidth * sizeof(float);
  const int64_t part_a = rows * L, part_b = L * kWidth;
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
      load_a(a), load_b(b), multiply();
    } else if constexpr (kSwapped) {
      load_a(a + part_a), load_b(b), multiply();
      load_a(a), multiply();
      load_b(b + part_b), multiply();
    } else {
      load_a(a), load_b(b + part_b), multiply();
      load_b(b), multiply();
      load_a(a + part_a), multiply();
    }
  }
}

template <class Tiles, int kParts, bool kTall, bool kWide, bool kSwapped>
static void chain(int64_t k, int rows, const float* a, const float* b, float* sums) {
  zero_sums<Tiles, kTall, kWide>();
  add_products<Tiles, kParts, kTall, kWide, kSwapped>(k, rows, a, b);
  store_sums<Tiles, kTall, kWide>(sums, kWide ? kSide : L);
}

static void unscale(int rows, int width, float* sums) {
  for (int i = 0; i < rows * width; i += L) store(sums + i, load(sums + i) * kUnscale);
}

static unsigned no_numbers(V zeros) { return _mm512_cmp_ps_mask(__m512(zeros), __m512(zeros), _CMP_UNORD_Q); }

static void mark_unfit(const MatmulTile<float>& t, bool swapped, const float* sums, int width) {
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

template <class Tiles, int kParts>
static void run_tile(const MatmulTile<float>& tile) {
  typedef void (*Chain)(int64_t, int, const float*, const float*, float*);
  static constexpr bool kOrder = kParts == 2;
  static constexpr Chain chains[2][2][2] = {
      {{chain<Tiles, kParts, false, false, false>, chain<Tiles, kParts, false, true, false>},
       {chain<Tiles, kParts, true, false, false>, chain<Tiles, kParts, true, true, false>}},
      {{chain<Tiles, kParts, false, false, kOrder>, chain<Tiles, kParts, false, true, kOrder>},
       {chain<Tiles, kParts, true, false, kOrder>, chain<Tiles, kParts, true, true, kOrder>}}};
  MatmulTile<float> t = tile;
  const int width = t.columns > L ? kSide : L;
  const Chain chain = chains[t.odd][t.rows > L][t.columns > L];
  const bool finishes = is_finished(t);
  Tiles::configure(t.rows > L ? L : t.rows, t.rows > L ? t.rows - L : 0);
  alignas(64) float total[kSide * kSide], more[kSide * kSide];
  for (int64_t tiles = t.more; tiles >= 0; --tiles, t.a += t.step_a, t.b += t.step_b, t.c += t.step_c) {
    if (t.cs_c == 1 && (t.accumulate || t.fetch_c))
      for (int i = 0; i < t.rows; ++i)
        for (int j = 0; j < width; j += L) __builtin_prefetch(t.c + i * t.rs_c + j, 0, 3);
    float* sums = total;
    for (int64_t p = 0; p < t.k; p += t.k_block, sums = more) {
      const int64_t k = t.k - p < t.k_block ? t.k - p : t.k_block;
      chain(k, t.rows, t.a + p * t.rows, t.b + p * width, sums);
      if constexpr (kParts == 2) unscale(t.rows, width, sums);
      if (p == 0 && t.accumulate) add_rows<float>(t, total, width);
      if (p == 0) continue;
      for (int i = 0; i < t.rows * width; i += L) store(total + i, load(total + i) + load(more + i));
    }
    if constexpr (kParts == 2) {
      if (t.unfit) mark_unfit(t, t.odd, total, width);
      if (t.unfit && t.odd == (t.step_a == 0)) t.unfit += t.odd ? t.columns : t.rows;
    }
    if (finishes || t.cs_c != 1)
      store_general<float>(t, total, width);
    else
      copy_rows<float>(t.rows, t.columns, total, width, t.c, t.rs_c);
  }
}

// --- Few rows of a: a block of b at a time is rounded into L1, while the one before is multiplied.

constexpr int kFactors = 2 * L;    // of a step
constexpr int kRounded = 128 * L;  // elements of a block
constexpr int kSums = kGemvBytes / static_cast<int>(sizeof(float));

// kAlong: columns of b are contiguous along k, and are the left factor, rows of tiles; else rows of b are.
template <int kParts, bool kAlong>
constexpr int kSteps = (kAlong ? 4 : 2) / kParts;  // of a block
template <bool kAlong>
constexpr int kColumns = kAlong ? kSide : 2 * kSide;

// As chain() reads it: [step][part][column][pair], or, for each kSide columns, [step][part][pair][column].
// b[p, j] at b[p * rs + j * cs]. The block at `next` is fetched into L2, as rows of both may share the sets
// of L1.
template <int kParts, bool kAlong, bool kWhole>
static void round_block(const float* b, const float* next, int64_t rs, int64_t cs, int columns, int factors,
                        float* to) {
  constexpr int kLines = kAlong ? kSide : kSteps<kParts, kAlong> * L;
  constexpr int kPart = kAlong ? kSide * L : L * kSide;
  const auto some = [](const float* p, int n) RANVIER_INLINED { return kWhole ? load(p) : load_some(p, n); };
#pragma GCC unroll 1
  for (int i = 0; i < kLines; ++i) {
    V parts[kParts][L];
    if constexpr (kAlong) {
      const float* line = b + (kWhole || i < columns ? i : columns - 1) * cs;
      const float* ahead = next + i * cs;
      RANVIER_UNROLL
      for (int s = 0; s < kSteps<kParts, kAlong>; ++s) {
        const int p = s * kFactors;
        __builtin_prefetch(ahead + p, 0, 2), __builtin_prefetch(ahead + p + L, 0, 2);
        split<false>(some(line + p, factors - p), some(line + p + L, factors - p - L), parts, s);
        for (int q = 0; q < kParts; ++q) store(to + (s * kParts + q) * kPart + i * L, parts[q][s]);
      }
    } else {
      const int low = 2 * i < factors ? columns : 0, high = 2 * i + 1 < factors ? columns : 0;
      const float *line = b + 2 * i * rs, *ahead = next + 2 * i * rs;
      float* row = to + i / L * kParts * kPart + i % L * kSide;
      RANVIER_UNROLL
      for (int v = 0; v < kColumns<kAlong> / L; ++v) {
        __builtin_prefetch(ahead + v * L, 0, 2), __builtin_prefetch(ahead + rs + v * L, 0, 2);
        split<true>(some(line + v * L, low - v * L), some(line + rs + v * L, high - v * L), parts, v);
        for (int q = 0; q < kParts; ++q)
          store(row + v / 2 * (kRounded / 2) + q * kPart + v % 2 * L, parts[q][v]);
      }
    }
  }
}

// sums[i][j]: rows of `width`. kMany: there are more than L rows, of which x has all, packed.
template <class Tiles, int kParts, bool kAlong, bool kMany>
static void few_products(const MatmulTile<float>& t, const float* x, float* sums, int width) {
  constexpr int kBlock = kSteps<kParts, kAlong> * kFactors, kWide = kMany ? kSide : L;
  constexpr int kElements = kBlock / (3 - kParts);
  alignas(64) float rounded[2][kRounded], turned[kSide * kWide];
  const int factors = static_cast<int>(t.k) * (3 - kParts) - t.missing;
  const int ks = (factors + kBlock - 1) / kBlock, js = (t.columns + kColumns<kAlong> - 1) / kColumns<kAlong>;
  const int64_t rs = t.rs_b / (3 - kParts), cs = t.step_b;
  struct Place {
    int j, p;  // column and factor
  };
  const auto place = [=](int u) RANVIER_INLINED {
    return Place{(kAlong ? u / ks : u % js) * kColumns<kAlong>, (kAlong ? u % ks : u / js) * kBlock};
  };
  const auto round = [&](int u) RANVIER_INLINED {
    if (u >= ks * js) return;
    const auto [j, p] = place(u);
    const auto [next_j, next_p] = place(u + 1);
    const int columns = t.columns - j, left = factors - p;
    const bool whole = columns >= kColumns<kAlong> && left >= kBlock;
    (whole ? round_block<kParts, kAlong, true>
           : round_block<kParts, kAlong, false>)(t.b + p * rs + j * cs, t.b + next_p * rs + next_j * cs, rs,
                                                 cs, columns, left, rounded[u % 2]);
  };
  const auto multiply = [&](int u) RANVIER_INLINED {
    auto [j, p] = place(u);
    const float* b = rounded[u % 2];
    const int64_t first = p / (3 - kParts), left = t.k - first, k = left < kElements ? left : kElements;
    if constexpr (kAlong) {
      if (p == 0) zero_sums<Tiles, true, kMany>();
      add_products<Tiles, kParts, true, kMany, kParts == 2>(k, kSide, b, x + first * kWide);
      if (p + kBlock < factors) return;
      store_sums<Tiles, true, kMany>(turned, kWide);
      for (int i = 0; i < t.rows; i += L)
        for (int l = 0; l < kSide; l += L) {
          V square[L];
          RANVIER_UNROLL
          for (int r = 0; r < L; ++r) square[r] = load(turned + (l + r) * kWide + i);
          transpose(square);
          for (int r = 0; r < L && i + r < t.rows; ++r) store(sums + (i + r) * width + j + l, square[r]);
        }
    } else {
      for (int end = j + kColumns<kAlong>; j < end && j < t.columns; j += kSide, b += kRounded / 2) {
        p == 0 ? zero_sums<Tiles, kMany, true>() : load_sums<Tiles, kMany, true>(sums + j, width);
        add_products<Tiles, kParts, kMany, true, false>(k, t.rows, x + first * t.rows, b);
        store_sums<Tiles, kMany, true>(sums + j, width);
      }
    }
  };
  round(0);
  for (int u = 0; u < ks * js; ++u) round(u + 1), multiply(u);
}

static int columns_of_sums(int rows) { return kSums / rows / (2 * kSide) * 2 * kSide; }

template <class Tiles, int kParts>
static void run_few(const MatmulTile<float>& all) {
  typedef void (*Products)(const MatmulTile<float>&, const float*, float*, int);
  static constexpr Products products[2][2] = {
      {few_products<Tiles, kParts, false, false>, few_products<Tiles, kParts, false, true>},
      {few_products<Tiles, kParts, true, false>, few_products<Tiles, kParts, true, true>}};
  alignas(64) float sums[kSums], x[kAmxFewRows * kAmxBlock];
  MatmulTile<float> t = all;
  const bool along = t.step_b != 1, many = t.rows > L;
  if (along)
    pack_blocks<kParts, false>(t.k, t.rows, many ? kSide : L, t.a, t.cs_a, t.rs_a, x, t.missing);
  else
    pack_blocks<kParts, true>(t.k, t.rows, t.rows, t.a, t.cs_a, t.rs_a, x, t.missing);
  Tiles::configure(along || many ? L : t.rows, along ? L : many ? t.rows - L : 0);
  const int most = columns_of_sums(t.rows);
  for (int j = 0; j < all.columns; j += most) {
    t.columns = all.columns - j < most ? all.columns - j : most;
    const int width = static_cast<int>(round_up(t.columns, kSide));
    products[along][many](t, x, sums, width);
    if constexpr (kParts == 2) unscale(t.rows, width, sums);
    if (t.accumulate) add_rows<float>(t, sums, width);
    if constexpr (kParts == 2)
      if (t.unfit) mark_unfit(t, false, sums, width);
    store_rows<float>(t, sums, width);
    t.b += most * t.step_b, t.c += most * t.cs_c;
    if (t.bias_row) t.bias_row += most;
    if (t.norm_row) t.norm_row += most;
    if (t.saved) t.saved += most * t.cs_s;
  }
}

static int few_columns(int) { return 1 << 16; }

static int widest_tile(int) { return kSide; }

template <class Tiles, int kParts>
static constexpr MatmulKernels<float> kernels = {true,
                                                 kSide,
                                                 kSide,
                                                 0,
                                                 L,
                                                 0,
                                                 false,
                                                 widest_tile,
                                                 kAmxBlock,
                                                 run_tile<Tiles, kParts>,
                                                 nullptr,
                                                 nullptr,
                                                 run_few<Tiles, kParts>,
                                                 nullptr,
                                                 nullptr,
                                                 few_columns,
                                                 pack_blocks<kParts, false>,
                                                 pack_blocks<kParts, true>,
                                                 3 - kParts,
                                                 kParts* L,
                                                 true};

#if RANVIER_EMULATED_TILES
using OtherTiles = EmulatedTiles;
#else
using OtherTiles = AmxTiles;  // not called
#endif
extern const MatmulKernels<float> matmul_amx[2][2] = {{kernels<AmxTiles, 2>, kernels<OtherTiles, 2>},
                                                      {kernels<AmxTiles, 1>, kernels<OtherTiles, 1>}};

}  // namespace ranvier::RANVIER_ISA
#endif
