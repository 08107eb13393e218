// Tiles and packing of products of bfloat16 that is stored as such: see stored_pairs.h. Included by
// bfloat16.isa.cpp only.
#pragma once
#include "base/half.h"
#include "kernels/activation/activation.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/pair_chains.h"
#include "kernels/matmul/pairs.h"
#include "simd/halves.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// n numbers, 0 <= n <= 2 L, zeros after them.
RANVIER_INLINE vec<float> numbers(const uint16_t* p, int n) {
  if (n == 2 * L) return (vec<float>)_mm512_loadu_si512(p);
  return (vec<float>)_mm512_maskz_loadu_epi16(_bzhi_u32(~0u, unsigned(n)), p);
}

// n pairs, 0 <= n <= L, of the numbers of two lines.
RANVIER_INLINE vec<float> pairs_of(const uint16_t* low, const uint16_t* high, int n) {
  const __mmask16 some = __mmask16(_bzhi_u32(0xffff, unsigned(n)));
  const auto line = [=](const uint16_t* p) RANVIER_INLINED {
    if (n == L) return _mm512_maskz_cvtepu16_epi32(~__mmask16(0), _mm256_loadu_si256((const __m256i*)p));
    return _mm512_maskz_cvtepu16_epi32(~__mmask16(0), _mm256_maskz_loadu_epi16(some, p));
  };
  __m512i x = line(low);
  if (high) x |= _mm512_maskz_slli_epi32(~__mmask16(0), line(high), 16);
  return (vec<float>)x;
}

// Columns contiguous in memory: squares of L pairs of L columns are transposed in registers.
static void pack_stored_columns(const PackStored& x) {
  for (int64_t p = 0; 2 * p < x.k; p += L) {
    const int64_t left = x.k - 2 * p;
    const int count = left < 2 * L ? static_cast<int>(left) : 2 * L, np = (count + 1) / 2;
    for (int j0 = 0; j0 < x.width; j0 += L) {
      const int nj = x.columns - j0 < L ? x.columns - j0 : L, stored = x.width - j0 < L ? x.width - j0 : L;
      const uint16_t* from = x.src + j0 * x.cs + 2 * p;
      vec<float> square[L];
      RANVIER_UNROLL
      for (int j = 0; j < L; ++j) {
        square[j] = vec<float>{};
        if (j < nj) square[j] = numbers(from, count);
        if (j + 1 < nj) from = opaque(from + x.cs);
      }
      transpose(square);
      float* to = x.dst + p * x.width + j0;
      RANVIER_UNROLL
      for (int i = 0; i < L; ++i) {
        if (i < np) store_n(to, square[i], stored);
        to = opaque(to + x.width);
      }
    }
  }
}

static void pack_stored(const PackStored& x) {
  if (x.rs == 1 && x.cs != 1) return pack_stored_columns(x);
  constexpr int kAhead = 32;  // rows
  const uint16_t* low = x.src;
  float* to = x.dst;
  for (int64_t left = x.k; left > 0; left -= 2, low += 2 * x.rs, to += x.width) {
    const uint16_t* high = left > 1 ? low + x.rs : nullptr;
    for (int j = 0; j < x.width; j += L) {
      const int n = x.columns - j < L ? x.columns - j : L, stored = x.width - j < L ? x.width - j : L;
      if (x.cs == 1) {
        __builtin_prefetch(low + kAhead * x.rs + j, 0, 2);
        __builtin_prefetch(low + (kAhead + 1) * x.rs + j, 0, 2);
        store_n(to + j, n > 0 ? pairs_of(low + j, high ? high + j : nullptr, n) : vec<float>{}, stored);
        continue;
      }
      uint16_t pairs[2 * L] = {};
#pragma GCC unroll 1
      for (int l = 0; l < n; ++l) {
        pairs[2 * l] = low[(j + l) * x.cs];
        if (high) pairs[2 * l + 1] = high[(j + l) * x.cs];
      }
      store_n(to + j, numbers(pairs, 2 * L), stored);
    }
  }
}

// The processor's rounding makes subnormal numbers 0.
RANVIER_INLINE bool has_subnormal(vec<float> x) { return _mm512_fpclass_ps_mask(__m512(x), 0x20); }

