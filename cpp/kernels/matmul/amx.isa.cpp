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

// 32 numbers as 16 pairs, and the rests of 16 pairs.
template <int kParts>
RANVIER_INLINE void split(V low, V high, bool pairs, V (&to)[kParts][L], int i) {
  if constexpr (kParts == 2) low = low * kScale, high = high * kScale;
  const V hi = rounded(low, high);
  to[0][i] = pairs ? paired(hi) : hi;
  if constexpr (kParts == 2) {
    const V lo = rounded(low - widened<0>(hi), high - widened<1>(hi));
    to[1][i] = pairs ? paired(lo) : lo;
  }
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
      split<kParts>(load_some(src, factors), load_some(src + L, factors - L), false, to, done);
  } else {
    const auto lines = [&](const auto& line) RANVIER_INLINED {
      constexpr int kAhead = 2 * L;  // a line is often on a page of its own, where no hardware fetches ahead
      for (; 2 * done + 1 < factors; ++done, src += 2 * rs) {
        __builtin_prefetch(src + kAhead * rs), __builtin_prefetch(src + (kAhead + 1) * rs);
        split<kParts>(line(src), line(src + rs), true, to, done);
      }
      if (2 * done < factors) split<kParts>(line(src), V{}, true, to, done++);
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

// Where c' = b' a' is computed, halves come in the order that they have in c.
template <class Tiles, int kParts, bool kTall, bool kWide, bool kSwapped>
static void chain(int64_t k, int rows, const float* a, const float* b, float* sums) {
  constexpr int kWidth = kWide ? kSide : L;
  constexpr int64_t kLineA = L * sizeof(float), kLineB = kWidth * sizeof(float);
  const int64_t part_a = rows * L, part_b = L * kWidth;
  Tiles::template zero<0>();
  if constexpr (kWide) Tiles::template zero<1>();
  if constexpr (kTall) Tiles::template zero<2>();
  if constexpr (kTall && kWide) Tiles::template zero<3>();
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
  Tiles::template store<0>(sums, kLineB);
  if constexpr (kWide) Tiles::template store<1>(sums + L, kLineB);
  if constexpr (kTall) Tiles::template store<2>(sums + L * kWidth, kLineB);
  if constexpr (kTall && kWide) Tiles::template store<3>(sums + L * kWidth + L, kLineB);
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

// --- Few rows of a: b is rounded where it is, and the order of the sums is that of tiles, by FMAs.

constexpr int kFactorsOfStep = 2 * L;

RANVIER_INLINE V to_nearest(V x) {
  const __m256i bits = (__m256i)_mm512_cvtneps_pbh(__m512(x));
  return (V)((ivec<float>)_mm512_maskz_cvtepu16_epi32(~__mmask16(0), bits) << 16);
}

template <int kParts>
RANVIER_INLINE void split_in_place(V x, V (&to)[kParts]) {
  if constexpr (kParts == 2) x = x * kScale;
  to[0] = to_nearest(x);
  if constexpr (kParts == 2) to[1] = to_nearest(x - to[0]);
}

// sums[row] += the products of one step, for n columns; a has [row][part][factor].
template <int kParts, int kRows>
static void add_step(const float* a, int64_t row, int64_t part, const float* b, int64_t rs, int n,
                     int factors, float* sums, int64_t width) {
  constexpr int kProducts = 2 * kParts - 1;  // in the order of chain()
  V chains[kRows][kProducts][2] = {};
  const auto add = [&](int p, int half) RANVIER_INLINED {
    __builtin_prefetch(b + 4 * L);
    V y[kParts];
    split_in_place<kParts>(load_n(b, n), y);
    b = opaque(b + rs);
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      V(&chain)[kProducts][2] = chains[i];
      const float* x = a + i * row + p;
      const V hi = broadcast(x[0]);
      chain[0][half] = fma(hi, y[kParts - 1], chain[0][half]);
      if constexpr (kParts == 2) {
        chain[1][half] = fma(hi, y[0], chain[1][half]);
        chain[2][half] = fma(broadcast(x[part]), y[0], chain[2][half]);
      }
    }
  };
  int p = 0;
#pragma GCC unroll 1
  for (; p + 1 < factors; p += 2) add(p, 0), add(p + 1, 1);
  if (p < factors) add(p, 0);
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i, sums += width) {
    V sum = load(sums);
    RANVIER_UNROLL
    for (int q = 0; q < kProducts; ++q) sum = sum + (chains[i][q][0] + chains[i][q][1]);
    store(sums, sum);
  }
}

// All of a chunk; a's parts are `most` factors long.
template <int kParts>
static __attribute__((noinline)) void add_steps(const MatmulTile<float>& t, const float* a, int64_t most,
                                                int factors, float* sums, int64_t width) {
  typedef void (*Step)(const float*, int64_t, int64_t, const float*, int64_t, int, int, float*, int64_t);
  static constexpr Step steps[] = {add_step<kParts, 1>, add_step<kParts, 2>, add_step<kParts, 3>,
                                   add_step<kParts, 4>};
  const int64_t rs = t.rs_b / (3 - kParts);
  for (int p = 0; p < factors; p += kFactorsOfStep)  // whole rows of b
    for (int j = 0; j < t.columns; j += L) {
      const int n = t.columns - j < L ? t.columns - j : L;
      const int left = factors - p < kFactorsOfStep ? factors - p : kFactorsOfStep;
      steps[t.rows - 1](a + p, kParts * most, most, t.b + p * rs + j, rs, n, left, sums + j, width);
    }
}

template <int kParts>
static void run_gemv(const MatmulTile<float>& t) {
  constexpr int kFactors = 3 - kParts, kMost = kAmxBlock * kFactors;
  alignas(64) float sums[kGemvBytes / sizeof(float)] = {}, a[kAmxFewRows * kParts * kMost];
  const int64_t rs_a = t.cs_a / kFactors;
  const int width = static_cast<int>(round_up(t.columns, L)),
            factors = static_cast<int>(t.k) * kFactors - t.missing;
  for (int i = 0; i < t.rows; ++i)
    for (int p = 0; p < factors; p += L) {
      const int n = factors - p < L ? factors - p : L;
      const float* from = t.a + i * t.rs_a + p * rs_a;
      V x[kParts];
      split_in_place<kParts>(rs_a == 1 ? load_n(from, n) : line_of(from, rs_a, n), x);
      for (int q = 0; q < kParts; ++q) store(a + (i * kParts + q) * kMost + p, x[q]);
    }
  const unsigned before = _mm_getcsr();
  if (kParts == 1) _mm_setcsr(before | 0x8040);  // subnormal numbers are zero, as in tiles
  add_steps<kParts>(t, a, kMost, factors, sums, width);
  if (kParts == 1) _mm_setcsr(before);
  if constexpr (kParts == 2) unscale(t.rows, width, sums);
  if (t.accumulate) add_rows<float>(t, sums, width);
  if constexpr (kParts == 2)
    if (t.unfit) mark_unfit(t, false, sums, width);
  store_rows<float>(t, sums, width);
}

static int gemv_columns(int rows) { return kGemvBytes / static_cast<int>(sizeof(float)) / rows / L * L; }

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
                                                 run_gemv<kParts>,
                                                 nullptr,
                                                 nullptr,
                                                 gemv_columns,
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
