// matmul's tiles and packing for pairs of bfloat16: see pairs.h. Of level v4 alone.
#if RANVIER_PAIRS
#include "kernels/matmul/pairs.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/epilogue.h"

namespace ranvier::RANVIER_ISA {

constexpr int L = lanes<float>;

// Each lane: the bfloat16 of `low`, then that of `high`.
RANVIER_INLINE vec<float> pairs(vec<float> low, vec<float> high) {
  static constexpr uint16_t order[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low));
  return (vec<float>)_mm512_maskz_permutexvar_epi16(~__mmask32(0), _mm512_loadu_si512(order), both);
}

// Up to 2 L numbers, from p on, as up to L pairs.
RANVIER_INLINE vec<float> pairs_at(const float* p, int count) {
  const int more = count > L ? count - L : 0;
  const vec<float> low = load_n(p, count - more), high = load_n(p + L, more);
  return (vec<float>)(__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low));
}

extern void round_rows(int64_t rows, int64_t factors, const float* src, int64_t rs, float* dst, int64_t rd) {
  for (; rows > 0; --rows, src += rs, dst += rd)
    for (int64_t p = 0; 2 * p < factors; p += L) {
      const int n = static_cast<int>(factors - 2 * p < 2 * L ? factors - 2 * p : 2 * L);
      store_n(dst + p, pairs_at(src + 2 * p, n), n / 2);
    }
}

// n elements, 0 <= n <= L, that are `stride` apart.
static vec<float> line_of(const float* p, int64_t stride, int n) {
  if (stride == 1) return load_n(p, n);
  float x[L] = {};
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return load(x);
}

// One line of pairs after the other, of two lines of src each.
static void pack_lines(int64_t k, int columns, int width, const float* src, int64_t rs, int64_t cs,
                       float* dst, bool odd) {
  constexpr int kAheadRows = 16;
  const int64_t second = rs / 2;
  for (; k > 0; --k, src += rs, dst += width) {
    for (int j = 0; j < width; j += L) {
      const int n = columns - j < L ? columns - j : L, stored = width - j < L ? width - j : L;
      const float* from = src + j * cs;
      __builtin_prefetch(from + kAheadRows * second, 0, 2);
      const vec<float> low = line_of(from, cs, n > 0 ? n : 0);
      const vec<float> high = line_of(from + second, cs, n > 0 && !(odd && k == 1) ? n : 0);
      store_n(dst + j, pairs(low, high), stored);
    }
  }
}

// Columns contiguous in memory: squares of L pairs of L columns are transposed in registers.
static void pack_squares(int64_t k, int columns, int width, const float* src, int64_t cs, float* dst,
                         bool odd) {
  for (int64_t p = 0; p < k; p += L) {
    const int np = k - p < L ? static_cast<int>(k - p) : L, count = 2 * np - (odd && k - p <= L);
    for (int j0 = 0; j0 < width; j0 += L) {
      const int nj = columns - j0 < L ? columns - j0 : L, stored = width - j0 < L ? width - j0 : L;
      const float* from = src + j0 * cs + 2 * p;
      vec<float> square[L];
      RANVIER_UNROLL
      for (int j = 0; j < L; ++j) {
        square[j] = vec<float>{};
        if (j < nj) square[j] = pairs_at(from, count);
        if (j + 1 < nj) from = opaque(from + cs);
      }
      transpose(square);
      float* to = dst + p * width + j0;
      RANVIER_UNROLL
      for (int i = 0; i < L; ++i) {
        if (i < np) store_n(to, square[i], stored);
        to = opaque(to + width);
      }
    }
  }
}

static void pack_pairs(int64_t k, int columns, int width, const float* src, int64_t rs, int64_t cs,
                       float* dst, bool odd) {
  if (rs == 2 && cs != 1)
    pack_squares(k, columns, width, src, cs, dst, odd);
  else
    pack_lines(k, columns, width, src, rs, cs, dst, odd);
}

// sums[i][v] = one chain over k pairs of a packed panel of a and a packed strip of b.
template <int kRows, int kVectors>
static void chain(int64_t k, const float* a, const float* b, float* sums) {
  __m512 acc[kRows][kVectors] = {};
  for (; k > 0; --k, a += kRows, b += kVectors * L) {
    __m512bh row[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) row[v] = (__m512bh)__m512(load(b + v * L));
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const __m512bh x = (__m512bh)_mm512_set1_ps(a[i]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], x, row[v]);
    }
  }
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(sums + (i * kVectors + v) * L, vec<float>(acc[i][v]));
  }
}

