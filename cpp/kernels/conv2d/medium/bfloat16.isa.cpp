// The tile of the direct sum for pairs of bfloat16, by the instruction vdpbf16ps: see medium.h for pairs,
// ConvTile (direct/tile.h) for the fields. This file is compiled for level v4 alone.
#if __AVX512BF16__
#include "base/unroll.h"
#include "kernels/conv2d/direct/store.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier::RANVIER_ISA {

// Computes a tile of kRows rows and kVectors vectors of columns. kEven: each second row of a is row_step
// after the row before it, so that all pointers fit into registers.
template <int kRows, int kVectors, bool kEven>
static void tile(const ConvTile<float>& t) {
  constexpr int L = lanes<float>;
  constexpr int kStep = kEven ? 2 : 1;  // rows for each pointer
  constexpr int kPointers = (kRows + kStep - 1) / kStep;
  const float* a[kPointers];
  RANVIER_UNROLL
  for (int i = 0; i < kPointers; ++i) a[i] = t.a[i * kStep];
  if (!t.stream)
    for (int i = 0; i < kRows; ++i) __builtin_prefetch(t.c[i], 1);
  __m512 acc[kRows][kVectors] = {};
  const int64_t step_a = t.step_a;
  const int64_t step_b = t.step_b;
  for (const ConvSegment* s = t.segments; s != t.segments + t.count; ++s) {
    const float* b = t.b + s->b;
    int64_t at = s->a;
    int64_t second = at + t.row_step;
    for (int64_t n = s->n; n > 0; --n, at += step_a, second += step_a, b += step_b) {
      asm("" : "+r"(second));  // or GCC keeps a pointer for each row
      __m512bh row[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) row[v] = (__m512bh)__m512(load(b + v * L));
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) {
        const int64_t index = kEven && i % 2 ? second : at;
        const __m512bh x = (__m512bh)_mm512_set1_ps(a[i / kStep][index]);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], x, row[v]);
      }
    }
  }
  alignas(64) float spilled[kRows * kVectors * L];
  const bool plain = t.columns == kVectors * L && !t.bias && !t.norm && !t.relu && !t.stream;
  const bool adds = plain && t.accumulate;
  const auto put = [&](bool adds) __attribute__((always_inline)) {
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) {
      float* to = plain ? t.c[i] : spilled + i * kVectors * L;
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        vec<float> x(acc[i][v]);
        if (adds) x = load(to + v * L) + x;
        store(to + v * L, x);
      }
    }
  };
  // Inlined twice, with a constant each.
  if (adds) {
    put(/*adds=*/true);
  } else {
    put(/*adds=*/false);
  }
  if (!plain) store_general<float>(t, spilled, kVectors * L);
}

// There are tiles of few heights: a tile of fewer rows is lengthened by rows that repeat its last ones, and
// whose results go to `nowhere`.
template <int kVectors>
static void run(ConvTile<float>& t) {
  constexpr int kPart = kMaxConvRows / 2;
  alignas(64) float nowhere[kVectors * lanes<float>];
  const auto lengthen = [&](ConvTile<float>& t, int rows, int repeated) {
    for (int i = t.rows; i < rows; ++i) {
      t.a[i] = t.a[i - repeated];
      t.c[i] = nowhere;
    }
  };
  if (t.row_step && t.rows % 2 == 0) {
    lengthen(t, kMaxConvRows, 2);
    if (t.rows == kMaxConvRows) return tile<kMaxConvRows, kVectors, true>(t);
    return t.rows > 8 ? tile<12, kVectors, true>(t) : tile<8, kVectors, true>(t);
  }
  ConvTile<float> part = t;
  for (int first = 0; first < t.rows; first += kPart) {
    part.rows = t.rows - first < kPart ? t.rows - first : kPart;
    for (int i = 0; i < part.rows; ++i) {
      part.a[i] = t.a[first + i];
      part.c[i] = t.c[first + i];
    }
    lengthen(part, kPart, 1);
    tile<kPart, kVectors, false>(part);
  }
}

extern void conv_pair_tile(ConvTile<float>& t) {
  if (t.columns > lanes<float>) {
    run<2>(t);
  } else {
    run<1>(t);
  }
}

}  // namespace ranvier::RANVIER_ISA
#endif