// Two vectors as store_halves(), whose bits they have.
RANVIER_INLINE void store_rounded(BFloat16* c, vec<float> low, vec<float> high) {
  if (__builtin_expect(has_subnormal(low) | has_subnormal(high), 0))
    return store_halves(c, low), store_halves(c + L, high);
  const __m512bh y = _mm512_cvtne2ps_pbh(__m512(high), __m512(low));
  __builtin_memcpy(c, &y, sizeof y);
}

static void store_wide(const StoredTile& t, const float* bias, const float* sums, int width) {
  const vec<float> scale = broadcast(t.scale);
  const auto store_part = [&](const float* sum, float* c, int j, int n) RANVIER_INLINED {
    vec<float> x = load(sum + j);
    if (bias) x = x + load(bias + j);
    x = x * scale;
    if (t.cs_c != 1) return scatter<float>(c + j * t.cs_c, t.cs_c, x, n);
    store_n(c + j, t.added ? load_n(c + j, n) + x : x, n);
  };
  const bool plain = t.cs_c == 1 && !t.added && !bias;
  float* c = t.wide;
  for (int i = 0; i < t.rows; ++i, sums += width, c += t.rs_c) {
    int j = 0;
    if (plain)
      for (; j + L <= t.columns; j += L) store(c + j, load(sums + j) * scale);
    for (; j < t.columns; j += L) store_part(sums, c, j, t.columns - j < L ? t.columns - j : L);
  }
}

static void store_stored(const StoredTile& t, const float* bias, const float* sums, int width) {
  BFloat16* c = t.c;
  const bool whole = t.cs_c == 1 && t.columns == kTileVectors * L;
  static_assert(kTileVectors == 2);
  const auto sum = [=](const float* sums, int j)
                       RANVIER_INLINED { return bias ? load(sums + j) + load(bias + j) : load(sums + j); };
  for (int i = 0; i < t.rows; ++i, sums += width, c += t.rs_c) {
    if (whole) {
      store_rounded(c, sum(sums, 0), sum(sums, L));
      continue;
    }
    for (int j = 0; j < t.columns; j += L) {
      BFloat16 part[L];
      store_halves(part, sum(sums, j));
      const int n = t.columns - j < L ? t.columns - j : L;
      for (int l = 0; l < n; ++l) c[(j + l) * t.cs_c] = part[l];
    }
  }
}

static void run_stored(const StoredTile& t) {
  const int width = t.columns > L ? kTileVectors * L : L, all = t.rows * width;
  if (t.cs_c == 1 && t.c)  // its lines come while the sums are computed
    for (int i = 0; i < t.rows; ++i) __builtin_prefetch(t.c + i * t.rs_c, 1, 3);
  const Chain chain = chain_of(t.rows, t.columns > L, std::make_integer_sequence<int, kTileRows>());
  alignas(64) float sums[kTileRows * kTileVectors * L], more[kTileRows * kTileVectors * L];
  for (int64_t p = 0; p < t.k; p += t.k_block) {
    const int64_t k = t.k - p < t.k_block ? t.k - p : t.k_block;
    chain(k, t.a + p * t.cs_a, t.rs_a, t.cs_a, t.b + p * width, p == 0 ? sums : more);
    if (p == 0) continue;
    for (int i = 0; i < all; i += L) store(sums + i, load(sums + i) + load(more + i));
  }
  if (t.kept)
    for (int i = 0; i < t.rows; ++i)
      for (int j = 0; j < width; j += L) {
        float *const sum = sums + i * width + j, *const kept = t.kept + i * t.line + j;
        if (!t.starts) store(sum, load(kept) + load(sum));
        if (!t.ends) store(kept, load(sum));
      }
  if (!t.ends) return;
  const MatmulActivation& f = t.activation;
  const float* bias = t.bias;
  if (f.kind != Activation::none) {
    for (int i = 0; i < all && bias; i += L) store(sums + i, load(sums + i) + load(bias + i % width));
    bias = nullptr;
    activation_kernels_float.forward[static_cast<int>(f.kind)](
        {all, sums, nullptr, sums, 1, 0, 1, static_cast<float>(f.alpha), static_cast<float>(f.beta)});
  }
  (t.wide ? store_wide : store_stored)(t, bias, sums, width);
}

}  // namespace ranvier::RANVIER_ISA
