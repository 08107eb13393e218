// StoredPairs::run: computes a tile of a product of matrices that are stored as bfloat16 (StoredTile in
// pairs.h). The sums are float32; then come the bias and the activation, and the elements of c are stored,
// rounded to bfloat16 or as float32. stored_pairs.h calls it. Included by bfloat16.isa.cpp only.
#pragma once
#include "kernels/activation/activation.h"
#include "kernels/matmul/epilogue.h"
#include "kernels/matmul/pair_chains.h"
#include "kernels/matmul/pairs.h"
#include "simd/halves.h"

namespace ranvier::RANVIER_ISA {

// The columns of a row of sums: one vector, or two.
RANVIER_INLINE int width_of(const StoredTile& t) { return t.columns > L ? kTileVectors * L : L; }

// sums [rows, width] = a [rows, k] times b [k, width], in chains of at most chain_length pairs, whose sums
// are added one after another.
RANVIER_INLINE void sum_chains(const StoredTile& t, float* sums) {
  const int width = width_of(t);
  const Chain chain = chain_of(t.rows, t.columns > L, std::make_integer_sequence<int, kTileRows>());
  alignas(64) float more[kTileRows * kTileVectors * L];
  for (int64_t p = 0; p < t.k; p += t.chain_length) {
    const int64_t k = t.k - p < t.chain_length ? t.k - p : t.chain_length;
    float* to = p == 0 ? sums : more;
    chain(k, t.a + p * t.cs_a, t.rs_a, t.cs_a, t.b + p * width, to);
    if (p == 0) continue;
    for (int i = 0; i < t.rows * width; i += L) store(sums + i, load(sums + i) + load(more + i));
  }
}

// Where k has several blocks: adds the sums of the blocks before, and keeps the sums for the next block.
RANVIER_INLINE void join_blocks(const StoredTile& t, float* sums) {
  const int width = width_of(t);
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < width; j += L) {
      float* const sum = sums + i * width + j;
      float* const before = t.sums + i * t.rs_sums + j;
      if (!t.is_first_block) store(sum, load(before) + load(sum));
      if (!t.is_last_block) store(before, load(sum));
    }
}

// Adds the bias to the sums, and applies the activation.
RANVIER_INLINE void activate(const StoredTile& t, float* sums) {
  const MatmulActivation& f = t.activation;
  const int width = width_of(t);
  const int all = t.rows * width;
  for (int i = 0; i < all && t.bias; i += L) store(sums + i, load(sums + i) + load(t.bias + i % width));
  activation_kernels_float.forward[static_cast<int>(f.kind)](
      {all, sums, nullptr, sums, 1, 0, 1, static_cast<float>(f.alpha), static_cast<float>(f.beta)});
}

// Stores scale * (sums + bias) to c, or adds it to c (`added`: only attention/stored_products.h, where cs_c
// is 1). bias: null if there is none or it is already added.
static void store_floats(const StoredTile& t, const float* bias, const float* sums) {
  const vec<float> scale = broadcast(t.scale);
  const auto store_part = [&](const float* sum, float* c, int j, int n) RANVIER_INLINED {
    vec<float> x = load(sum + j);
    if (bias) x = x + load(bias + j);
    x = x * scale;
    if (t.cs_c != 1) return scatter<float>(c + j * t.cs_c, t.cs_c, x, n);
    if (t.added) x = load_n(c + j, n) + x;
    store_n(c + j, x, n);
  };
  const bool plain = t.cs_c == 1 && !t.added && !bias;
  float* c = t.floats;
  const int width = width_of(t);
  for (int i = 0; i < t.rows; ++i, sums += width, c += t.rs_c) {
    int j = 0;
    if (plain)
      for (; j + L <= t.columns; j += L) store(c + j, load(sums + j) * scale);
    for (; j < t.columns; j += L) store_part(sums, c, j, lanes_used<float>(t.columns - j));
  }
}

// Rounds and stores two vectors, with the bits of store_halves(). Subnormal numbers go through
// store_halves(), since the processor's instruction rounds them to 0.
RANVIER_INLINE void store_rounded(BFloat16* c, vec<float> low, vec<float> high) {
  const auto has_subnormal = [](vec<float> x)
                                 RANVIER_INLINED { return _mm512_fpclass_ps_mask(__m512(x), 0x20); };
  if (__builtin_expect(has_subnormal(low) | has_subnormal(high), 0)) {
    store_halves(c, low);
    return store_halves(c + L, high);
  }
  const __m512bh y = _mm512_cvtne2ps_pbh(__m512(high), __m512(low));
  __builtin_memcpy(c, &y, sizeof y);
}

// Stores sums + bias to c, rounded to bfloat16.
static void store_bfloat16(const StoredTile& t, const float* bias, const float* sums) {
  BFloat16* c = t.c;
  const int width = width_of(t);
  const bool whole = t.cs_c == 1 && t.columns == kTileVectors * L;
  static_assert(kTileVectors == 2);
  const auto sum = [=](const float* sums, int j) RANVIER_INLINED {
    const vec<float> x = load(sums + j);
    return bias ? x + load(bias + j) : x;
  };
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
  if (t.cs_c == 1 && t.c)  // prefetched while the sums are computed
    for (int i = 0; i < t.rows; ++i) __builtin_prefetch(t.c + i * t.rs_c, 1, 3);
  alignas(64) float sums[kTileRows * kTileVectors * L];
  sum_chains(t, sums);
  if (t.sums) join_blocks(t, sums);
  if (!t.is_last_block) return;
  const bool activates = t.activation.kind != Activation::none;
  if (activates) activate(t, sums);
  const float* bias = activates ? nullptr : t.bias;  // activate() has added it
  if (t.floats) {
    store_floats(t, bias, sums);
  } else {
    store_bfloat16(t, bias, sums);
  }
}

}  // namespace ranvier::RANVIER_ISA