typedef void (*Chain)(int64_t k, const float* a, const float* b, float* sums);
template <int... R>
static Chain chain_of(int rows, bool wide, std::integer_sequence<int, R...>) {
  static constexpr Chain chains[][2] = {{chain<R + 1, 1>, chain<R + 1, kTileVectors>}...};
  return chains[rows - 1][wide];
}

static void run_pair_tile(const MatmulTile<float>& tile) {
  MatmulTile<float> t = tile;
  const int width = t.columns > L ? kTileVectors * L : L;
  const Chain chain = chain_of(t.rows, t.columns > L, std::make_integer_sequence<int, kTileRows>());
  const bool finishes = is_finished(t);
  alignas(64) float total[kTileRows * kTileVectors * L], more[kTileRows * kTileVectors * L];
  for (int64_t tiles = t.more; tiles >= 0; --tiles, t.a += t.step_a, t.b += t.step_b, t.c += t.step_c) {
    if (t.cs_c == 1 && (t.accumulate || t.fetch_c))
      for (int i = 0; i < t.rows; ++i)
        for (int j = 0; j < width; j += L) __builtin_prefetch(t.c + i * t.rs_c + j, 0, 3);
    float* sums = total;
    for (int64_t p = 0; p < t.k || p == 0; p += t.k_block, sums = more) {
      const int64_t k = t.k - p < t.k_block ? t.k - p : t.k_block;
      chain(k, t.a + p * t.rows, t.b + p * width, sums);
      if (p == 0 && t.accumulate) add_rows<float>(t, total, width);
      if (p == 0) continue;
      for (int i = 0; i < t.rows * width; i += L) store(total + i, load(total + i) + load(more + i));
    }
    if (finishes || t.cs_c != 1)
      store_general<float>(t, total, width);
    else
      copy_rows<float>(t.rows, t.columns, total, width, t.c, t.rs_c);
  }
}

// As gemv.h: b is read in whole rows, two at a time, and rounded where it is.
static void run_pair_gemv(const MatmulTile<float>& tile) {
  const MatmulTile<float> t = tile;
  alignas(64) float sums[kGemvBytes / sizeof(float)];
  const int64_t width = round_up(t.columns, L);
  for (int64_t j = 0; j < t.rows * width; j += L) store(sums + j, vec<float>{});
  for (int64_t p = 0; p < t.k; ++p) {
    const bool one = t.odd && p + 1 == t.k;
    const float *a = t.a + p * t.cs_a, *b = t.b + p * t.rs_b;
    __m512bh x[kDotRows];
    for (int i = 0; i < t.rows; ++i, a += t.rs_a)
      x[i] = (__m512bh)__m512(pairs(broadcast<float>(*a), broadcast<float>(one ? 0 : a[t.cs_a / 2])));
    for (int64_t j = 0; j < t.columns; j += L) {
      const int n = t.columns - j < L ? static_cast<int>(t.columns - j) : L;
      const __m512bh row = (__m512bh)__m512(pairs(load_n(b + j, n), load_n(b + t.rs_b / 2 + j, one ? 0 : n)));
      for (int i = 0; i < t.rows; ++i) {
        float* sum = sums + i * width + j;
        store(sum, vec<float>(_mm512_dpbf16_ps(__m512(load(sum)), x[i], row)));
      }
    }
  }
  if (t.accumulate) add_rows<float>(t, sums, static_cast<int>(width));
  store_rows<float>(t, sums, static_cast<int>(width));
}

static int gemv_columns(int rows) { return kGemvBytes / static_cast<int>(sizeof(float)) / rows / L * L; }

static int widest_tile(int) { return kTileVectors * L; }

extern const MatmulKernels<float> matmul_pairs = {true,
                                                  kTileRows,
                                                  kTileRows,
                                                  0,
                                                  L,
                                                  0,
                                                  false,
                                                  widest_tile,
                                                  kSumBlock,
                                                  run_pair_tile,
                                                  nullptr,
                                                  nullptr,
                                                  run_pair_gemv,
                                                  nullptr,
                                                  nullptr,
                                                  gemv_columns,
                                                  pack_pairs};

}  // namespace ranvier::RANVIER_ISA
#endif
